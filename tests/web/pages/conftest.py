"""A real browser, a real server, a real log and real workers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from workers import PATIENCE_S, Site, eventually

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ModuleNotFoundError:  # the tests below say how to get it
    sync_playwright = None  # type: ignore[assignment]

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
_MISSING = "no browser to look at pages with: apt-get install chromium"
PATIENCE_MS = PATIENCE_S * 1000


class Dashboard:
    """A server of its own process, at a port that it keeps."""

    def __init__(self, site: Site, *options: str) -> None:
        self.site = site
        self.port = 0
        self._options = options
        self.start()

    def start(self) -> None:
        self._notes = self.site.root / "server.log"
        with self._notes.open("ab") as notes:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "queuectl", *self._words()],
                stdin=subprocess.DEVNULL,
                stdout=notes,
                stderr=subprocess.STDOUT,
            )
        self.said = eventually(self._url)
        self.port = int(re.findall(r":(\d+)/", self.said)[0])

    def _words(self) -> list[str]:
        place = ["--data", str(self.site.place)]
        return [*place, "web", "--port", str(self.port), *self._options]

    def _url(self) -> str:
        assert self._process.poll() is None, self._notes.read_text()
        found = re.findall(r"http://\S+", self._notes.read_text())
        return found[-1] if found and found[-1].count("/") >= 3 else ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if _CHROMIUM is None or sync_playwright is None:
        pytest.skip(_MISSING)
    with sync_playwright() as playwright:
        # Its own sandbox does not work where tests are root, or in a container.
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path, chromium: Browser) -> Iterator[Callable[..., Dashboard]]:
    """Starts a server on a queue of its own."""
    sites: list[Site] = []
    servers: list[Dashboard] = []

    def start(*options: str) -> Dashboard:
        root = tmp_path / str(len(sites))
        root.mkdir()
        sites.append(Site(root))
        sites[-1].add("true")
        servers.append(Dashboard(sites[-1], *options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    for site in sites:
        site.close()


@pytest.fixture
def look(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; fails at the end if anything in it went wrong that a browser tells of."""
    contexts = []
    complaints: list[str] = []

    def open_page(server: Dashboard, path: str = "/", **how: Any) -> Page:
        context = chromium.new_context(**how)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _complain(complaints, message))
        page.goto(server.said)
        page.wait_for_url(lambda url: "/login/" not in url)
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
