"""The job table: every job as it stands after the events so far, by id.

Jobs that a snapshot holds stay there until somebody asks for them, and what happens to them
meanwhile is kept until then: most commands ask for few or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import FINISHED, Job
from queuectl.engines.tables import Spoiled
from queuectl.errors import Invalid, NotFound
from queuectl.events import vocabulary as v
from queuectl.projections.whereabouts import Whereabouts, coming
from queuectl.suggestion import did_you_mean

if TYPE_CHECKING:
    from queuectl.projections.snapshot import Snapshot

_RECENT = 1000
"""As many ids as can be compared in no time."""


class JobTable:
    """`start_over` is called where the snapshot is spoiled: it fills the table from the log."""

    def __init__(self, start_over: Callable[[], None] = lambda: None) -> None:
        self.rows: dict[str, Job] = {}
        """The jobs in memory; all there are where there is no snapshot."""
        self.base: Snapshot | None = None
        self.origins: dict[str, tuple[str, str]] | None = {}
        """By id the queue and state in the snapshot of those that were brought; None once the jobs
        have been counted, because nobody asks for it any more."""
        self.hidden: dict[int, int] = {}
        """By the offset that enqueued it a job that was pruned, and when: this snapshot, or one
        that is taken up later, may still have it."""
        self._is_ordered = True
        """Those in memory stand in the order they were enqueued: what is folded in keeps it."""
        self._later: dict[str, list[v.JobEvent]] = {}
        self._has_live = True
        """Every job that is not over is in memory, but for what is still to be settled."""
        self._start_over = start_over
        self.is_indexed = False
        """Whether to remember where in the snapshot the jobs of each state are."""
        self._whereabouts: Whereabouts | None = None

    def begin(self, base: Snapshot | None) -> None:
        """Hold what a snapshot holds, or nothing, and no more."""
        self.rows.clear()
        self._stand_on(base)
        self.origins = {}
        self.hidden.clear()
        self._later.clear()
        self._has_live = base is None
        self._is_ordered = True

    def close(self) -> None:
        self._stand_on(None)

    def _stand_on(self, base: Snapshot | None) -> None:
        if self.base is not None:
            self.base.close()
        self.base = base
        self._whereabouts = None

    # ---- what the snapshot holds

    def defer(self, event: v.JobEvent) -> None:
        """Keep an event about a job that is not in memory, until it is."""
        self._later.setdefault(event.job, []).append(event)

    def is_deferred(self, id: str) -> bool:
        return id in self._later

    def bring(self, id: str) -> Job | None:
        """Bring a job of the snapshot into memory, with what has happened to it since.

        Raises `Spoiled`.
        """
        self._is_ordered = False
        found = self.base.find(id) if self.base is not None else None
        if found is not None:
            self._take_in(found)
        for event in self._later.pop(id, ()):
            self._advance(event)
        return self.rows.get(id)

    def _take_in(self, job: Job) -> None:
        id = job.spec.job
        if id not in self.rows and job.spec.offset not in self.hidden:
            self.rows[id] = job
            if self.origins is not None:
                self.origins[id] = (job.queue, job.state)

    def _advance(self, event: v.JobEvent) -> None:
        job = ADVANCE[type(event)](self.rows.get(event.job), event)
        if job is not None:
            self.rows[event.job] = job
        else:
            self.forget(event)

    def forget(self, event: v.JobEvent) -> None:
        """That job was pruned."""
        job = self.rows.pop(event.job, None)
        if job is not None:
            self.hidden[job.spec.offset] = event.offset

    def settle(self) -> None:
        """Bring every job into memory to which something has happened since the snapshot."""
        try:
            for id in list(self._later):
                self.bring(id)
        except Spoiled:
            self._start_over()

    def load_live(self) -> None:
        """Bring every job into memory that is not over."""
        self.settle()
        if self._has_live or self.base is None:
            return
        self._is_ordered = not self.rows
        try:
            for job in self.base.live():
                self._take_in(job)
            self._has_live = True
        except Spoiled:
            self._start_over()

    def evict(self, base: Snapshot) -> None:
        """Go on from a newer snapshot: what is over stays there. All that is live is in memory."""
        self._stand_on(base)
        self.rows = {
            id: job for id, job in self.rows.items() if job.live or job.offset > base.offset
        }
        self.hidden = {n: pruned for n, pruned in self.hidden.items() if pruned > base.offset}

    # ---- looking jobs up

    def offsets(self) -> Iterator[int]:
        """Of every job there is, in any order, the offset that enqueued it."""
        self.settle()
        try:
            there = list(self.base.offsets(self.hidden)) if self.base is not None else []
        except Spoiled:
            self._start_over()
            there = []
        # One that is in both is told twice.
        yield from there
        for job in self.rows.values():
            yield job.spec.offset

    def began(self, job: str) -> int:
        """The offset that enqueued the job with exactly this id; 0 where there is none. None is
        brought into memory for it."""
        self.settle()
        found = self.rows.get(job)
        if found is not None or self.base is None:
            return found.spec.offset if found is not None else 0
        try:
            offset = self.base.began(job)
        except Spoiled:
            self._start_over()
            return self.began(job)
        return 0 if offset in self.hidden else offset

    def get(self, job: str) -> Job | None:
        found = self.rows.get(job)
        if found is None and self.base is not None:
            try:
                found = self.bring(job)
            except Spoiled:
                self._start_over()
                found = self.rows.get(job)
        return found

    def named(self, name: str) -> Job:
        """The job with this id, or the only one whose id starts so.

        Raises `NotFound`, or `Invalid` where several start so.
        """
        job = self.get(name)
        if job is not None:
            return job
        matches = self.starting_with(name) if name else []
        if len(matches) == 1 and (job := self.get(matches[0])) is not None:
            return job
        if matches:
            raise Invalid(
                f"{len(matches)} jobs start with {name!r}, such as {matches[0]} and {matches[1]}:"
                " write more of it"
            )
        raise NotFound(f"there is no job {name!r}{self._close_to(name)}")

    def starting_with(self, start: str) -> list[str]:
        """The ids that start so, in order."""
        self.settle()
        try:
            there = list(self.base.ids(start, self.hidden)) if self.base is not None else []
        except Spoiled:
            self._start_over()
            there = []
        # In an order that does not depend on where they were found.
        return sorted({*there, *(id for id in self.rows if id.startswith(start))})

    def _close_to(self, name: str) -> str:
        return did_you_mean(name, [job.id for job in islice(self.select(reverse=True), _RECENT)])

    def select(
        self,
        states: Iterable[str] = (),
        queues: Iterable[str] = (),
        tags: Iterable[str] = (),
        where: Callable[[Job], bool] | None = None,
        reverse: bool = False,
        beyond: int | None = None,
    ) -> Iterator[Job]:
        """Jobs in the order they were enqueued, or the newest first; an empty filter lets every
        job through, and `where` those for which it is true. With `beyond`, only those that come
        after the one which that event enqueued."""
        states, queues, tags = frozenset(states), frozenset(queues), frozenset(tags)
        for job in self._in_order(states, reverse, beyond):
            if (
                (not states or job.state in states)
                and (not queues or job.spec.queue in queues)
                and (not tags or tags.issubset(job.spec.tags or ()))
                and (where is None or where(job))
            ):
                yield job

    def _in_order(self, states: frozenset[str], reverse: bool, beyond: int | None) -> Iterator[Job]:
        self.load_live()
        last = beyond
        try:
            for job in self._merged(states, reverse, beyond):
                last = _order(job)
                yield job
        except Spoiled:
            self._start_over()
            yield from self._here(states, reverse, last)

    def _merged(self, states: frozenset[str], reverse: bool, beyond: int | None) -> Iterator[Job]:
        here = self._here(states, reverse, beyond)
        if self.base is None:
            return here
        elsewhere = (
            job
            for job in self._over(self.base, states, reverse, beyond)
            if job.spec.job not in self.rows and job.spec.offset not in self.hidden
        )
        return merge(here, elsewhere, key=_order, reverse=reverse)

    def _over(
        self, base: Snapshot, states: frozenset[str], reverse: bool, beyond: int | None
    ) -> Iterator[Job]:
        """Those of the snapshot that are over; `states` may leave some out, and need not."""
        if states and states.isdisjoint(FINISHED):
            return iter(())
        if self.is_indexed and states:
            if self._whereabouts is None:
                self._whereabouts = Whereabouts(base)
            rare = self._whereabouts.rare(states, reverse=reverse, beyond=beyond)
            if rare is not None:
                return rare
        return base.finished(states, reverse=reverse, beyond=beyond)

    def _here(self, states: frozenset[str], reverse: bool, beyond: int | None) -> Iterator[Job]:
        """Those in memory."""
        if not self._is_ordered:
            ordered = sorted(self.rows.values(), key=_order)
            self.rows.clear()
            self.rows.update((job.id, job) for job in ordered)
            self._is_ordered = True
        rows = coming(list(self.rows.values()), reverse=reverse, beyond=beyond, key=_order)
        return (job for job in rows if not states or job.state in states)


_order = attrgetter("spec.offset")
