"""A server for the tests of one module, and others for those that need their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Shell
from serving import Web, token


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture
def web(shell: Shell) -> Web:
    """A server of its own on an empty queue, asked as an admin."""
    web = Web(shell)
    web.token = token(shell, "boss", "admin")
    return web


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server for tests that change nothing that others look at; something of everything has
    happened on its queue."""
    shell = Shell(tmp_path_factory.mktemp("web"))
    shell.ok("config", "set", "max-retries", "1")
    shell.add("--id", "good", "--tag", "a", "--env", "SECRET=hidden", "-c", "echo 0123456789")
    shell.add("--id", "bad", "--queue", "mail", "-c", "echo '<b>no</b>' >&2; exit 3")
    shell.drain()
    shell.add("--id", "later", "--delay", "1h", "--tag", "a", "--tag", "b", "true")
    shell.add("--id", "gone", "--delay", "1h", "true")
    shell.ok("cancel", "gone", "--reason", "not needed")
    web = Web(shell)
    web.token = token(shell, "boss", "admin")
    yield web
    shell.close()
