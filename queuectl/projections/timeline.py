"""The story of one job, told from its events: what happened, when, and what changed by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from queuectl.domain.evolve import evolve
from queuectl.domain.job import WAITING, Job
from queuectl.events import vocabulary as v
from queuectl.instants import Instant, between_ms

HELD_BACK, WAITED, RUNNING, AT_REST = "held back", "waiting", "running", "at rest"
_WATCHED = ("state", "attempts", "worker", "runnable_at", "exit_code", "error", "run_ms")


class Step(NamedTuple):
    """One event and what it did to the job."""

    event: v.JobEvent
    changes: dict[str, tuple[Any, Any]]
    """Per field of the job its value before and after."""
    took: dict[str, int]
    """How the time since the step before was spent, in milliseconds: `held back` until a job may
    run, `waiting` for a worker, `running`, or `at rest` after its end."""


def of(events: Iterable[v.Event]) -> Iterator[Step]:
    """The steps of one job, from its events in order."""
    job: Job | None = None
    for event in events:
        if isinstance(event, v.JobEvent):
            before, job = job, evolve(job, event)
            yield Step(event, _changes(before, job), spent(before, event.at))


def spent(job: Job | None, until: Instant) -> dict[str, int]:
    """How a job has spent the time since its last event."""
    if job is None:
        return {}
    if job.held:
        phases = {RUNNING: between_ms(job.updated_at, until)}
    elif job.state in WAITING:
        due = min(max(job.updated_at, job.runnable_at), until)
        phases = {HELD_BACK: between_ms(job.updated_at, due), WAITED: between_ms(due, until)}
    else:
        phases = {AT_REST: between_ms(job.updated_at, until)}
    return {phase: ms for phase, ms in phases.items() if ms}


def _changes(before: Job | None, after: Job | None) -> dict[str, tuple[Any, Any]]:
    changes = {}
    for field in _WATCHED:
        old = getattr(before, field, None)
        new = getattr(after, field, None)
        if old != new:
            changes[field] = (old, new)
    return changes
