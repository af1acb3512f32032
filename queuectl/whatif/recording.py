"""What happened in a stretch of the log, taken apart: what came from outside (jobs, requests of
people, workers), and how long each run took and how it ended. A fold over events; knows no storage.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import NamedTuple

from msgspec.structs import replace

from queuectl import instants
from queuectl.domain import settings as rules
from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import CANCELLED, Job
from queuectl.domain.settings import Settings
from queuectl.events import vocabulary as v
from queuectl.instants import Instant
from queuectl.projections.runs import Find, unknown
from queuectl.whatif.figures import Figures

COMPLETED = ""
RELEASED = "released"
LOST = "lost"
CUT = "cut"


class Run(NamedTuple):
    """One run that happened."""

    attempt: int
    took_us: int
    """How long it was in its slot."""
    how: str
    """`COMPLETED`, `RELEASED`, `LOST`, or the reason of its failure; `CUT` where it was cancelled
    or still ran at the end, so that it would have taken longer."""


class Recorded(NamedTuple):
    """What happened to one job."""

    spec: v.JobEnqueued
    """What was asked for, without what has no bearing here; its key stands for its id."""
    settings: Settings
    """The settings in force then."""
    rounds: list[list[Run]]


class Recording:
    """What happened from `begin` on (empty: from the first event).

    A job goes by its key: the offset that enqueued it, as text, since an id may be used again.
    """

    def __init__(self, begin: Instant = "", find: Find = unknown) -> None:
        """`find` is asked for a job that was over at the beginning, and came back."""
        self.begin = begin
        self.end = begin
        """The time of the last event."""
        self.jobs: dict[str, Recorded] = {}
        """By key, in the order in which they were enqueued."""
        self.backlog: list[Job] = []
        """Those that were there at the beginning and not over, as they were then."""
        self.standing: list[v.Event] = []
        """What holds on from before the beginning: queues that pause, workers that are there and
        what they were asked."""
        self.doings: list[v.Event] = []
        """What came from outside, in order: jobs, requests of people, workers."""
        self.over: set[str] = set()
        """The keys of those that were over at the end."""
        self.requested: set[str] = set()
        """The keys of those of which people asked something."""
        self._find = find
        self._has_begun = False
        self._figures = Figures(begin or instants.EARLIEST, backlog=False)
        self._settings = Settings()
        self._standing: dict[tuple[str, str], v.Event] = {}
        """`standing` as it is now."""
        self._table: dict[str, Job] = {}
        """By id the jobs that are not over."""

    def fold(self, events: Iterable[v.Event]) -> None:
        """Take in the next events."""
        for event in events:
            if not self._has_begun and event.at >= self.begin:
                self._start(self.begin or event.at)
            self.end = event.at
            if isinstance(event, v.JobEvent):
                self._about_job(event)
            else:
                self._about_queue(event)

    def finish(self) -> Figures:
        """There is no more of it; returns how it went."""
        if not self._has_begun:
            self._start(self.begin or self.end)
        self.end = max(self.begin, self.end)
        for job in self._table.values():
            if job.held:
                self._keep_run(job, CUT, self.end)
        self._figures.finish(self.end, self._table.values())
        return self._figures

    def _start(self, at: Instant) -> None:
        """All before is past: what is there now is what it begins with."""
        self._has_begun = True
        self.begin = at
        self._figures = Figures(at, backlog=bool(self._table))
        self.standing = [replace(event, at=at) for event in self._standing.values()]
        for event in self.standing:
            self._figures.apply(event, None)
        for job in self._table.values():
            job.spec = self._keep_job(job.spec)
            self.backlog.append(copy(job))

    def _about_queue(self, event: v.Event) -> None:
        match event:
            case v.SettingChanged():
                self._settings = rules.changed(self._settings, event.key, event.value)
                return
            case v.QueuePaused():
                self._standing["queue", event.queue] = event
            case v.QueueResumed():
                self._standing.pop(("queue", event.queue), None)
            case v.WorkerStarted():
                self._standing["worker", event.worker] = event
            case v.WorkerStopRequested():
                self._standing["stop", event.worker] = event
            case v.WorkerStopped():
                self._standing.pop(("worker", event.worker), None)
                self._standing.pop(("stop", event.worker), None)
            case _:
                return
        if self._has_begun:
            self.doings.append(event)
            self._figures.apply(event, None)

    def _about_job(self, event: v.JobEvent) -> None:
        id = event.job
        job = self._table.get(id)
        if job is None and isinstance(event, v.JobRequeued):
            event, job = self._came_back(event)
        if self._has_begun:
            if isinstance(event, v.JobEnqueued):
                event = self._keep_job(event)
            self._record(event, job)
            self._figures.apply(event, job)
        after = ADVANCE[type(event)](job, event)
        if after is not None and after.live:
            self._table[id] = after
        elif job is not None:
            self._table.pop(id, None)
            if self._has_begun:
                self.over.add(job.spec.job)

    def _came_back(self, event: v.JobRequeued) -> tuple[v.JobEvent, Job | None]:
        """What is to be made of it that somebody asked anew for a job that was over."""
        spec = self._find(event.job, event.offset)
        if spec is None:
            return event, None
        known = self.jobs.get(str(spec.offset))
        if known is not None or not self._has_begun:
            return event, Job(known.spec if known else spec, spec.offset, spec.at, spec.at)
        # It was over at the beginning: for what follows, it comes only now.
        return replace(spec, at=event.at, run_at=""), None

    def _keep_job(self, spec: v.JobEnqueued) -> v.JobEnqueued:
        key = str(spec.offset)
        spec = replace(spec, job=key, **_NO_BEARING)
        self.jobs[key] = Recorded(spec, self._settings, [[]])
        return spec

    def _record(self, event: v.JobEvent, job: Job | None) -> None:
        if isinstance(event, v.JobEnqueued):
            self.doings.append(event)
        elif job is not None and isinstance(event, v.JobCancelled | v.JobRequeued):
            key = job.spec.job
            self.doings.append(replace(event, job=key))
            self.requested.add(key)
            if isinstance(event, v.JobRequeued):
                self.over.discard(key)
                self.jobs[key].rounds.append([])
        elif job is not None and isinstance(event, v.AttemptEvent):
            how = CUT if job.state == CANCELLED else _how(event)
            if how is not None:
                self._keep_run(job, how, event.at)

    def _keep_run(self, job: Job, how: str, at: Instant) -> None:
        began_us = instants.to_us(max(self.begin, job.started_at))
        run = Run(job.attempts, instants.to_us(at) - began_us, how)
        self.jobs[job.spec.job].rounds[-1].append(run)


def _how(event: v.AttemptEvent) -> str | None:
    """How the run ended; None where it did not."""
    match event:
        case v.JobCompleted():
            return COMPLETED
        case v.JobFailed():
            return event.reason or "exit"
        case v.JobReleased():
            return RELEASED
        case v.LeaseExpired():
            return LOST
    return None


_NO_BEARING = {"argv": None, "cwd": "", "env": None, "secret_env": None, "tags": None, "actor": ""}
