"""docs/web.md is what happens: every command of it is typed into a shell, at a real server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest
from programs import PROGRAM, Shell
from serving import Web
from workers import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
SERVER = "localhost:8080"
ID = "01m8pdey4zfwwn4w2zbvsn9mr2"
pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is missing: apt-get install curl"
)


def blocks(heading: str) -> list[list[str]]:
    """The transcripts below a heading, line by line."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    found = re.findall(r"^```console\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [block.splitlines() for block in found]


def typed(heading: str) -> list[str]:
    return [line[2:] for block in blocks(heading) for line in block if line.startswith("$ ")]


def at(web: Web, commands: list[str]) -> list[str]:
    """The same at this server, with the status of each answer behind it."""
    said = "curl -sS -w '\\n%{http_code}\\n'"
    return [
        one.replace(SERVER, f"localhost:{web.port}").replace("curl -sS", said) for one in commands
    ]


def test_every_command_does_what_the_page_says(shell: Shell) -> None:
    for number in range(12):
        shell.add("--queue", "mail", "--max-retries", "1", "-c", f"exit {number + 1}")
    shell.drain()
    web = Web(shell)
    commands = [*typed("Tokens"), *typed("The API")]
    assert len(commands) > 15
    # The same id each time, and what is printed can be compared.
    commands = [
        one.replace('"command": "gzip', f'"id": "{ID}", "command": "gzip') for one in commands
    ]
    script = "\n".join(f"echo '% {number}'\n{one}" for number, one in enumerate(at(web, commands)))
    done = shell.pipeline(f"set -eu\nexec 2>&1\n{script}")
    out = done.stdout.decode()
    assert done.returncode == 0, out
    told = [re.sub(r"^\d+\n", "", one) for one in re.split(r"^% ", out, flags=re.MULTILINE)[1:]]
    statuses = {
        one.partition("#")[0].strip(): answer.splitlines()[-1]
        for one, answer in zip(commands, told, strict=True)
        if one.startswith(("api /", "api '/", 'api "/'))
    }
    assert len(statuses) > 10
    assert set(statuses.values()) == {"200", "201", "206"}, statuses
    (shown,) = (line for block in blocks("The API") for line in block if line.startswith("{"))
    assert shown in out.splitlines()
    assert "No such file" in out and '"would":["' in out and "expect" not in out


def test_events_come_in_the_form_that_the_page_shows(shell: Shell) -> None:
    web = Web(shell)
    (stream,) = blocks("Events as they happen")
    prelude = [one for one in typed("The API") if re.match(r"TOKEN=|AUTH=|api\(", one)]
    assert len(prelude) == 3
    program = " ".join(f"'{word}'" for word in PROGRAM)
    words = [f'queuectl() {{ {program} "$@"; }}', *at(web, [*prelude, stream[0][2:]])]
    with subprocess.Popen(
        ["bash", "-c", "\n".join(words)],
        cwd=shell.directory,
        env=shell.environment({}),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = (line.rstrip("\n") for line in process.stdout)
            heard = [next(lines)]
            shell.add("true")
            heard += takewhile(lambda line: not line.startswith("data: "), lines)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
    shown = [re.sub(r"\d+$", "N", line) for line in stream[1:] if not line.startswith("data")]
    assert [re.sub(r"\d+$", "N", line) for line in heard] == shown
