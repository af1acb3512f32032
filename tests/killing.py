"""`ship run` killed at random moments, again and again, while others append."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from programs import ROOT
from workers import PATIENCE_S

from queuectl import Queue

PROGRAM = [sys.executable, "-m", "queuectl"]


def queuectl(place: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, "--data", str(place / "data"), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finished(process: subprocess.Popen[bytes]) -> None:
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said.decode()


def kill_without_end(place: Path, chance: random.Random, kills: int, *sinks: str) -> int:
    """Kill what ships to all sinks of the queue at `place` so often, then let it ship all there is
    to `sinks`, or to all; returns how many events that is."""
    with Queue(place / "data") as queue:
        for _ in range(kills):
            process = queuectl(place, "-q", "ship", "run")
            # From before it has opened anything to after it has got everything.
            give_up_s = time.monotonic() + chance.random() * 0.6
            while time.monotonic() < give_up_s:
                some = chance.choice((1, 1, 20, 100))
                queue.enqueue_many([{"command": "true", "env": ["SECRET=x"]}] * some)
                time.sleep(chance.random() * 0.02)
            process.kill()
            process.communicate()
        finished(queuectl(place, "ship", "run", *sinks, "--once"))
        return queue.log.head()
