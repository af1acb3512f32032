"""What a queue did over time, slice by slice: a fold over events; knows no storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

from queuectl import instants
from queuectl.domain.fingerprint import command_shape
from queuectl.events import vocabulary as v
from queuectl.projections.runs import COMPLETED, FAILED, LOST, Find, Run, Runs, unknown
from queuectl.projections.slices import Slices
from queuectl.projections.statistics import Histogram

OTHERS = "(others)"
_SHAPES_MAX = 1000
"""Commands beyond so many kinds are counted together."""


class Kind:
    """The runs of one kind of command that came to an end, by slice."""

    def __init__(self) -> None:
        self.ended: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        """Those of them that failed, or were lost with their workers."""


class Activity:
    """Everything by slice: lists with one element for each."""

    def __init__(self, slices: Slices, find: Find = unknown) -> None:
        number = len(slices)
        self.slices = slices
        self.kinds: dict[str, Kind] = {}
        """By the shape of the command."""
        self.begun = [0] * number
        """Runs that began."""
        self.retries = [0] * number
        """Those of them that came after another one of the same round."""
        self.wait = [Histogram() for _ in range(number)]
        """How long runs that began then had waited."""
        self.run = [Histogram() for _ in range(number)]
        """How long runs took that ended then."""
        self.peak = [0] * number
        """The most runs that went on at one time."""
        self.busy_us = [0] * number
        """The time of slots in which there was a run."""
        self.offered_us = [0] * number
        """The time of all slots that there were."""
        self._runs = Runs(find)
        self._going: dict[int, int] = {}
        """By token when each run began that goes on, in microseconds."""
        self._slots: dict[str, tuple[int, int]] = {}
        """By worker how many it has, and since when."""
        self._at = -1
        """The slice up to which what went on before has been counted."""

    def apply(self, event: v.Event) -> None:
        """Take the next event in: from the first of the log on, for what goes on at the start."""
        ended = self._runs.apply(event)
        if ended is not None:
            self._count_end(ended)
        match event:
            case v.JobClaimed():
                at_us = instants.to_us(event.at)
                self._reach(at_us)
                self._going[event.offset] = at_us
                index = self.slices.index(at_us)
                if index is not None:
                    self.begun[index] += 1
                    self.retries[index] += event.attempt > 1
                    self.peak[index] = max(self.peak[index], len(self._going))
            case v.AttemptEvent() if event.token in self._going:
                at_us = instants.to_us(event.at)
                self._reach(at_us)
                self._spend(self.busy_us, self._going.pop(event.token), at_us)
            case v.WorkerStarted():
                self._slots[event.worker] = (event.slots, instants.to_us(event.at))
            case v.WorkerStopped() if event.worker in self._slots:
                self._offer(event.worker, instants.to_us(event.at))

    def lose(self, going: Container[int]) -> None:
        """Events are lost here: of the runs that went on before, only those are known to go on that
        are in `going`."""
        self._going = {token: at_us for token, at_us in self._going.items() if token in going}

    def finish(self) -> None:
        """There is no more of it before the end of the slices."""
        end_us = self.slices.until_us
        self._reach(end_us)
        for began_us in self._going.values():
            self._spend(self.busy_us, began_us, end_us)
        for worker in list(self._slots):
            self._offer(worker, end_us)
        for run in self._runs.running():
            self._count_wait(run)
        for histogram in (*self.wait, *self.run):
            histogram.settle()

    def _reach(self, at_us: int) -> None:
        """Each slice begins with what goes on when it does."""
        slices = self.slices
        index = slices.index(min(at_us, slices.until_us))
        while index is not None and self._at < index:
            self._at += 1
            self.peak[self._at] = len(self._going)

    def _spend(self, spent_us: list[int], begin_us: int, end_us: int, slots: int = 1) -> None:
        for index, us in self.slices.parts_us(begin_us, end_us):
            spent_us[index] += us * slots

    def _offer(self, worker: str, end_us: int) -> None:
        slots, since_us = self._slots.pop(worker)
        self._spend(self.offered_us, since_us, end_us, slots)

    def _count_wait(self, run: Run) -> None:
        index = self.slices.index(instants.to_us(run.claimed_at)) if run.claimed_at else None
        if index is not None and run.wait_ms is not None:
            self.wait[index].add(run.wait_ms)

    def _count_end(self, run: Run) -> None:
        self._count_wait(run)
        index = self.slices.index(instants.to_us(run.ended_at)) if run.ended_at else None
        if index is None or run.outcome not in (COMPLETED, FAILED, LOST):
            return
        if run.run_ms is not None:
            self.run[index].add(run.run_ms)
        kind = self._kind(run.command or "")
        kind.ended[index] += 1
        kind.failed[index] += run.outcome != COMPLETED

    def _kind(self, command: str) -> Kind:
        shape = command_shape(command)
        if shape not in self.kinds and len(self.kinds) >= _SHAPES_MAX:
            shape = OTHERS
        return self.kinds.setdefault(shape, Kind())
