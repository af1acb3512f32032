"""An idle worker: how soon it starts a job that arrives, and what it costs meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.measure import Pair, Result, Row, Run, alternate, queuectl
from queuectl import Queue
from queuectl.host import Host

_PAUSE_S = 0.05
_POLL_S = 1.0


class _Silent(Host):
    """Rings no bell, so that the worker finds out by its poll."""

    def ring(self, path: str) -> None:
        pass


@contextmanager
def _worker(root: str) -> Iterator[subprocess.Popen[bytes]]:
    command = queuectl("--data", root, "worker", "start", "-c", "1", "--poll-interval", "1s")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Queue(root) as queue:
            while not queue.state.workers.rows:
                time.sleep(0.01)
        time.sleep(0.5)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _pick_up_ms(queue: Queue, pipe: str) -> float:
    """From the return of `enqueue` to the job's first step: it opens a pipe that this process
    waits at, so one monotonic clock tells both moments (and the wake-up here is counted in)."""
    job = queue.enqueue(f": > {pipe}")
    returned_s = time.monotonic()
    os.close(os.open(pipe, os.O_RDONLY))
    started_s = time.monotonic()
    while not queue.get(job.id).finished_at:
        time.sleep(0.002)
    return 1000 * (started_s - returned_s)


def _pick_up(run: Run) -> Result:
    root = run.fresh("waking")
    pipe = run.fresh("pipe")
    os.mkfifo(pipe)
    chance = random.Random(1)
    with _worker(root), Queue(root) as ringing, Queue(root, host=_Silent()) as silent:

        def ours() -> float:
            time.sleep(_PAUSE_S)
            return _pick_up_ms(ringing, pipe)

        def reference() -> float:
            # Anywhere in the worker's interval, as a job arrives.
            time.sleep(_PAUSE_S + chance.random() * _POLL_S)
            return _pick_up_ms(silent, pipe)

        pairs = alternate(run.times(41, 5), ours, reference)
    figures = sorted(pair.ours for pair in pairs)
    p95 = figures[len(figures) * 95 // 100]
    return Result(pairs, f"p50 of {len(figures)}; p95 {p95:.1f} ms; the goal is for our own figure")


def _idle(run: Run) -> Result:
    root = run.fresh("idle")
    with _worker(root) as process:
        pairs = [Pair(_cpu_share(process.pid, run.times(10, 2)), 100.0) for _ in range(3)]
    return Result(pairs, "user and system time of the worker process; the goal is for our figure")


def _cpu_share(pid: int, seconds_s: float) -> float:
    """Percent of a core that a process uses over a while."""
    before_ns = _cpu_ns(pid)
    time.sleep(seconds_s)
    return (_cpu_ns(pid) - before_ns) / seconds_s / 1e7


def _cpu_ns(pid: int) -> int:
    # In /proc/…/stat it would come in steps of 10 ms.
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


ROWS = [
    Row(
        "pick-up",
        "idle worker: from `enqueue` returning to the job starting",
        "the same with no bell rung, found by a poll of 1 s",
        "ms",
        20,
        True,
        _pick_up,
    ),
    Row("idle", "processor time of an idle worker", "one core", "%", 0.5, True, _idle),
]
