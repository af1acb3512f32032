"""The job table: every job as it stands after the events so far, by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from queuectl.domain.job import Job
from queuectl.errors import Invalid, NotFound
from queuectl.suggestion import did_you_mean


class JobTable:
    def __init__(self) -> None:
        self.rows: dict[str, Job] = {}

    def get(self, job: str) -> Job | None:
        return self.rows.get(job)

    def named(self, name: str) -> Job:
        """The job with this id, or the only one whose id starts so.

        Raises `NotFound`, or `Invalid` where several start so.
        """
        job = self.rows.get(name)
        if job is not None:
            return job
        matches = [id for id in self.rows if id.startswith(name)] if name else []
        if len(matches) == 1:
            return self.rows[matches[0]]
        if matches:
            raise Invalid(
                f"{len(matches)} jobs start with {name!r}, such as {matches[0]} and {matches[1]}:"
                " write more of it"
            )
        raise NotFound(f"there is no job {name!r}{self._close_to(name)}")

    def _close_to(self, name: str) -> str:
        # Only as many as can be compared in no time.
        recent = [id for id, _ in zip(reversed(self.rows), range(5000), strict=False)]
        return did_you_mean(name, recent)

    def select(
        self,
        *,
        states: Iterable[str] = (),
        queues: Iterable[str] = (),
        tags: Iterable[str] = (),
    ) -> Iterator[Job]:
        """Jobs in the order they were enqueued; an empty filter lets every job through."""
        states, queues, tags = frozenset(states), frozenset(queues), frozenset(tags)
        for job in self.rows.values():
            if (
                (not states or job.state in states)
                and (not queues or job.spec.queue in queues)
                and (not tags or tags.issubset(job.spec.tags or ()))
            ):
                yield job
