"""Shipping: what it costs to copy the log into files elsewhere, beside copying its bytes."""

from __future__ import annotations

import os
import subprocess
import time

from bench import history
from bench.calling import call_ms
from bench.measure import Pair, Result, Row, Run, alternate, queuectl
from queuectl import Queue

_SHIPMENT = "4M"
"""So much is synced at a time, by default."""


def _long(run: Run) -> str:
    events = run.times(1_000_000, 200_000)
    root = os.path.join(run.place, f"shipped-{events}")
    if not os.path.exists(root):
        history.make(root, events)
    return root


def _segments(root: str) -> list[str]:
    directory = os.path.join(root, "log")
    names = sorted(name for name in os.listdir(directory) if name.endswith(".jsonl"))
    return [os.path.join(directory, name) for name in names]


def _files(run: Run) -> Result:
    root = _long(run)
    files = _segments(root)

    def ours() -> float:
        name = os.path.basename(run.fresh("sink"))
        target = os.path.join(run.place, name)
        data = ["--data", root, "-q", "ship"]
        subprocess.run(queuectl(*data, "add", name, "--to", f"jsonl:{target}"), check=True)
        return call_ms(queuectl(*data, "run", name, "--once"))

    def reference() -> float:
        command = f'cat "$@" | dd of="$0" bs={_SHIPMENT} iflag=fullblock oflag=dsync status=none'
        return call_ms(["sh", "-c", command, run.fresh("copy"), *files])

    size = sum(map(os.path.getsize, files)) / 1e6
    return Result(alternate(run.times(7, 3), ours, reference), f"{size:,.0f} MB of log")


def _prompt(run: Run) -> Result:
    root = run.fresh("prompt")
    target = run.fresh("prompt-sink")
    pairs = []
    with Queue(root) as queue:
        queue.enqueue("true")
        data = ["--data", root, "-q", "ship"]
        subprocess.run(queuectl(*data, "add", "sink", "--to", f"jsonl:{target}"), check=True)
        file = os.path.join(target, f"{1:020d}.jsonl")
        with subprocess.Popen(queuectl(*data, "run", "sink")) as process:
            size = _grown(file, 0)
            for _ in range(run.times(200, 40)):
                time.sleep(0.02)
                since = time.perf_counter()
                queue.enqueue("true")
                appended = time.perf_counter()
                size = _grown(file, size)
                pairs.append(
                    Pair(1000 * (time.perf_counter() - appended), 1000 * (appended - since))
                )
            process.terminate()
    return Result(pairs, "the goal is for our figure")


def _grown(path: str, size: int) -> int:
    while True:
        try:
            if (now := os.path.getsize(path)) > size:
                return now
        except FileNotFoundError:
            pass
        time.sleep(0.0002)


ROWS = [
    Row(
        "ship",
        "`queuectl ship run --once` of a whole log into JSONL files",
        f"`cat` of the same bytes into a file, synced every {_SHIPMENT}iB",
        "ms",
        4,
        False,
        _files,
    ),
    Row(
        "ship-prompt",
        "from a durable enqueue to its event in a sink's file, beside an idle `ship run`",
        "the enqueue itself",
        "ms",
        100,
        True,
        _prompt,
    ),
]
