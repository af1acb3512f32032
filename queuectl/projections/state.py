"""All projections together, folded in one pass: the live state of a queue."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from queuectl.domain import settings as rules
from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import PROCESSING, STATES, WAITING, Job
from queuectl.domain.settings import Settings
from queuectl.engines.tables import Spoiled
from queuectl.errors import Compacted
from queuectl.events import vocabulary as v
from queuectl.projections.jobs import JobTable
from queuectl.projections.ready import ReadyIndex
from queuectl.projections.snapshot import Snapshot
from queuectl.projections.statistics import Statistics
from queuectl.projections.workers import Workers


class Source(Protocol):
    """What a fold needs of a log."""

    def read(self, after: int = 0) -> Iterator[list[v.Event]]: ...

    def compactions(self) -> int: ...


class State:
    """What the events up to `offset` amount to, from zero or from a snapshot on.

    The counts, the ready index and what workers hold are indexes over the job table. While nobody
    has asked for them they are not kept up, but made in one pass when first asked for: a start
    folds many events a job, and most processes never claim.
    """

    def __init__(
        self, base: Snapshot | None = None, log: Source | None = None, *, replaces: int = 0
    ) -> None:
        """`log` is what is folded in again should the snapshot turn out to be spoiled."""
        self.jobs = JobTable(self._start_over)
        self._log = log
        self.replaces = base.offset if base is not None else replaces
        """The offset of the snapshot that one of this state may replace: the one it stands on, or
        one that it does not, because that is spoiled or of another log."""
        self._begin(base)

    def _begin(self, base: Snapshot | None) -> None:
        self.offset = 0
        self.compactions = 0
        """What `Log.compactions` said when the first event was read."""
        self.jobs.begin(base)
        self._workers = Workers()
        self.statistics = Statistics()
        self.settings = Settings()
        self.paused: set[str] = set()
        self.redactions: list[v.JobRedacting] = []
        """All that were ever asked for …"""
        self.redacting: set[str] = set()
        """… the jobs of those that are not done yet …"""
        self.redacted = 0
        """… and the last event that says that one is."""
        self._counts: dict[str, int] = {}
        """Kept up once it holds something, and what workers hold with it …"""
        self._queues: dict[str, dict[str, int]] = {}
        """… and the same by queue."""
        self._ready: ReadyIndex | None = None
        if base is not None:
            self._begin_at(base)

    def _begin_at(self, base: Snapshot) -> None:
        head = base.head
        self.offset = head.offset
        self.compactions = head.compactions
        self.settings = head.settings
        self.paused = set(head.paused)
        self.redactions = list(head.redactions)
        self.redacting = set(head.redacting)
        self.redacted = head.redacted
        self.statistics.count(head.statistics)
        for row in head.workers:
            self._workers.rows[row.id] = row

    def close(self) -> None:
        """Give back the files of the snapshot; only to be called when nothing more is asked."""
        self.jobs.close()

    def _start_over(self, offset: int = 0) -> None:
        """Fold the log from zero as far as it was folded before, or to `offset`."""
        assert self._log is not None
        offset = max(offset, self.offset)
        while True:
            self.begin_anew()
            try:
                for events in self._log.read():
                    self._fold([event for event in events if event.offset <= offset])
                    if events[-1].offset >= offset:
                        return
                return
            except Compacted:
                continue

    def begin_anew(self) -> None:
        """Forget everything, and know how often the log has been compacted before it is read."""
        self._begin(None)
        if self._log is not None:
            self.compactions = self._log.compactions()

    @property
    def since(self) -> int:
        """The offset of the snapshot that it stands on; 0 where it stands on none."""
        return self.jobs.base.offset if self.jobs.base is not None else 0

    @property
    def tail(self) -> int:
        """How many events behind its snapshot were folded in."""
        return self.offset - self.since

    @property
    def ready(self) -> ReadyIndex:
        """Which jobs wait to be claimed."""
        if self._ready is None:
            self.load_live()
            rows = self.jobs.rows.values()
            self._ready = ReadyIndex(job for job in rows if job.state in WAITING)
        return self._ready

    @property
    def workers(self) -> Workers:
        """The workers there are, with what they hold."""
        self._take_stock()
        return self._workers

    @property
    def worker_ids(self) -> Collection[str]:
        """Their ids alone, for which no job is asked."""
        return self._workers.rows.keys()

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        self._take_stock()
        return self._counts

    @property
    def queues(self) -> dict[str, dict[str, int]]:
        """Jobs by queue and state; of each queue that has jobs or is paused."""
        self._take_stock()
        known = {name: counts for name, counts in self._queues.items() if any(counts.values())}
        for name in self.paused - known.keys():
            known[name] = dict.fromkeys(STATES, 0)
        return known

    def load_live(self) -> None:
        """Have every job in memory that is not over."""
        self._take_stock()
        self.jobs.load_live()

    def _take_stock(self) -> None:
        """Count the jobs and see what workers hold, without loading those that nothing happened
        to since the snapshot."""
        if self._counts:
            return
        jobs = self.jobs
        jobs.settle()
        for id in jobs.base.head.held if jobs.base is not None else ():
            jobs.get(id)
        counts = dict.fromkeys(STATES, 0)
        self._queues.clear()
        if jobs.base is not None:
            counts |= jobs.base.head.counts
            for queue, by_state in jobs.base.head.queues.items():
                self._queues[queue] = dict(by_state)
            for queue, state in (jobs.origins or {}).values():
                counts[state] -= 1
                self._queues[queue][state] -= 1
        for job in jobs.rows.values():
            counts[job.state] += 1
            self._queue_of(job)[job.state] += 1
            if job.held:
                self._workers.holds(job)
        jobs.origins = None
        self._counts = counts

    def _queue_of(self, job: Job) -> dict[str, int]:
        found = self._queues.get(job.queue)
        if found is None:
            found = self._queues[job.queue] = dict.fromkeys(STATES, 0)
        return found

    def evict(self, base: Snapshot) -> None:
        """Leave the jobs that are over to a newer snapshot."""
        self.ready  # noqa: B018 - so that all that are not are in memory
        self.jobs.evict(base)
        self.replaces = base.offset

    def apply(self, events: Sequence[v.Event]) -> None:
        """Fold events in; they go on from `offset`.

        Raises `Compacted` where that cannot be, because events that are folded in here and ones
        that belong to them have been taken out of the log since; then begin anew.
        """
        try:
            self._fold(events)
        except Spoiled:
            self._start_over(events[-1].offset)

    def _fold(self, events: Sequence[v.Event]) -> None:
        jobs = self.jobs
        rows = jobs.rows
        statistics = self.statistics
        # By worker the last thing it wrote: to note each takes a tenth of the time of the fold.
        spoke: dict[str, v.AttemptEvent] = {}
        counted = bool(self._counts)
        event: v.Event | None = None
        for event in events:
            kind = type(event)
            advance = ADVANCE.get(kind)
            if advance is None:
                self._workers.heard(spoke)
                spoke.clear()
                self._apply_other(event)
                continue
            if kind is v.JobEnqueued:
                statistics.enqueued += 1
            elif kind is v.JobClaimed:
                statistics.runs += 1
                spoke[event.worker] = event  # type: ignore[attr-defined, assignment]
            elif kind is v.JobCompleted:
                statistics.completed += 1
                statistics.wait.add(event.wait_ms)  # type: ignore[attr-defined]
                statistics.run.add(event.run_ms)  # type: ignore[attr-defined]
                spoke[event.worker] = event  # type: ignore[attr-defined, assignment]
            else:
                self._count_rare(event)
                if isinstance(event, v.AttemptEvent):
                    spoke[event.worker] = event
            id = event.job  # type: ignore[attr-defined]
            job = rows.get(id)
            if job is None and jobs.base is not None:
                if kind is v.JobEnqueued:
                    if jobs.is_deferred(id):  # it was pruned
                        jobs.bring(id)
                elif counted:
                    job = jobs.bring(id)
                else:
                    jobs.defer(event)  # type: ignore[arg-type]
                    continue
            before = job.state if job is not None else ""
            after = advance(job, event)
            if after is not job:
                if after is None:
                    jobs.forget(event)  # type: ignore[arg-type]
                else:
                    if job is not None and kind is v.JobEnqueued:
                        # What forgot the other was lost with damaged bytes.
                        del rows[id]
                    rows[id] = after
            if counted:
                if job is not None:
                    self._discount(job, before)
                self._index(id, before, after, event)
        self._workers.heard(spoke)
        if event is not None:
            statistics.reached(events[0].at, event.at)
            self.offset = event.offset

    def _count_rare(self, event: v.Event) -> None:
        self.statistics.count(event)
        if isinstance(event, v.JobRedacting):
            self.redactions.append(event)
            self.redacting.add(event.job)
        elif isinstance(event, v.JobRedacted):
            self.redacting.discard(event.job)
            self.redacted = event.offset

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

    def _discount(self, job: Job, state: str) -> None:
        """It is no longer in that state."""
        self._counts[state] -= 1
        self._queue_of(job)[state] -= 1

    def _index(self, id: str, before: str, job: Job | None, event: v.Event) -> None:
        """Follow one event in the indexes; `before` is empty for a job that is new."""
        ready = self._ready
        if ready is not None and before in WAITING:
            ready.remove(id)
        if job is not None:
            self._counts[job.state] += 1
            self._queue_of(job)[job.state] += 1
            if job.state in WAITING:
                if ready is not None:
                    ready.add(job)
            elif job.state == PROCESSING:
                self._workers.holds(job)
        if isinstance(event, v.AttemptEvent):
            self._workers.lets_go(event)
