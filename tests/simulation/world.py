"""One run of the simulation: a machine, clients that use queuectl on it, and the trouble they get.

First everything goes wrong that can; then the trouble ends, and what was promised must come true.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from types import TracebackType
from typing import Self
from unittest import mock

from clients import CLIENTS, Client, audit, compactor, finisher, resumer, shipper, worker
from executables import PLACE, open_queue
from greenlet import getcurrent
from machine import Machine, Process, Stuck
from oracle import Oracle, Violation, WatchedLog
from trouble import KINDS, Trouble

from queuectl import queueview
from queuectl.errors import Conflict, Damaged, LockTimedOut, Newer, NoSpace, QueuectlError
from queuectl.jobqueue import Queue
from queuectl.runtime import housekeeping
from queuectl.runtime import worker as real_worker

_PEACE_CALLS = 60_000
_WORKERS_MAX = 100


class Signals:
    """Stands in for `StopSignals`: the simulated machine signals, not the real one."""

    def __init__(self, bell: int) -> None:
        self.count = 0
        self._process: Process = getcurrent().process  # type: ignore[attr-defined]
        self._pipe = self._process.openings[bell].file

    def __enter__(self) -> Self:
        self._process.on_signal = self._heard
        return self

    def _heard(self, number: int) -> None:
        self.count += number == signal.SIGTERM
        self._process.machine.ring(self._pipe)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.on_signal = None


class World:
    """`calls` is how many the time of trouble lasts, `storm` the trouble there is. A storm is about
    the disk alone: much trouble, many appends, and no job runs; None leaves that to chance."""

    def __init__(self, seed: int, calls: int, storm: tuple[str, ...] | None) -> None:
        self.seed = seed
        self.chance = Random(f"world {seed}")
        chance = self.chance
        self._is_storm = storm is not None or chance.random() < 0.5
        trouble = chance.choice((0.01, 0.03, 0.1) if self._is_storm else (0.0, 0.003, 0.01, 0.03))
        # Each seed has its own mixture: with everything at once, rare things hide each other.
        kinds = storm or [kind for kind in KINDS if chance.random() < 0.6]
        self.machine = Machine(seed, switch=chance.choice((0.05, 0.3, 0.8)))
        self.machine.calls_max = calls
        self._segment_bytes_max = chance.choice((1000, 5000, 1 << 20))
        self._many_events = chance.choice((10, 50, 1 << 20))
        self.oracle = Oracle()
        self.trouble = Trouble(self.machine, chance, kinds)
        if kinds:
            self.machine.trouble = trouble
            self.machine.make_trouble = self.trouble
        if chance.random() < 0.3:
            self.machine.disk.plant(os.path.join(PLACE, "cursors", "shipper"), b"0")
            self.oracle.cursor = 0
        absent = {
            worker if self._is_storm else None,
            shipper if self.oracle.cursor is None else None,
        }
        clients = [client for client in CLIENTS if client not in absent]
        self._wanted: list[Client] = chance.choices(clients, k=chance.randrange(2, 7))

    # ---- from start to end

    def run(self) -> None:
        """Raises `Violation`, or whatever else the code did not expect."""
        sizes = {"segment_bytes_max": self._segment_bytes_max, "many_events": self._many_events}
        with simulated(self.oracle, **sizes):
            self.machine.run(self._keep_going)
            self._end_trouble()
            if self._is_storm:
                self._peace(compactor)
            else:
                self._finish_all()
            self._peace(finisher)
            self._peace(audit)

    def _finish_all(self) -> None:
        """Let everything run that was ever accepted."""
        self._peace(resumer)
        # A worker ends when nothing is left to run; some jobs kill theirs.
        for _ in range(_WORKERS_MAX):
            self._peace(worker, worker)
            if not self.oracle.unfinished():
                return
        raise Violation(f"never finished: {self.oracle.unfinished()}")

    def _keep_going(self) -> bool:
        """Whether the time of trouble is over; until then, whoever ended is followed by another."""
        names = [process.name for process in self.machine.living()]
        for client in self._wanted:
            if client.__name__ in names:
                names.remove(client.__name__)
            else:
                self._start(client)
        return self.machine.calls >= self.machine.calls_max

    def _end_trouble(self) -> None:
        machine = self.machine
        machine.trouble = 0.0
        machine.armed.clear()
        machine.disk.capacity = 1 << 40
        # What was to run at a time of tomorrow's clock may run today.
        machine.wall_us = max(machine.wall_us, self.trouble.latest_us)
        machine.calls_max = machine.calls + _PEACE_CALLS
        end = self.chance.random()
        if end < 0.4:
            machine.restart()
        for process in machine.living():
            process.armed.clear()
            machine.resume(process)
            if end < 0.7 or process.on_signal is None:
                machine.end(process, signal.SIGKILL)
            else:
                machine.signal(process, signal.SIGTERM)

    def _peace(self, *clients: Client) -> None:
        machine = self.machine
        for client in clients:
            self._start(client)
        try:
            machine.run(lambda: not machine.living() or machine.calls >= machine.calls_max)
        except Stuck:
            raise Violation("everybody waits for ever") from None
        if machine.calls >= machine.calls_max:
            raise Violation("nothing gets done any more")

    # ---- clients

    def _start(self, client: Client) -> Process:
        def body(process: Process) -> None:
            try:
                client(self, process)
            except (QueuectlError, OSError) as error:
                if not self._is_excused(process, error):
                    raise

        return self.machine.start(client.__name__, body)

    def open(self, process: Process) -> Queue:
        """The real thing, on the simulated machine."""
        return open_queue(process, self.oracle)

    def _is_excused(self, process: Process, error: Exception) -> bool:
        """Whether the trouble made explains that a client gave up."""
        if isinstance(error, (Damaged, Conflict, Newer)):
            return False
        if self.trouble.counts["full"] and (
            isinstance(error, NoSpace)
            or (isinstance(error, OSError) and error.errno == errno.ENOSPC)
        ):
            return True
        if isinstance(error, LockTimedOut) and self.trouble.counts["stop"]:
            return True
        return process.errors > 0

    def told(self) -> dict[str, int]:
        """What was tried."""
        counts, oracle = self.trouble.counts, self.oracle
        return {
            "seeds": 1,
            "simulated calls": self.machine.calls,
            "events": len(oracle.history),
            "acknowledgements checked": oracle.acknowledged,
            "runs of jobs": oracle.runs,
            "events compacted away": len(oracle.compacted),
            "events redacted": len(oracle.redacted),
            "output files deleted": oracle.deleted,
            "kills": counts["kill"],
            "power cuts": counts["power"],
            "restarts on a machine that goes on": counts["restart"],
            "errors and short writes": counts["error"] + counts["short"],
            "stops": counts["stop"],
            "clock jumps": counts["clock"],
            "disks filled": counts["full"],
        }

    def story(self) -> str:
        """The seed, and what happened last."""
        lines = [
            f"{at_us / 1_000_000:.6f} {process.pid} {process.name}: {call} {detail}"
            for at_us, process, call, detail in list(self.machine.trace)[-60:]
        ]
        return "\n".join([f"seed {self.seed}, last calls:", *lines])


@contextmanager
def simulated(
    oracle: Oracle, *, segment_bytes_max: int = 1 << 20, many_events: int = 1 << 20
) -> Iterator[None]:
    """While entered, logs tell the oracle what is seen of them, and signals come from the machine.
    Who has folded `many_events` leaves a snapshot behind, and workers have house kept as often."""
    log = partial(WatchedLog, oracle, segment_bytes_max=segment_bytes_max)
    with (
        mock.patch.object(real_worker, "StopSignals", Signals),
        mock.patch.object(queueview, "FileLog", log),
        mock.patch.object(queueview, "_MANY_EVENTS", many_events),
        mock.patch.multiple(
            housekeeping, _TAIL_EVENTS=many_events, _TAIL_EVENTS_IDLE=many_events, _PAUSE_S=0.1
        ),
    ):
        yield


def run(seed: int, calls: int = 1000, storm: tuple[str, ...] | None = None) -> World:
    """Run one seed; a failure says how to run it again."""
    world = World(seed, calls, storm)
    # Whatever is finalized must be so at the same moment every time.
    gc.disable()
    try:
        world.run()
    except BaseException as error:
        error.add_note(world.story())
        raise
    finally:
        world.machine.halt()
        gc.enable()
    return world
