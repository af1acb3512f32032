"""Draining a queue of jobs that do nothing: one worker process against `xargs -P`."""

from __future__ import annotations

import functools
import os
import subprocess

from bench.measure import Result, Row, Run, alternate, queuectl, seconds
from queuectl import Queue, instants
from queuectl.events import vocabulary as v


def _worker(root: str, slots: int) -> None:
    """One worker process from its start to its end."""
    command = queuectl("--data", root, "worker", "start", "-c", str(slots), "--burst")
    with open(os.devnull, "wb") as nothing:
        subprocess.run(command, stdout=nothing, stderr=nothing, check=True)


def _xargs(jobs: int, slots: int) -> None:
    command = f"seq {jobs} | xargs -P {slots} -n 1 sh -c true"
    subprocess.run(command, shell=True, check=True)


def _steady(root: str) -> float:
    """Jobs a second from the first claim to the last completion, as the log tells it."""
    first = last = ""
    count = 0
    with Queue(root, create=False) as queue:
        for events in queue.log.read():
            for event in events:
                if isinstance(event, v.JobClaimed):
                    first = first or event.at
                elif isinstance(event, v.JobCompleted):
                    count += 1
                    last = event.at
    return count / (instants.to_us(last) - instants.to_us(first)) * 1e6


def _measure(slots: int, run: Run) -> Result:
    jobs = run.times(2000, 300)
    steady = []

    def ours() -> float:
        root = run.fresh(f"drain-{slots}")
        with Queue(root) as queue:
            queue.enqueue_all([{"command": "true"}] * jobs)
        rate = jobs / seconds(lambda: _worker(root, slots))
        steady.append(_steady(root))
        return rate

    pairs = alternate(run.times(7, 2), ours, lambda: jobs / seconds(lambda: _xargs(jobs, slots)))
    steady.sort()
    return Result(
        pairs,
        f"from first claim to last completion {steady[len(steady) // 2]:,.0f} jobs/s",
    )


ROWS = [
    Row(
        f"drain-{slots}",
        f"drain 2,000 `true` jobs, {slots} slots, the whole worker process",
        f"`xargs -P{slots}` running `sh -c true`",
        "jobs/s",
        0.8,
        False,
        functools.partial(_measure, slots),
    )
    for slots in (2, 8)
]
