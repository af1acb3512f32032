"""`make screenshots`: the pictures of the README, taken of a real dashboard while real jobs run.

Needs a browser: Debian's chromium will do. Works on a queue of its own, in a directory that is
removed at the end. Its past is made by the queue's own code at a clock that does not wait.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.host import Host

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ModuleNotFoundError:
    sys.exit("screenshots: playwright is missing: make setup installs it")

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
QUEUECTL = [str(Path(sys.executable).parent / "queuectl"), "--data"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1280
_SECOND_US = 1_000_000
_MINUTE_US = 60 * _SECOND_US
_PAST_MINUTES = 75
_SLOTS = 4


def main() -> None:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("screenshots: there is no browser to take them with: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="queuectl-screenshots-") as place:
        data = Path(place) / "orders"
        _past(data)
        programs = _programs(Path(place) / "bin")
        with _worker(data, programs), _server(data) as url, sync_playwright() as playwright:
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


class _Machine(Host):
    """This machine at a time that is over, with a disk that need not outlive it."""

    fsync = fdatasync = staticmethod(lambda fd: None)

    def __init__(self, us: int) -> None:
        self.us = us

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / _SECOND_US


class _Kind(NamedTuple):
    """What comes into the queue again and again."""

    queue: str
    command: str
    a_minute: float
    seconds: tuple[float, float]
    """How long it takes at least and at most."""
    error: str
    troubled: Callable[[float], float]
    """How likely it fails, so many minutes before the end."""


_KINDS = (
    _Kind("images", "resize photo-{}.jpg", 22, (2, 9), "photo-{}.jpg: no JPEG", lambda _: 0.04),
    _Kind(
        *("import", "import-orders order-{}.csv", 2.5, (8, 25)),
        *("order-{}.csv: no such file", lambda minutes: 0.45 if minutes < 20 else 0.0),
    ),
    _Kind(
        *("mail", "send-mail invoice-{}", 8, (0.3, 2)),
        *("mail-{}: connection refused", lambda minutes: 0.45 if 31 < minutes < 35 else 0.0),
    ),
    _Kind("video", "encode clip-{}.mov", 0.3, (40, 100), "", lambda _: 0.0),
)


def _past(data: Path) -> None:
    """What has happened before anybody looks: decided and written by the queue itself, by a clock
    that runs as fast as it can until it is now."""
    chance = random.Random(7)
    now = Host().now_us
    host = _Machine(now() - _PAST_MINUTES * _MINUTE_US)
    with Queue(data, host=host) as queue:
        queue.actor = "ada@lovelace"
        queue.set("max-retries", "2")
        queue.set("backoff-base", "0.2")
        started = v.WorkerStarted(worker="w1", host="lovelace", boot="b", pid=4177, slots=_SLOTS)
        queue.transact(lambda: [Batch([started])])
        running: dict[int, tuple[int, c.Finish]] = {}
        numbers = itertools.count(100)
        while host.us < now():
            before = (now() - host.us) / _MINUTE_US
            # More at some times than at others: then jobs have to wait.
            tide = 1 + 0.7 * math.sin(before / 9) * math.sin(before / 4)
            for kind in _KINDS:
                if chance.random() < kind.a_minute / 60 * tide:
                    tags = ["thumbnails"] if kind.queue == "images" else []
                    command = kind.command.format(next(numbers))
                    queue.enqueue(command, queue=kind.queue, tags=tags)
            over = {slot for slot, (end, _) in running.items() if end <= host.us}
            ended = [structs.replace(running.pop(slot)[1], now=queue.now()) for slot in over]
            free = [slot for slot in range(1, _SLOTS + 1) if slot not in running]
            for event in queue.turn(ended, worker="w1", slots=free):
                if isinstance(event, v.JobClaimed):
                    running[event.slot] = _run(queue, event, before, chance)
            host.us += _SECOND_US
        left = [
            c.Release(job=end.job, now=queue.now(), token=end.token, reason="the worker stops")
            for _, end in running.values()
        ]
        queue.submit(left)
        queue.transact(lambda: [Batch([v.WorkerStopped(worker="w1", reason="asked to")])])


def _run(
    queue: Queue, claim: v.JobClaimed, before: float, chance: random.Random
) -> tuple[int, c.Finish]:
    """When a run ends, and how."""
    job = queue.get(claim.job)
    kind = next(kind for kind in _KINDS if kind.queue == job.queue)
    ms = round(1000 * chance.uniform(*kind.seconds))
    fails = chance.random() < kind.troubled(before)
    number = "".join(filter(str.isdigit, job.spec.command))
    how = {"reason": "exit", "error": kind.error.format(number)} if fails else {}
    end = c.Finish(
        job=job.id, now="", token=claim.offset, exit_code=2 if fails else 0, run_ms=ms, **how
    )
    return instants.to_us(claim.at) + ms * 1000, end


def _programs(place: Path) -> Path:
    """What the jobs run while the pictures are taken; returns the directory."""
    frames = 'for n in $(seq 100); do echo "$1: frame ${n}00 of 10000"; sleep 1; done'
    bodies = {
        "resize": 'sleep $((${#1} % 4 + 5)); echo "resized $1"',
        "import-orders": 'sleep 9; echo "imported $1"',
        "send-mail": 'sleep 2; echo "sent $1"',
        "encode": frames,
    }
    place.mkdir()
    for name, body in bodies.items():
        program = place / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return place


def _present(data: Path) -> str:
    """What goes on while the pictures are taken; returns a job that runs."""
    _queuectl(data, "queue", "pause", "reports", "--reason", "month end")
    for number in range(1, 4):
        _queuectl(data, "enqueue", "--queue", "reports", f"make report-{number}.pdf")
    _queuectl(data, "enqueue", "--queue", "mail", "--delay", "2h", "send-mail digest")
    for number in range(31, 40):
        command = f"resize photo-{number}.jpg"
        _queuectl(data, "enqueue", "--queue", "images", "--tag", "thumbnails", command)
    return _queuectl(
        *(data, "enqueue", "--queue", "video", "--priority", "9", "encode holiday.mov")
    )


@contextmanager
def _process(*words: str, path: str = "") -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PATH": f"{path}{os.environ['PATH']}"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def _worker(data: Path, programs: Path) -> Iterator[None]:
    words = ("-q", "worker", "start", "-c", str(_SLOTS), "--grace", "0s")
    with _process(*QUEUECTL, str(data), *words, path=f"{programs}:"):
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
        ("dead-letters", "/dead", "light", 360),
        ("job", f"/jobs/{running}", "light", 780),
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
