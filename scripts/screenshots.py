"""`make screenshots`: the pictures of the README, taken of a real dashboard while real jobs run.

Needs a browser: Debian's chromium will do. Works on a queue of its own, in a directory that is
removed at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ModuleNotFoundError:
    sys.exit("screenshots: playwright is missing: make setup installs it")

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
QUEUECTL = [str(Path(sys.executable).parent / "queuectl"), "--data"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1280


def main() -> None:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("screenshots: there is no browser to take them with: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="queuectl-screenshots-") as place:
        data = Path(place) / "orders"
        _past(data)
        with _worker(data), _server(data) as url, sync_playwright() as playwright:
            # Its own sandbox does not work for root, or in a container.
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            _take(browser, url, _present(data))
            browser.close()


def _queuectl(data: Path, *words: str) -> str:
    done = subprocess.run(
        [*QUEUECTL, str(data), "-q", *words],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _past(data: Path) -> None:
    """What has happened before anybody looks."""
    _queuectl(data, "config", "set", "max-retries", "2")
    _queuectl(data, "config", "set", "backoff-base", "0.2")
    for number in range(1, 31):
        command = f"sleep 0.{number % 7 + 1}; echo resized photo-{number}.jpg"
        _queuectl(data, "enqueue", "--queue", "images", "--tag", "thumbnails", command)
    for number in range(1, 8):
        command = f"echo 'cannot open /mnt/in/order-{number}.csv: no such file' >&2; exit 2"
        _queuectl(data, "enqueue", "--queue", "import", command)
    for number in range(1, 4):
        command = f"echo 'smtp: connection to mail-{number} refused' >&2; exit 75"
        _queuectl(data, "enqueue", "--queue", "mail", command)
    _queuectl(data, "worker", "start", "-c", "4", "--burst")


def _present(data: Path) -> str:
    """What goes on while the pictures are taken; returns a job that runs."""
    _queuectl(data, "queue", "pause", "reports", "--reason", "month end")
    for number in range(1, 4):
        _queuectl(data, "enqueue", "--queue", "reports", f"make report-{number}.pdf")
    _queuectl(data, "enqueue", "--queue", "mail", "--delay", "2h", "send-digest --all")
    for number in range(31, 40):
        command = f"sleep {number % 5 + 3}; echo resized photo-{number}.jpg"
        _queuectl(data, "enqueue", "--queue", "images", "--tag", "thumbnails", command)
    steps = 'for n in $(seq 60); do echo "encoding frame ${n}00"; sleep 1; done'
    return _queuectl(data, "enqueue", "--queue", "video", "--priority", "9", steps)


@contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def _worker(data: Path) -> Iterator[None]:
    with _process(*QUEUECTL, str(data), "-q", "worker", "start", "-c", "4", "--grace", "0s"):
        yield


@contextmanager
def _server(data: Path) -> Iterator[str]:
    words = (*QUEUECTL, str(data), "-q", "web", "--port", "0", "--no-token")
    with _process(*words) as process:
        assert process.stdout is not None
        yield re.findall(r"http://[^/]+", process.stdout.readline())[0]


def _take(browser: Browser, url: str, running: str) -> None:
    for name, path, theme, height in (
        ("dashboard", "/", "light", 860),
        ("dashboard-dark", "/", "dark", 860),
        ("job", f"/jobs/{running}", "light", 780),
        ("dead-letters", "/dead", "light", 310),
    ):
        page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=theme)
        page.goto(url + path)
        page.wait_for_function("document.getElementById('pulse').textContent === 'live'")
        _settle(page, path)
        target = IMAGES / f"{name}.png"
        page.screenshot(path=target)
        _shrink(target)
        page.close()
        print(f"{os.path.relpath(target, ROOT)}  {target.stat().st_size // 1024} KiB")


def _settle(page: Page, path: str) -> None:
    """Wait until the page shows what it is about."""
    about = {"/": "[id^='worker-'] .processing", "/dead": "[id^='group-']"}
    page.wait_for_selector(about.get(path, "[data-output$='/out']:not(:empty)"), timeout=60_000)
    time.sleep(1)


def _shrink(picture: Path) -> None:
    """Make it smaller, by whichever program is there; without one it stays as it is."""
    for words in (["pngquant", "--force", "--ext", ".png", "128"], ["optipng", "-quiet", "-o5"]):
        if shutil.which(words[0]):
            subprocess.run([*words, str(picture)], check=True)
            return


if __name__ == "__main__":
    main()
