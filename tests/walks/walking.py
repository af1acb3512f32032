"""Walkthroughs as scripts: what a user types, and what must be so after each step."""

from __future__ import annotations

import subprocess

from programs import Shell

_PRELUDE = """
set -euo pipefail
say() { printf '== %s\\n' "$*"; }
is() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'" >&2; exit 99; }; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)'"$1"')'; }
until_ok() { for _ in $(seq 400); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done; exit 98; }
"""


def walk(shell: Shell, script: str) -> str:
    """Run it with real processes; fails with what the script said where a step goes wrong."""
    done: subprocess.CompletedProcess[bytes] = shell.pipeline(_PRELUDE + script)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    return said
