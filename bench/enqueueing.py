"""Enqueueing: one job at a time, and a hundred thousand at once, against raw appends."""

from __future__ import annotations

import glob
import os
import subprocess

from bench.measure import Result, Row, Run, alternate, appending, queuectl, seconds
from queuectl import Queue

_LINE = b"x" * 199 + b"\n"
_LINES_A_SYNC = 1000


def _one_at_a_time(run: Run) -> Result:
    times = run.times(400, 100)
    with Queue(run.fresh("one")) as queue, appending(run.fresh("raw")) as raw:
        queue.enqueue("true")

        def ours() -> float:
            def loop() -> None:
                for _ in range(times):
                    queue.enqueue("true")

            return times / seconds(loop)

        def reference() -> float:
            def loop() -> None:
                for _ in range(times):
                    os.write(raw, _LINE)
                    os.fdatasync(raw)

            return times / seconds(loop)

        pairs = alternate(run.times(25, 5), ours, reference)
    return Result(pairs, f"{times} in a row each time")


def _raw(path: str, lines: list[bytes]) -> float:
    """Seconds to append `lines`, with one sync a thousand."""
    starts = range(0, len(lines), _LINES_A_SYNC)
    pieces = [b"".join(lines[start : start + _LINES_A_SYNC]) for start in starts]
    with appending(path) as fd:

        def loop() -> None:
            for piece in pieces:
                os.write(fd, piece)
                os.fdatasync(fd)

        return seconds(loop)


def _log_lines(root: str) -> list[bytes]:
    lines: list[bytes] = []
    for path in sorted(glob.glob(os.path.join(root, "log", "*.jsonl"))):
        with open(path, "rb") as file:
            lines += file.readlines()
    return lines


def _in_process(run: Run) -> Result:
    count = run.times(100_000, 10_000)
    jobs = [{"command": f"echo {number}"} for number in range(count)]
    lines: list[bytes] = []

    def ours() -> float:
        root = run.fresh("bulk")
        with Queue(root) as queue:
            rate = count / seconds(lambda: queue.enqueue_all(jobs))
        lines[:] = _log_lines(root)
        return rate

    def reference() -> float:
        return count / _raw(run.fresh("raw"), lines)

    ours()  # so that the lines are known
    return Result(alternate(run.times(7, 3), ours, reference), f"{count:,} jobs, one call")


def _whole_process(run: Run) -> Result:
    count = run.times(100_000, 10_000)
    path = run.fresh("jobs")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"echo {number}\n" for number in range(count))
    lines: list[bytes] = []

    def ours() -> float:
        root = run.fresh("bulk")
        command = queuectl("--data", root, "enqueue", "-f", path)
        taken_s = seconds(
            lambda: subprocess.run(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        )
        lines[:] = _log_lines(root)
        return count / taken_s

    ours()
    pairs = alternate(run.times(7, 3), ours, lambda: count / _raw(run.fresh("raw"), lines))
    return Result(pairs, f"{count:,} plain command lines, start of Python included")


ROWS = [
    Row(
        "enqueue",
        "one durable `Queue.enqueue` at a time",
        "append of 200 B + fdatasync",
        "jobs/s",
        0.55,
        False,
        _one_at_a_time,
    ),
    Row(
        "bulk",
        "`Queue.enqueue_all` of 100,000 jobs, durable",
        "append of the same bytes, one fdatasync per 1,000 lines",
        "jobs/s",
        0.25,
        False,
        _in_process,
    ),
    Row(
        "bulk-process",
        "`queuectl enqueue -f` of 100,000 jobs, the whole process",
        "append of the same bytes, one fdatasync per 1,000 lines",
        "jobs/s",
        0.25,
        False,
        _whole_process,
    ),
]
