"""The ready index: which job is to be claimed next, without looking at the others.

Higher priority first, then the time from which a job could run, then the order of enqueueing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from heapq import heapify, heappop, heappush

from queuectl.domain.job import Job
from queuectl.instants import Instant

_Due = tuple[int, str, int, str]  # -priority, runnable_at, order, id
_Scheduled = tuple[str, int, str]  # runnable_at, order, id


class ReadyIndex:
    """Jobs that wait to be claimed. The heaps are made when first asked for: most processes never
    claim, and for them adding and removing is one dictionary step each."""

    def __init__(self, waiting: Iterable[Job] = ()) -> None:
        self._waiting = {job.spec.job: job for job in waiting}
        self._due: dict[str, list[_Due]] | None = None
        self._scheduled: list[_Scheduled] = []

    def add(self, job: Job) -> None:
        self._waiting[job.spec.job] = job
        if self._due is not None:
            heappush(self._scheduled, (job.runnable_at, job.spec.offset, job.spec.job))

    def remove(self, id: str) -> None:
        # What the heaps hold of it is skipped when it comes up.
        del self._waiting[id]

    def is_due(self, queue: str, now: Instant) -> bool:
        """Whether any job of that queue could run at `now`."""
        return any(
            job.spec.queue == queue and job.runnable_at <= now for job in self._waiting.values()
        )

    def due(
        self, now: Instant, limit: int, queues: Container[str] | None, paused: Container[str]
    ) -> list[Job]:
        """Up to `limit` jobs to claim at `now`, best first; `queues` None serves all."""
        due = self._heaps(now)
        served = [
            heap
            for queue, heap in due.items()
            if heap and (queues is None or queue in queues) and queue not in paused
        ]
        found: list[tuple[_Due, list[_Due]]] = []
        while len(found) < limit and served:
            heap = min(served)
            entry = heappop(heap)
            if not heap:
                served.remove(heap)
            # A job handed back as it was stands here twice, side by side: it is one job.
            again = found and found[-1][0] == entry
            if not again and self._is_current(entry[1], entry[2], entry[3]):
                found.append((entry, heap))
        for entry, heap in found:
            heappush(heap, entry)
        return [self._waiting[entry[3]] for entry, _ in found]

    def waits(self, queues: Container[str] | None, paused: Container[str]) -> bool:
        """Whether any job waits, due or not; `queues` None for all."""
        return any(
            (queues is None or job.queue in queues) and job.queue not in paused
            for job in self._waiting.values()
        )

    def ahead(
        self, job: Job, now: Instant, queues: Container[str] | None, paused: Container[str]
    ) -> int:
        """How many jobs that are due at `now` would be claimed before `job`; `queues` as above."""
        place = _place(job)
        return sum(
            (queues is None or other.queue in queues)
            and other.queue not in paused
            and other.runnable_at <= now
            and _place(other) < place
            for other in self._waiting.values()
        )

    def next_at(self, now: Instant) -> Instant | None:
        """When the next scheduled job becomes due; None while there is none."""
        self._heaps(now)
        while self._scheduled and not self._is_current(*self._scheduled[0]):
            heappop(self._scheduled)
        return self._scheduled[0][0] if self._scheduled else None

    def _is_current(self, runnable_at: str, order: int, id: str) -> bool:
        job = self._waiting.get(id)
        return job is not None and job.runnable_at == runnable_at and job.spec.offset == order

    def _heaps(self, now: Instant) -> dict[str, list[_Due]]:
        """The due heaps by queue, with everything in them that is due at `now`."""
        if self._due is None:
            self._due = self._sorted(now)
        while self._scheduled and self._scheduled[0][0] <= now:
            runnable_at, order, id = heappop(self._scheduled)
            if self._is_current(runnable_at, order, id):
                job = self._waiting[id]
                heappush(self._due.setdefault(job.spec.queue, []), _place(job))
        return self._due

    def _sorted(self, now: Instant) -> dict[str, list[_Due]]:
        """All that waits, put into the heaps at once: one by one takes several times as long."""
        due: dict[str, list[_Due]] = {}
        for id, job in self._waiting.items():
            if job.runnable_at <= now:
                due.setdefault(job.spec.queue, []).append(_place(job))
            else:
                self._scheduled.append((job.runnable_at, job.spec.offset, id))
        heapify(self._scheduled)
        for heap in due.values():
            heapify(heap)
        return due


def _place(job: Job) -> _Due:
    spec = job.spec
    return -spec.priority, job.runnable_at, spec.offset, spec.job
