"""The story of one job, told from its events: what happened, when, and what changed by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from queuectl.domain.evolve import evolve
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v

_WATCHED = ("state", "attempts", "worker", "runnable_at", "exit_code", "error", "run_ms")


class Step(NamedTuple):
    """One event and what it did to the job."""

    event: v.JobEvent
    changes: dict[str, tuple[Any, Any]]
    """Per field of the job its value before and after."""


def of(events: Iterable[v.Event]) -> Iterator[Step]:
    """The steps of one job, from its events in order."""
    job: Job | None = None
    for event in events:
        if isinstance(event, v.JobEvent):
            before, job = job, evolve(job, event)
            yield Step(event, _changes(before, job))


def _changes(before: Job | None, after: Job | None) -> dict[str, tuple[Any, Any]]:
    changes = {}
    for field in _WATCHED:
        old = getattr(before, field, None)
        new = getattr(after, field, None)
        if old != new:
            changes[field] = (old, new)
    return changes
