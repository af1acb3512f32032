"""A shell for every test, in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue in which something of everything has happened; only to be read."""
    shell = Shell(tmp_path_factory.mktemp("played"))
    shell.ok("config", "set", "max-retries", "2")
    shell.ok("config", "set", "backoff", "fixed")
    shell.ok("config", "set", "backoff-base", "0.01")
    shell.add(
        "--id", "good", "--tag", "a", "--env", "SECRET=hidden", "-c", "echo out; echo err >&2"
    )
    shell.add("--id", "bad", "--queue", "mail", "-c", "echo run $QUEUECTL_ATTEMPT; exit 3")
    shell.add("--id", "evil", "-c", EVIL)
    shell.drain()
    shell.add("--id", "later", "--delay", "1h", "--tag", "a", "--tag", "b", "true")
    shell.add("--id", "gone", "--delay", "1h", "true")
    shell.ok("cancel", "gone", "--reason", "not needed")
    yield shell
    shell.close()


EVIL = r"printf 'plain \033[31mred\007 \302\233 \342\200\256turned\n' # " + "\x1b[31m\u202e\x9b"
"""A job whose command and output would both command a terminal."""
