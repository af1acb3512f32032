"""How well a stretch of history went, in figures: the same for what happened and for what would
have. A fold over events; knows no storage.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from queuectl import instants
from queuectl.domain.job import WAITING, Job
from queuectl.events import vocabulary as v
from queuectl.instants import Instant
from queuectl.projections.statistics import Histogram

_COUNTED: dict[type[v.Event], str] = {
    v.JobClaimed: "runs",
    v.JobCompleted: "completed",
    v.JobFailed: "failed_runs",
    v.LeaseExpired: "lost_runs",
    v.JobReleased: "released_runs",
    v.JobDead: "dead",
    v.JobCancelled: "cancelled",
}


class Presence(NamedTuple):
    """Slots that were there for a time."""

    slots: int
    since_us: int
    until_us: int


class Figures:
    """What came of the jobs between `begin` and `end`."""

    def __init__(self, begin: Instant, *, backlog: bool) -> None:
        """`backlog` says whether jobs wait or run at the beginning."""
        self.begin = begin
        self.end = begin
        self.counts = dict.fromkeys(_COUNTED.values(), 0)
        """How many events there were of each kind."""
        self.left = 0
        """Jobs that were not over at the end."""
        self.waiting = 0
        """Those of them that waited for a free slot; so long as they had waited, it is counted."""
        self.wait = Histogram()
        """From the moment a job could have run to its start."""
        self.turnaround = Histogram()
        """From the enqueueing of a job to its end."""
        self.makespan_ms = 0
        """From the first job there is to the end of the last run."""
        self.utilisation = 0.0
        """The share of the time of all slots in which a job was in them, over the makespan."""
        self._busy_us = 0
        self._begin_us = self._last_us = instants.to_us(begin)
        self._first_us = self._begin_us if backlog else None
        self._slots: dict[str, tuple[int, int]] = {}
        """By worker how many it has, and since when."""
        self._gone: list[Presence] = []

    def apply(self, event: v.Event, job: Job | None) -> None:
        """Count an event; `job` is its job as it was before."""
        name = _COUNTED.get(type(event))
        if name is not None:
            self.counts[name] += 1
        match event:
            case v.JobEnqueued() if self._first_us is None:
                self._first_us = instants.to_us(event.at)
            case v.JobClaimed() if job is not None:
                self.wait.add(instants.between_ms(job.runnable_at, event.at))
            case v.WorkerStarted():
                self._slots[event.worker] = (event.slots, instants.to_us(event.at))
            case v.WorkerStopped() if event.worker in self._slots:
                there = self._slots.pop(event.worker)
                self._gone.append(Presence(*there, instants.to_us(event.at)))
            case v.AttemptEvent() if job is not None:
                at_us = self._last_us = instants.to_us(event.at)
                self._busy_us += at_us - max(self._begin_us, instants.to_us(job.started_at))
        if isinstance(event, v.JobCompleted | v.JobDead) and job is not None:
            self.turnaround.add(instants.between_ms(job.spec.at, event.at))

    def finish(self, end: Instant, jobs: Iterable[Job]) -> None:
        """It ends here; `jobs` are those that there are then."""
        self.end = end
        end_us = instants.to_us(end)
        for job in jobs:
            if not job.live:
                continue
            self.left += 1
            if job.state in WAITING and job.runnable_at < end:
                self.waiting += 1
                self.wait.add(instants.between_ms(job.runnable_at, end))
            elif job.held:
                self._busy_us += end_us - max(self._begin_us, instants.to_us(job.started_at))
                self._last_us = end_us
        self.wait.settle()
        self.turnaround.settle()
        first_us = self._begin_us if self._first_us is None else self._first_us
        last_us = max(first_us, self._last_us)
        self.makespan_ms = (last_us - first_us) // 1000
        there = [Presence(*slots, end_us) for slots in self._slots.values()] + self._gone
        offered_us = sum(
            slots * max(0, min(until_us, last_us) - max(since_us, first_us))
            for slots, since_us, until_us in there
        )
        self.utilisation = self._busy_us / offered_us if offered_us else 0.0
