"""What a job becomes when an event has happened to it; total, because it already happened."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from queuectl.domain import redaction
from queuectl.domain.job import CANCELLED, COMPLETED, DEAD, FAILED, PENDING, PROCESSING, Job
from queuectl.events import vocabulary as v


def evolve(job: Job | None, event: v.JobEvent) -> Job | None:
    """The job after `event`; None once it is forgotten, and for events about a job unknown.

    `job` itself stays as it was.
    """
    return ADVANCE[type(event)](copy(job), event)


def _enqueued(_: Job | None, event: v.JobEnqueued) -> Job:
    at = event.at
    return Job(event, event.offset, at, event.run_at if event.run_at > at else at)


def _claimed(job: Job | None, event: v.JobClaimed) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.state = PROCESSING
    job.attempts = event.attempt
    job.worker = event.worker
    job.slot = event.slot
    job.token = event.offset
    job.started_at = event.at
    return job


def _finished(job: Job, event: v.FinishEvent, state: str, error: str) -> Job:
    job.offset = event.offset
    job.updated_at = event.at
    job.state = state
    job.finished_at = event.at
    job.wait_ms = event.wait_ms
    job.run_ms = event.run_ms
    job.exit_code = event.exit_code
    job.error = error
    return job


def _completed(job: Job | None, event: v.JobCompleted) -> Job | None:
    return job and _finished(job, event, COMPLETED, "")


def _failed(job: Job | None, event: v.JobFailed) -> Job | None:
    return job and _finished(job, event, FAILED, event.error)


def _retried(job: Job | None, event: v.JobRetried) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.state = FAILED
    job.runnable_at = event.run_at
    return job


def _dead(job: Job | None, event: v.JobDead) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.state = DEAD
    job.finished_at = event.at
    job.error = event.error
    return job


def _requeued(job: Job | None, event: v.JobRequeued) -> Job | None:
    if job is None:
        return None
    return Job(job.spec, event.offset, event.at, event.at)


def _released(job: Job | None, event: v.JobReleased) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.ending = False
    if job.state == PROCESSING:
        job.state = PENDING
        job.attempts = job.attempts - 1
    return job


def _expired(job: Job | None, event: v.LeaseExpired) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.ending = False
    job.finished_at = event.at
    job.exit_code = None
    job.error = event.reason
    if job.state == PROCESSING:
        job.state = PENDING
    return job


def _cancelled(job: Job | None, event: v.JobCancelled) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    job.ending = job.state == PROCESSING
    job.state = CANCELLED
    job.finished_at = event.at
    return job


def _pruned(_: Job | None, _event: v.JobPruned) -> None:
    return None


def _redacting(job: Job | None, event: v.JobRedacting) -> Job | None:
    if job is None:
        return None
    fields = event.fields or ()
    job.offset = event.offset
    job.updated_at = event.at
    job.spec = redaction.redacted(job.spec, fields)
    if redaction.ERROR in fields and job.error:
        job.error = redaction.TEXT
    return job


def _redacted(job: Job | None, event: v.JobRedacted) -> Job | None:
    if job is None:
        return None
    job.offset = event.offset
    job.updated_at = event.at
    return job


ADVANCE: dict[type[v.Event], Callable[[Job | None, Any], Job | None]] = {
    v.JobEnqueued: _enqueued,
    v.JobClaimed: _claimed,
    v.JobCompleted: _completed,
    v.JobFailed: _failed,
    v.JobRetried: _retried,
    v.JobDead: _dead,
    v.JobRequeued: _requeued,
    v.JobReleased: _released,
    v.LeaseExpired: _expired,
    v.JobCancelled: _cancelled,
    v.JobPruned: _pruned,
    v.JobRedacting: _redacting,
    v.JobRedacted: _redacted,
}
"""The same in place, for a projection that owns its jobs: a fold over a long log does little else,
so it copies nothing, and finds the rule by type and not by `match`."""
