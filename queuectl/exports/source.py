"""What is exported: the events, jobs and runs of a queue, all of them or those of a time, with
secrets hidden. Knows no formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from queuectl import instants
from queuectl.errors import Compacted, Damaged, Invalid, PayloadLost
from queuectl.events import vocabulary as v
from queuectl.exports.views import EVENTS, JOBS, JobRow, View, job_row
from queuectl.instants import Instant
from queuectl.projections.past import Moment, Originals
from queuectl.projections.runs import RUNNING, Run
from queuectl.projections.state import State
from queuectl.queueview import QueueView

_PIECE = 1000
Progress = Callable[[int, int], None]


class Folding(Protocol):
    """What takes events in."""

    def fold(self, events: Iterable[v.Event], /) -> None: ...


Fold = TypeVar("Fold", bound=Folding)


class Source:
    """What one export reads: a queue that was opened with `salvage`, as of now.

    `since` and `until` choose events by when they were recorded, jobs by when they were enqueued,
    and runs by when they began; empty for all. `progress` hears (events read, events in all).
    """

    def __init__(
        self,
        queue: QueueView,
        *,
        since: Instant = "",
        until: Instant = "",
        show_env: bool = False,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.queue = queue
        self.since = since
        self.until = until
        self.show_env = show_env
        self.progress = progress
        self.log = queue.identity()
        """What tells the log from every other."""
        self.through = queue.log.head()
        """The last event that is exported."""
        self.gaps: list[tuple[int, int, str]] = []
        """From which to which event the originals are not in the archive, and why."""
        self.cut: dict[str, str] = {}
        """By job why only the beginning of it is exported."""
        self.lost = 0
        """Up to which event `whole_jobs` was told from the log as it stands."""

    def rows(self, view: View) -> Iterator[list[Any]]:
        """What a view holds, in pieces."""
        if view is EVENTS:
            return self.events()
        return self.jobs() if view is JOBS else self.runs()

    def events(self) -> Iterator[list[v.Event]]:
        """Events in order, those included that compaction took out of the log."""
        for events in self._all():
            chosen = [event for event in events if self._is_wanted(event.at)]
            if chosen:
                yield chosen if self.show_env else _without_env(chosen)
            elif self.until and events[-1].at >= self.until:
                return

    def whole_jobs(self, start: Callable[[], Fold]) -> Fold:
        """What `start()` makes of all events of the jobs of which none is lost, as `Originals` has
        them: any other would seem to go on for ever."""
        originals = Originals(self.queue.log)
        while True:
            fold = start()
            try:
                for events in originals.read():
                    fold.fold(self._exported(events))
            except Compacted:
                continue
            except Damaged as damage:
                self.queue.damage = damage
            self.lost = originals.lost
            return fold

    def runs(self) -> Iterator[list[Run]]:
        """Runs in the order of their ends, and behind them those that have not ended."""
        pieces = map(self._without_lost, self.queue.all_runs(self._all()))
        yield from self._chosen(pieces, lambda run: run.claimed_at or run.ended_at or "")

    def runs_ended(self, since: Instant) -> Iterator[list[Run]]:
        """Those that ended then or later, and behind them those that have not: told from the jobs
        that were not over by then, and not from the beginning. Of runs that had begun before it is
        not known where and when."""
        queue = self.queue
        earliest_us = instants.to_us(instants.EARLIEST)
        before = Moment(at=instants.from_us(max(earliest_us, instants.to_us(since) - 1)))
        try:
            view = queue.at(before, self.progress)
        except (Invalid, Damaged):  # nothing had happened by then, or nobody knows
            return self.runs()
        with closing(view):
            jobs = view.state.jobs
            jobs.load_live()
            live = [job for job in jobs.rows.values() if job.live]
            begun = [replace(job, spec=self._whole(job.spec)) for job in live]
        later = queue.between(before, missing=self._miss)
        return queue.all_runs(map(self._exported, later), begun)

    def going(self) -> set[int]:
        """The tokens of the runs that go on now."""
        workers = self.queue.state.workers.rows.values()
        return {job.token for row in workers for job in row.holding.values()}

    def _without_lost(self, runs: list[Run]) -> list[Run]:
        """Without those that seem to go on because their ends are lost."""
        if not self.gaps or runs[0].outcome != RUNNING:
            return runs
        going = self.going()
        return [run for run in runs if run.token in going]

    def jobs(self) -> Iterator[list[JobRow]]:
        """The jobs that there are, in the order they were enqueued."""
        rows: list[JobRow] = []
        for job in self._state().jobs.select():
            rows.append(job_row(replace(job, spec=self._whole(job.spec))))
            if len(rows) >= _PIECE:
                yield from self._shown(rows)
                rows = []
        yield from self._shown(rows)

    def _shown(self, rows: list[JobRow]) -> Iterator[list[JobRow]]:
        if not self.show_env:
            for row in rows:
                row.env = _names(row.env)
        return self._chosen([rows], lambda row: row.enqueued_at)

    def _state(self) -> State:
        """What is known of the queue, once the whole log has been checked; of a damaged one what
        comes of the events before the damage. A snapshot may know more: it was made when all was
        well, and does not tell."""
        queue = self.queue
        queue.catch_up(sparing=True)
        known = queue.known
        try:
            for events in queue.log.read():
                self.progress(events[-1].offset, self.through)
        except Damaged as damage:
            queue.damage = damage
        if queue.damage is None:
            self.through = known.offset
            return known
        state = State()
        state.compactions = queue.log.compactions()
        try:
            for events in queue.log.read():
                state.apply(events)
        except Damaged:
            pass
        return state

    def _all(self) -> Iterator[list[v.Event]]:
        for events in self.queue.events(missing=self._miss):
            if exported := self._exported(events):
                yield exported

    def _exported(self, events: list[v.Event]) -> list[v.Event]:
        if events[-1].offset > self.through:
            events = [event for event in events if event.offset <= self.through]
        if events:
            self.progress(events[-1].offset, self.through)
        return [
            self._whole(event) if isinstance(event, v.JobEnqueued) else event for event in events
        ]

    def _whole(self, spec: v.JobEnqueued) -> v.JobEnqueued:
        try:
            return self.queue.whole(spec)
        except (PayloadLost, OSError) as error:
            self.cut[spec.job] = str(error)
            return spec

    def _miss(self, first: int, last: int, why: str) -> None:
        self.gaps.append((first, last, why))

    def _is_wanted(self, at: Instant) -> bool:
        return at >= self.since and (not self.until or at < self.until)

    def _chosen(self, pieces: Any, time_of: Callable[[Any], Instant]) -> Iterator[list[Any]]:
        for rows in pieces:
            chosen = [row for row in rows if self._is_wanted(time_of(row))]
            if chosen:
                yield chosen


def _without_env(events: list[v.Event]) -> list[v.Event]:
    return [
        replace(event, env=_names(event.env))
        if isinstance(event, v.JobEnqueued) and event.env
        else event
        for event in events
    ]


def _names(env: list[str] | None) -> list[str] | None:
    return env and [pair.partition("=")[0] for pair in env]
