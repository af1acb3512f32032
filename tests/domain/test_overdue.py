"""What is to be forgotten is told without looking at more jobs than that needs."""

from __future__ import annotations

from collections.abc import Iterator

from queuectl import instants
from queuectl.domain.job import COMPLETED, Job
from queuectl.domain.retention import Retention
from queuectl.events.vocabulary import JobEnqueued

NOW = "2026-01-01T00:00:00.000000Z"
DAY_MS = 86_400_000


def ended(enqueued: int, ended: int) -> Job:
    """A job of so many days ago."""
    at, updated = (instants.later(NOW, -days * DAY_MS) for days in (enqueued, ended))
    return Job(JobEnqueued(job=f"{enqueued}-{ended}", at=at), 1, updated, at, COMPLETED)


class Jobs:
    """Jobs, and how many of them were looked at."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = jobs
        self.seen = 0

    def __iter__(self) -> Iterator[Job]:
        for job in self._jobs:
            self.seen += 1
            yield job


def overdue(retention: Retention, jobs: Jobs, count: int) -> list[str]:
    return [job.id for job in retention.overdue(jobs, count)]


def test_those_that_were_enqueued_too_late_to_be_old_are_not_looked_at() -> None:
    jobs = Jobs(ended(40, 31), ended(39, 2), ended(31, 31), ended(29, 1), *[ended(1, 0)] * 9)
    assert overdue(Retention(30 * DAY_MS, 99, NOW), jobs, 13) == ["40-31", "31-31"]
    assert jobs.seen == 4


def test_where_only_their_number_counts_and_there_are_few_none_is_looked_at() -> None:
    jobs = Jobs(*[ended(40, 31)] * 5)
    assert overdue(Retention(0, 5, NOW), jobs, 5) == []
    assert jobs.seen == 1


def test_where_there_are_too_many_all_are_looked_at() -> None:
    jobs = Jobs(ended(40, 31), ended(9, 2), ended(8, 1), ended(7, 3))
    assert overdue(Retention(30 * DAY_MS, 2, NOW), jobs, 4) == ["40-31", "7-3"]
    assert jobs.seen == 4
