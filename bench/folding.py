"""Reading a long log: decode, verify and fold, against `orjson.loads` of the same lines.

Every repetition is a process of its own, as every start of queuectl is.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys

import orjson

from bench import history
from bench.measure import Result, Row, Run, alternate, seconds
from queuectl import Queue


def _fold(root: str) -> float:
    queue = Queue(root, create=False)
    return seconds(queue.catch_up)


def _loads(root: str) -> float:
    loads = orjson.loads

    def loop() -> None:
        for path in sorted(glob.glob(os.path.join(root, "log", "*.jsonl"))):
            with open(path, "rb") as file:
                for line in file:
                    loads(line)

    return seconds(loop)


def _apart(function: str, root: str) -> float:
    """The seconds that one of the two above takes in a new process."""
    program = f"import sys; from bench import folding; print(folding.{function}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, root], stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def _measure(run: Run) -> Result:
    events = run.times(1_000_000, 100_000)
    root = os.path.join(run.place, f"history-{events}")
    if not os.path.exists(root):
        history.make(root, events)
    pairs = alternate(
        run.times(7, 3),
        lambda: events / _apart("_fold", root),
        lambda: events / _apart("_loads", root),
    )
    return Result(pairs, f"{events:,} events, each repetition in a process of its own")


ROWS = [
    Row(
        "fold",
        "decode + verify + fold of a long log",
        "`orjson.loads` of its lines",
        "events/s",
        0.5,
        False,
        _measure,
    )
]
