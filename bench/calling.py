"""What one call of the command line costs, against importing the libraries it needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from bench.measure import Pair, Result, Row, Run, alternate, queuectl, seconds
from queuectl import Queue

_REFERENCE = [sys.executable, "-c", "import click, orjson, filelock"]


def call_ms(command: list[str]) -> float:
    """How long one process takes, from its start to its end.

    Without a timeout, here and wherever a process is measured: `subprocess` would look for its end
    every 50 ms, and all figures would be multiples of that.
    """
    return 1000 * seconds(
        lambda: subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    )


def _measure(*arguments: str) -> Callable[[Run], Result]:
    def measure(run: Run) -> Result:
        root = run.fresh("small")
        with Queue(root) as queue:
            queue.enqueue_all([{"command": "true"}] * 20)
        command = queuectl("--data", root, *arguments)
        for warm in (command, _REFERENCE):
            call_ms(warm)
        pairs: list[Pair] = alternate(
            run.times(31, 5), lambda: call_ms(command), lambda: call_ms(_REFERENCE)
        )
        return Result(pairs, "a queue of 20 jobs")

    return measure


ROWS = [
    Row(
        f"call-{arguments[0]}",
        f"one `queuectl {arguments[0]}` process, small queue",
        '`python -c "import click, orjson, filelock"`',
        "ms",
        1.2,
        False,
        _measure(*arguments),
    )
    for arguments in (("enqueue", "-c", "true"), ("status",))
]
