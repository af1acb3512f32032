"""Compaction: what it costs beside compressing the same bytes, and what appends feel of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from bench import history
from bench.calling import call_ms
from bench.measure import Pair, Result, Row, Run, alternate, queuectl
from queuectl import Queue
from queuectl.domain.job import FINISHED

_PRUNE_AT_A_TIME = 1000
_PAUSE_S = 0.002


def _pruned(run: Run) -> str:
    """A directory in which every second finished job was forgotten, so that no segment can stay as
    it is and none can go as a whole."""
    events = run.times(400_000, 150_000)
    root = os.path.join(run.place, f"pruned-{events}")
    if not os.path.exists(root):
        history.make(root, events)
        with Queue(root, create=False) as queue:
            ids = [job.id for job in queue.jobs(states=FINISHED)][::2]
            for start in range(0, len(ids), _PRUNE_AT_A_TIME):
                queue.prune(*ids[start : start + _PRUNE_AT_A_TIME])
            queue.keep_snapshot()
    return root


def _copy(run: Run) -> str:
    root = run.fresh("compacted")
    shutil.copytree(_pruned(run), root)
    return root


def _sealed(root: str) -> list[str]:
    directory = os.path.join(root, "log")
    names = sorted(name for name in os.listdir(directory) if name.endswith(".jsonl"))
    return [os.path.join(directory, name) for name in names[:-1]]


def _cost(run: Run) -> Result:
    files = _sealed(_pruned(run))
    gzip = ["gzip", "-6", "-c", *files]

    def ours() -> float:
        return call_ms(queuectl("--data", _copy(run), "log", "compact"))

    pairs = alternate(run.times(5, 2), ours, lambda: call_ms(gzip))
    return Result(pairs, f"{sum(map(os.path.getsize, files)) / 1e6:,.0f} MB in sealed segments")


def _p99_ms(queue: Queue, wanted: int, while_running: subprocess.Popen[bytes] | None) -> float:
    """Of appends with a short pause between them; at most `wanted`, or as long as that runs."""
    taken: list[float] = []
    while len(taken) < wanted if while_running is None else while_running.poll() is None:
        since = time.perf_counter()
        queue.enqueue("true")
        taken.append(1000 * (time.perf_counter() - since))
        time.sleep(_PAUSE_S)
    taken.sort()
    return taken[len(taken) * 99 // 100]


def _appends(run: Run) -> Result:
    pairs = []
    for _ in range(run.times(5, 2)):
        root = _copy(run)
        with Queue(root) as queue:
            queue.enqueue("true")
            quiet = _p99_ms(queue, run.times(1000, 300), None)
            command = queuectl("--data", root, "log", "compact")
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                pairs.append(Pair(_p99_ms(queue, 0, process) - quiet, quiet))
    return Result(pairs, "what compaction adds to that; the goal is for our figure")


ROWS = [
    Row(
        "compact",
        "`queuectl log compact` where every second job was purged, archive included",
        "`gzip -6` of the sealed segments",
        "ms",
        2,
        False,
        _cost,
    ),
    Row(
        "compact-appends",
        "what a compaction beside it adds to the 99th percentile of durable appends",
        "that percentile without",
        "ms",
        5,
        True,
        _appends,
    ),
]
