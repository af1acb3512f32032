"""What simulated processes run: jobs, whose command is words that say how long it lasts and how it
behaves, and the worker's own helper, which is the real code."""

from __future__ import annotations

import os
import signal
from random import Random

from host import SimulatedHost
from machine import INIT, Process
from oracle import Oracle

from queuectl.errors import Conflict, Damaged, Newer, QueuectlError
from queuectl.home import Home
from queuectl.jobqueue import Queue
from queuectl.runtime import housekeeping

PLACE = "/data"
_MS = 1000
_PADDINGS = (*(0,) * 16, *(1200,) * 4, 20_000)
_BEHAVIOURS = ("", "", "", "fails", "flaky", "deaf", "leaves", "escapes", "kills")


def open_queue(process: Process, oracle: Oracle) -> Queue:
    """The queue as that process has it."""
    return Queue(PLACE, host=SimulatedHost(process, Programs(oracle)))


class TidyingHost(SimulatedHost):
    """Tells the oracle whose output it deletes."""

    def __init__(self, process: Process, oracle: Oracle) -> None:
        super().__init__(process, Programs(oracle))
        self._oracle = oracle

    def unlink(self, path: str) -> None:  # type: ignore[override]
        run = Home(PLACE).run_of(os.path.basename(path))
        if run is not None:
            self._oracle.deletes(*run)
        super().unlink(path)


def command(chance: Random) -> str:
    """Some command, such as `run 20 fails word1f`, whose word no other has; now and then it fills
    several sectors, or does not fit into a line of the log."""
    words = (
        f"run {chance.choice((0, 1, 5, 30, 200))}",
        chance.choice(_BEHAVIOURS),
        f"word{chance.randrange(1 << 60):x}",
        "." * chance.choice(_PADDINGS),
    )
    return " ".join(filter(None, words))


class Programs:
    """Gives life to the processes that workers spawn."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def __call__(self, process: Process) -> None:
        if b"QUEUECTL_JOB" in process.environment:
            self._run_job(process)
        else:
            process.machine.begin(process, self._keep_house)

    def _keep_house(self, process: Process) -> None:
        try:
            with Queue(PLACE, host=TidyingHost(process, self._oracle)) as queue:
                housekeeping.keep_house(queue)
        except (Damaged, Conflict, Newer):
            raise
        except (QueuectlError, OSError):
            pass

    def _run_job(self, process: Process) -> None:
        environment = process.environment
        job, token = environment[b"QUEUECTL_JOB"].decode(), int(environment[b"QUEUECTL_TOKEN"])
        self._oracle.began(job, token, process)
        _, duration_ms, *behaviour = process.name.split()
        machine = process.machine
        status = 0
        if "fails" in behaviour or (
            "flaky" in behaviour and int(environment[b"QUEUECTL_ATTEMPT"]) < 2
        ):
            status = 3 << 8
        if "deaf" in behaviour:
            process.ignores = frozenset([signal.SIGTERM])
        if "leaves" in behaviour:
            self._fork(job, token, process, escapes=False)
        if "escapes" in behaviour:
            self._fork(job, token, process, escapes=True)

        def end() -> None:
            if process.dead or process.dying:
                return
            if "kills" in behaviour and process.parent != INIT:
                machine.end(machine.processes[process.parent], signal.SIGKILL)
            machine.end(process, status)

        machine.at(machine.now_us + int(duration_ms) * _MS, end)

    def _fork(self, job: str, token: int, parent: Process, *, escapes: bool) -> None:
        """A child that goes on for long after its parent has ended."""
        machine = parent.machine
        child = machine.add(f"{parent.name} (child)", parent.pid)
        child.environment = parent.environment
        if escapes:
            # A session of its own, and nothing of its parent's files.
            child.group = child.session = child.pid
        else:
            child.group, child.session = parent.group, parent.session
            for opening in parent.openings.values():
                child.give(opening)
        self._oracle.joined(token, child)
        machine.at(
            machine.now_us + 10_000 * _MS, lambda: None if child.dead else machine.end(child, 0)
        )
