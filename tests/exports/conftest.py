"""Queues to export: one in which something of everything has just happened, and one as a release
left it, compacted, archived and repaired."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import play
from programs import Shell

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture
def lively(shell: Shell) -> Shell:
    """A shell in front of a queue in which something of everything has happened."""
    play(shell.data)
    return shell


@pytest.fixture
def golden(shell: Shell) -> Shell:
    """A shell in front of a log of a release."""
    shutil.copytree(GOLDEN, shell.data)
    shell.data.chmod(0o700)
    return shell


@pytest.fixture(params=["lively", "golden"])
def played(request: pytest.FixtureRequest) -> Shell:
    """One of them after the other."""
    shell: Shell = request.getfixturevalue(request.param)
    return shell
