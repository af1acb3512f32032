"""The web server: what a look costs with a long history, how soon an append is seen, and what many
viewers cost the workers."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection

from bench import history
from bench.measure import Pair, Result, Row, Run, alternate, queuectl, seconds
from queuectl import Queue

_OVERVIEW = ("/", "/api/v1/status", "/api/v1/stats", "/api/v1/queues", "/metrics")
_LISTS = ("/api/v1/jobs", *(f"/api/v1/jobs?state={name}" for name in ("pending", "dead")))
_VIEWERS = 200
_EVENTS_A_SECOND = 100


@contextmanager
def _server(root: str) -> Iterator[int]:
    """Its port, for as long as it runs."""
    process = subprocess.Popen(
        queuectl("--data", root, "web", "--port", "0", "--no-token"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rstrip(b"/\n").rpartition(b":")[2])
    finally:
        process.terminate()
        process.wait(30)


def _get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def _look_ms(port: int, paths: Sequence[str]) -> float:
    return 1000 * seconds(lambda: [_get(port, path) for path in paths])


def _look(paths: Sequence[str], run: Run) -> Result:
    finished, waiting = run.times(1_000_000, 50_000), run.times(100_000, 10_000)
    big = os.path.join(run.place, f"served-{finished}-{waiting}")
    if not os.path.exists(big):
        history.make(big, int(finished * 3.21), waiting=waiting)
        with Queue(big, create=False) as queue:
            queue.catch_up(sparing=True)
            queue.keep_snapshot()
    empty = run.fresh("served-empty")
    with _server(big) as full, _server(empty) as bare:
        for port in (full, bare):
            _look_ms(port, paths)
        pairs = alternate(
            run.times(21, 5), lambda: _look_ms(full, paths), lambda: _look_ms(bare, paths)
        )
        counts = json.loads(_get(full, "/api/v1/status"))["jobs"]
    waits = sum(counts[state] for state in ("pending", "failed", "processing"))
    return Result(pairs, f"{sum(counts.values()) - waits:,} finished jobs, {waits:,} others")


@contextmanager
def _stream(port: int) -> Iterator[socket.socket]:
    """A viewer, once it has heard the first words."""
    plug = socket.create_connection(("127.0.0.1", port))
    plug.sendall(
        b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    )
    plug.recv(65536)
    try:
        yield plug
    finally:
        plug.close()


def _visible(run: Run) -> Result:
    root = run.fresh("visible")
    pairs = []
    with Queue(root) as queue, _server(root) as port, _stream(port) as plug:
        for _ in range(run.times(101, 11)):
            # Apart from each other, so that none waits to be told together with the one before.
            time.sleep(0.25)
            job = queue.enqueue("true")
            stored_s = time.perf_counter()
            heard = b""
            while job.id.encode() not in heard:
                heard += plug.recv(65536)
            pairs.append(Pair(1000 * (time.perf_counter() - stored_s), 100.0))
    figures = sorted(pair.ours for pair in pairs)
    p95 = figures[len(figures) * 95 // 100]
    return Result(pairs, f"p50 of {len(figures)}; p95 {p95:.1f} ms; the goal is for our own figure")


_SHOWS = """id => new Promise(shown => {
    const look = () => document.body.textContent.includes(id) && shown(Date.now());
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
})"""


def _shown(run: Run) -> Result:
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    root = run.fresh("shown")
    pairs = []
    with Queue(root) as queue, _server(root) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#pulse[data-is=live]")
        for index in range(run.times(41, 5)):
            # A page asks for itself once a second at most, and at once after a quiet second.
            page.wait_for_timeout(1300)
            id = f"job-{index}."
            page.evaluate(f"id => {{ window.shown = ({_SHOWS})(id) }}", id)
            queue.enqueue("true", id=id)
            stored_ms = 1000 * time.time()
            pairs.append(Pair(page.evaluate("() => window.shown") - stored_ms, 100.0))
        browser.close()
    figures = sorted(pair.ours for pair in pairs)
    return Result(pairs, f"p50 of {len(figures)}; the goal is for our own figure")


@contextmanager
def _viewers(port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.watching", str(port), str(_VIEWERS)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "they do not listen"
        yield
        assert process.poll() is None, "they gave up"
    finally:
        process.kill()
        process.wait()


def _drain(root: str, jobs: int) -> float:
    """Jobs a second of a worker that is given some hundred events a second to write: each job makes
    three, and takes so long that two slots write no more."""
    pause_s = 2 * 3 / _EVENTS_A_SECOND
    with Queue(root) as queue:
        queue.enqueue_all([{"command": f"exec sleep {pause_s:.3f}"}] * jobs)
    command = queuectl("--data", root, "worker", "start", "-c", "2", "--burst")
    took_s = seconds(lambda: subprocess.run(command, stderr=subprocess.DEVNULL, check=True))
    return jobs / took_s


def _watched(run: Run) -> Result:
    jobs = run.times(600, 60)
    root = run.fresh("watched")
    Queue(root).close()
    with _server(root) as port:

        def ours() -> float:
            with _viewers(port):
                return _drain(root, jobs)

        pairs = alternate(run.times(7, 2), ours, lambda: _drain(root, jobs))
    return Result(pairs, f"{_VIEWERS} open overviews of {_EVENTS_A_SECOND} events a second")


ROWS = [
    Row(
        "web-overview",
        "web server: the overview, counts, statistics, queues and metrics, with 1,000,000 finished"
        " jobs and 100,000 others",
        "the same on an empty queue",
        "ms",
        3.0,
        False,
        functools.partial(_look, _OVERVIEW),
    ),
    Row(
        "web-lists",
        "web server: lists of all, pending and dead jobs, with as many",
        "the same on an empty queue",
        "ms",
        200,
        True,
        functools.partial(_look, _LISTS),
    ),
    Row(
        "web-visible",
        "web server: from an append returning to a viewer hearing of it",
        "a tenth of a second",
        "ms",
        100,
        True,
        _visible,
    ),
    Row(
        "web-page",
        "web server: from an append returning to a browser's page having it",
        "a tenth of a second",
        "ms",
        100,
        True,
        _shown,
    ),
    Row(
        "web-viewers",
        "drain jobs that write 100 events a second, with 200 overviews open",
        "the same with nobody watching",
        "jobs/s",
        0.95,
        False,
        _watched,
    ),
]
