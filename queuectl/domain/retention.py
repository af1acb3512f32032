"""Which jobs that have ended are to be forgotten: by state, age and number; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

from queuectl import instants
from queuectl.domain.job import CANCELLED, COMPLETED, DEAD, Job
from queuectl.domain.settings import Settings
from queuectl.instants import Instant


class Overdue(NamedTuple):
    """A job that is not to be kept any longer."""

    id: str
    offset: int
    """The event that enqueued it."""


class Retention:
    """How long, and how many, jobs in one state are kept."""

    def __init__(self, age_ms: int, number: int, now: Instant) -> None:
        """0 means for ever, and any number."""
        self._number = number
        self._since = instants.later(now, -age_ms) if age_ms else instants.EARLIEST

    def overdue(self, jobs: Iterable[Job], count: int) -> Iterator[Overdue]:
        """Those that are not to be kept any longer.

        `jobs` is in the order they were enqueued; there are at most `count` of them.
        """
        too_many = count > self._number > 0
        kept: list[tuple[Instant, Overdue]] = []
        for job in jobs:
            if job.spec.at >= self._since and not too_many:
                return  # nor is any that was enqueued later
            if job.held:
                continue
            found = Overdue(job.id, job.spec.offset)
            if job.updated_at < self._since:
                yield found
            elif too_many:
                kept.append((job.updated_at, found))
        if len(kept) > self._number > 0:
            newest = {found for _, found in nlargest(self._number, kept)}
            yield from (found for _, found in kept if found not in newest)


def retentions(settings: Settings, now: Instant) -> dict[str, Retention]:
    """Per state what the settings in force say of it, where they say anything."""
    wanted = {
        COMPLETED: (settings.retain_completed_ms, settings.retain_completed_max),
        CANCELLED: (settings.retain_cancelled_ms, settings.retain_cancelled_max),
        DEAD: (settings.retain_dead_ms, settings.retain_dead_max),
    }
    return {state: Retention(*limits, now) for state, limits in wanted.items() if any(limits)}
