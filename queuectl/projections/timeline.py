"""The story of one job, told from its events: what happened, when, and what changed by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from queuectl.domain.evolve import evolve
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v

_WATCHED = ("state", "attempts", "worker", "runnable_at", "exit_code", "error", "run_ms")


class Step(NamedTuple):
    """One event and what it did to the job."""

    event: v.JobEvent
    changes: dict[str, tuple[Any, Any]]
    """Per field of the job its value before and after."""


class Attempt(msgspec.Struct, kw_only=True):
    """One run of a job."""

    number: int
    token: int
    worker: str
    started_at: str
    ended_at: str = ""
    outcome: str = "running"
    exit_code: int | None = None
    error: str = ""
    wait_ms: int = 0
    run_ms: int = 0
    cpu_ms: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0


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


def attempts(events: Iterable[v.Event]) -> list[Attempt]:
    """The runs of one job, oldest first, over all its rounds."""
    runs: dict[int, Attempt] = {}
    for event in events:
        if isinstance(event, v.JobClaimed):
            runs[event.offset] = Attempt(
                number=event.attempt,
                token=event.offset,
                worker=event.worker,
                started_at=event.at,
            )
        elif isinstance(event, v.AttemptEvent) and event.token in runs:
            run = runs[event.token]
            run.ended_at = event.at
            _end(run, event)
    return list(runs.values())


def _end(run: Attempt, event: v.AttemptEvent) -> None:
    match event:
        case v.FinishEvent():
            run.exit_code = event.exit_code
            run.wait_ms, run.run_ms, run.cpu_ms = event.wait_ms, event.run_ms, event.cpu_ms
            run.stdout_bytes, run.stderr_bytes = event.stdout_bytes, event.stderr_bytes
            run.outcome = "completed"
            if isinstance(event, v.JobFailed):
                run.outcome, run.error = "failed", event.error
        case v.JobReleased():
            run.outcome, run.error = "released", event.reason
        case v.LeaseExpired():
            run.outcome, run.error = "lost", event.reason
