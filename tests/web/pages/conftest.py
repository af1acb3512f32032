"""A real browser, a real server, a real log and real workers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM, MISSING
from workers import AGES_S, PATIENCE_S, Site, eventually

from queuectl.web.access import Tokens

if not MISSING:
    from playwright.sync_api import Browser, Page, sync_playwright

PATIENCE_MS = 180_000
"""Generous: a browser and a server start slowly on a machine that is busy with others."""


class Dashboard:
    """A server of its own process, at a port that it keeps."""

    def __init__(self, site: Site, *options: str) -> None:
        self.site = site
        self.port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._notes = self.site.root / "server.log"
        with self._notes.open("ab") as notes:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "queuectl", *self._words()],
                stdin=subprocess.DEVNULL,
                stdout=notes,
                stderr=subprocess.STDOUT,
            )
        self.url = eventually(self._serves, AGES_S)
        self.port = int(self.url.rpartition(":")[2])

    def _words(self) -> list[str]:
        place = ["--data", str(self.site.place)]
        return [*place, "web", "--port", str(self.port), *self._options]

    def _serves(self) -> str:
        said = self._notes.read_text()
        assert self._process is not None and self._process.poll() is None, said
        return (re.findall(r"^(http://[^/]+)/", said, re.MULTILINE) or [""])[-1]

    def link(self, role: str = "") -> str:
        """Lets one browser in, once; with all rights, or those of a role."""
        if "--no-token" in self._options:
            return self.url
        host = self.site.queue.host
        tokens = Tokens(self.site.queue.home, host)
        if role and role not in [token.role for token in tokens.list()]:
            tokens.add(role, role, actor="tests")
        return f"{self.url}/login/{tokens.link(role, 600_000)}"

    def signal(self, signum: int) -> None:
        assert self._process is not None
        self._process.send_signal(signum)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Its own sandbox does not work where tests are root, or in a container.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _serving(root: Path) -> Iterator[Callable[..., Dashboard]]:
    servers: list[Dashboard] = []

    def start(*options: str) -> Dashboard:
        place = root / str(len(servers))
        place.mkdir()
        site = Site(place)
        site.add("true")
        servers.append(Dashboard(site, *options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
        server.site.close()


@pytest.fixture
def serve(tmp_path: Path, chromium: Browser) -> Iterator[Callable[..., Dashboard]]:
    """Starts a server on a queue of its own."""
    yield from _serving(tmp_path)


@pytest.fixture(scope="module")
def serve_all(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[Callable[..., Dashboard]]:
    """The same, for all tests of a module."""
    yield from _serving(tmp_path_factory.mktemp("served"))


@pytest.fixture
def look(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; fails at the end if anything in it went wrong that a browser tells of."""
    contexts = []
    complaints: list[str] = []

    def open_page(server: Dashboard, path: str = "/", role: str = "", **how: Any) -> Page:
        context = chromium.new_context(**how)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _complain(complaints, message))
        page.goto(server.link(role))
        page.wait_for_url(server.url + "/")
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _complain(complaints: list[str], message: Any) -> None:
    # A refused request is told as an error, too; those are what tests are about.
    if message.type == "error" and "Failed to load resource" not in message.text:
        complaints.append(message.text)
