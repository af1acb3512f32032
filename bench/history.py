"""Makes a log as a busy queue leaves it: through the real engine, on a clock that runs ahead."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

from queuectl import instants
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.host import Host
from queuectl.ids import IdMaker

_START_US = 1_795_000_000_000_000
_APPEND_FACTS = 8
"""About what a worker with eight slots records at a time."""


class _Simulated(Host):
    """Its clock moves when it is told to, and its syncs cost nothing."""

    def __init__(self) -> None:
        self.us = _START_US

    def now_us(self) -> int:
        return self.us

    fdatasync = staticmethod(lambda fd: None)


def make(root: str, events: int, *, waiting: int = 500, seed: int = 1) -> str:
    """A data directory with a log of `events` events; returns the directory.

    `waiting` jobs wait at a time, and at the end. About 93 of 100 jobs complete in their first run,
    some fail and are retried, a few die.
    """
    host = _Simulated()
    home = Home(root)
    for directory in (home.root, home.log, home.run, home.output):
        os.makedirs(directory, 0o700)
    log = FileLog(home.log, host)
    left = events
    facts: list[Batch] = []
    count = 0
    for batch in _batches(host, random.Random(seed), waiting):
        facts.append(batch)
        count += len(batch.facts)
        if count >= _APPEND_FACTS or count >= left:
            left -= len(log.append(facts))
            host.us += 3_000
            facts, count = [], 0
            if left <= 0:
                break
    log.close()
    return root


def _batches(host: _Simulated, chance: random.Random, ahead: int) -> Iterator[Batch]:
    """Jobs enqueued ahead of a worker of eight slots that runs them in turn, for ever."""
    ids = IdMaker()
    worker = ids.make(host.us, chance.randbytes(10))
    yield Batch([v.WorkerStarted(worker=worker, host="bench", pid=4711, slots=8)])
    waiting: deque[tuple[str, int]] = deque()
    token = 1
    number = 0
    while True:
        while len(waiting) < ahead:
            number += 1
            spec = _spec(ids.make(host.us, chance.randbytes(10)), number, chance)
            token += 1
            waiting.append((spec.job, 0))
            yield Batch([spec])
        for _ in range(8):
            job, attempt = waiting.popleft()
            until = instants.from_us(host.us + 60_000_000)
            token += 1
            attempt += 1
            yield Batch(
                [
                    v.JobClaimed(
                        job=job, attempt=attempt, worker=worker, slot=token % 8 + 1, until=until
                    )
                ]
            )
            end = _end(job, attempt, worker, token, chance, host.us)
            token += len(end)
            if isinstance(end[-1], v.JobRetried):
                waiting.append((job, attempt))
            yield Batch(end)


def _spec(job: str, number: int, chance: random.Random) -> v.JobEnqueued:
    return v.JobEnqueued(
        job=job,
        command=f"convert photos/{number:07d}.png -resize 50% small/{number:07d}.webp",
        cwd="/home/somebody/pictures",
        priority=chance.choice((0, 0, 0, 5)),
        timeout_ms=300_000,
        backoff_max_ms=3_600_000,
        actor="somebody@bench",
    )


def _end(
    job: str, attempt: int, worker: str, token: int, chance: random.Random, now_us: int
) -> list[v.Fact]:
    run: dict[str, Any] = {
        "job": job,
        "attempt": attempt,
        "worker": worker,
        "token": token,
        "wait_ms": int(chance.expovariate(1 / 4000)),
        "run_ms": int(chance.expovariate(1 / 900)),
        "cpu_ms": chance.randrange(400),
        "stdout_bytes": chance.randrange(2000),
    }
    if chance.random() < 0.93:
        return [v.JobCompleted(exit_code=0, **run)]
    failed = v.JobFailed(exit_code=1, reason="exit", error="convert: unable to open image", **run)
    if attempt == 3:
        return [failed, v.JobDead(job=job, attempt=attempt, error=failed.error)]
    due = instants.from_us(now_us + 2_000_000)
    return [failed, v.JobRetried(job=job, attempt=attempt, run_at=due, delay_ms=2000)]
