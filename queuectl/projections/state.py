"""All projections together, folded in one pass: the live state of a queue."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.domain import settings as rules
from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import PROCESSING, STATES, WAITING, Job
from queuectl.domain.settings import Settings
from queuectl.errors import Compacted
from queuectl.events import vocabulary as v
from queuectl.projections.jobs import JobTable
from queuectl.projections.ready import ReadyIndex
from queuectl.projections.statistics import Statistics
from queuectl.projections.workers import Workers


class State:
    """What the events up to `offset` amount to.

    The counts, the ready index and what workers hold are indexes over the job table. While nobody
    has asked for them they are not kept up, but made in one pass when first asked for: a start
    folds many events a job, and most processes never claim.
    """

    def __init__(self, compactions: int = 0) -> None:
        self.offset = 0
        self.compactions = compactions
        """What `Log.compactions` said when the first event was read."""
        self.jobs = JobTable()
        self._workers = Workers()
        self.statistics = Statistics()
        self.settings = Settings()
        self.paused: set[str] = set()
        self._ready: ReadyIndex | None = None

    @property
    def ready(self) -> ReadyIndex:
        return self._ready or self._make_indexes()

    @property
    def workers(self) -> Workers:
        """The workers there are, with what they hold."""
        self.ready  # noqa: B018 - makes sure that they are kept
        return self._workers

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        self.ready  # noqa: B018 - makes sure that they are kept
        return self._counts

    def apply(self, events: Sequence[v.Event]) -> None:
        """Fold events in; they go on from `offset`.

        Raises `Compacted` where that cannot be, because events that are folded in here and ones
        that belong to them have been taken out of the log since; then begin anew.
        """
        rows = self.jobs.rows
        statistics = self.statistics
        indexed = self._ready is not None
        event: v.Event | None = None
        for event in events:
            kind = type(event)
            advance = ADVANCE.get(kind)
            if advance is None:
                self._apply_other(event)
                continue
            id = event.job  # type: ignore[attr-defined]
            job = rows.get(id)
            before = job.state if job is not None else ""
            after = advance(job, event)
            if after is not job:
                if after is None:
                    del rows[id]
                else:
                    rows[id] = after
            if indexed:
                self._index(id, before, after, event)
            if kind is v.JobEnqueued:
                statistics.enqueued += 1
            elif kind is v.JobClaimed:
                statistics.runs += 1
            elif kind is v.JobCompleted:
                statistics.completed += 1
                statistics.wait.add(event.wait_ms)  # type: ignore[attr-defined]
                statistics.run.add(event.run_ms)  # type: ignore[attr-defined]
            else:
                statistics.count(event)
        if event is not None:
            statistics.reached(events[0].at, event.at)
            self.offset = event.offset

    def _apply_other(self, event: v.Event) -> None:
        match event:
            case v.SettingChanged():
                self.settings = rules.changed(self.settings, event.key, event.value)
            case v.QueuePaused():
                self.paused.add(event.queue)
            case v.QueueResumed():
                self.paused.discard(event.queue)
            case v.LogCompacted():
                self._pass_over(event)
            case _:
                self._workers.apply(event)

    def _pass_over(self, event: v.LogCompacted) -> None:
        """Count what was taken out of the log, and has not been folded in one by one."""
        if event.compaction > self.compactions:
            raise Compacted("events were taken out of the log after this reading of it began")
        self.statistics.count(event)

    def _make_indexes(self) -> ReadyIndex:
        self._ready = ready = ReadyIndex()
        self._counts = counts = dict.fromkeys(STATES, 0)
        for job in self.jobs.rows.values():
            counts[job.state] += 1
            if job.state in WAITING:
                ready.add(job)
            elif job.held:
                self._workers.holds(job)
        return ready

    def _index(self, id: str, before: str, job: Job | None, event: v.Event) -> None:
        """Follow one event in the indexes; `before` is empty for a job that is new."""
        assert self._ready is not None
        if before:
            self._counts[before] -= 1
            if before in WAITING:
                self._ready.remove(id)
        if job is not None:
            self._counts[job.state] += 1
            if job.state in WAITING:
                self._ready.add(job)
            elif job.state == PROCESSING:
                self._workers.holds(job)
        if isinstance(event, v.AttemptEvent):
            self._workers.heard(event)
