"""What happens when something is asked of a job: the rules themselves, and nothing else.

`[]` means that there is nothing to do: it is so already, or the asker's lease is gone.
"""

from __future__ import annotations

from typing import Any

from queuectl import instants
from queuectl.domain import backoff, redaction
from queuectl.domain import commands as c
from queuectl.domain.job import CANCELLED, FINISHED, PROCESSING, WAITING, Job
from queuectl.errors import NotFound, Rejected
from queuectl.events import vocabulary as v
from queuectl.events.vocabulary import Fact


def decide(job: Job | None, command: c.JobCommand) -> list[Fact]:
    """The facts that `command` makes of `job` (None: there is none by that id).

    Raises `Rejected` where the state of the job forbids it and `NotFound` where there is no job.
    """
    if isinstance(command, c.Enqueue):
        if job is not None:
            raise Rejected(
                f"a job {job.id} exists already and is {job.state}:"
                " choose another id, or leave the id out"
            )
        return [command.spec]
    if isinstance(command, c.Redact):
        return _redact(job, command)
    if job is None:
        raise NotFound(f"there is no job {command.job}")
    match command:
        case c.Claim():
            return _claim(job, command)
        case c.Finish():
            return _finish(job, command) if _holds(job, command.token) else []
        case c.Release():
            return _release(job, command.reason) if _holds(job, command.token) else []
        case c.Expire():
            return _expire(job, command) if _holds(job, command.token) else []
        case c.Cancel():
            return _cancel(job, command)
        case c.Retry():
            return _retry(job, command)
        case c.Prune():
            return _prune(job, command)
    raise TypeError(f"no rule for {command!r}")


def _holds(job: Job, token: int) -> bool:
    """Whether `token` is still the right to the job: a later claim or an end takes it away."""
    return job.held and job.token == token


def _claim(job: Job, command: c.Claim) -> list[Fact]:
    if job.held or job.state not in WAITING or job.runnable_at > command.now:
        return []
    return [
        v.JobClaimed(
            job=job.id,
            queue=job.queue,
            attempt=job.attempts + 1,
            worker=command.worker,
            slot=command.slot,
            until=command.until,
        )
    ]


def _finish(job: Job, command: c.Finish) -> list[Fact]:
    if job.state == CANCELLED:
        return _release(job, "cancelled")
    run: dict[str, Any] = {
        "job": job.id,
        "queue": job.queue,
        "attempt": job.attempts,
        "worker": job.worker,
        "token": job.token,
        "exit_code": command.exit_code,
        "wait_ms": instants.between_ms(job.runnable_at, job.started_at),
        "run_ms": command.run_ms,
        "cpu_ms": command.cpu_ms,
        "stdout_bytes": command.stdout_bytes,
        "stderr_bytes": command.stderr_bytes,
        "escaped": command.escaped,
    }
    if not command.reason:
        return [v.JobCompleted(**run)]
    failed = v.JobFailed(reason=command.reason, error=command.error, **run)
    if job.attempts >= job.runs_max:
        return [failed, _dead(job, command.error)]
    delay_ms = _retry_delay_ms(job, command)
    return [
        failed,
        v.JobRetried(
            job=job.id,
            queue=job.queue,
            attempt=job.attempts,
            run_at=instants.later(command.now, delay_ms),
            delay_ms=delay_ms,
        ),
    ]


def _retry_delay_ms(job: Job, command: c.Finish) -> int:
    spec = job.spec
    base = spec.backoff_base
    if command.backoff_base is not None and not spec.backoff_base_own:
        base = command.backoff_base
    return backoff.delay_ms(
        spec.backoff, base, spec.backoff_max_ms, job.attempts, spec.jitter, command.chance
    )


def _dead(job: Job, error: str) -> Fact:
    return v.JobDead(job=job.id, queue=job.queue, attempt=job.attempts, error=error)


def _release(job: Job, reason: str) -> list[Fact]:
    return [
        v.JobReleased(
            job=job.id,
            queue=job.queue,
            attempt=job.attempts,
            worker=job.worker,
            token=job.token,
            reason=reason,
        )
    ]


def _expire(job: Job, command: c.Expire) -> list[Fact]:
    expired = v.LeaseExpired(
        job=job.id,
        queue=job.queue,
        attempt=job.attempts,
        worker=job.worker,
        token=job.token,
        reason=command.reason,
    )
    # A job that kills its worker every time must die like any other.
    if job.state == PROCESSING and job.attempts >= job.runs_max:
        return [expired, _dead(job, command.reason)]
    return [expired]


def _cancel(job: Job, command: c.Cancel) -> list[Fact]:
    if job.state == CANCELLED:
        return []
    if job.state in FINISHED:
        raise Rejected(f"job {job.id} is {job.state} already: there is nothing left to cancel")
    return [
        v.JobCancelled(
            job=job.id,
            queue=job.queue,
            attempt=job.attempts,
            actor=command.actor,
            reason=command.reason,
        )
    ]


def _retry(job: Job, command: c.Retry) -> list[Fact]:
    if job.held:
        raise Rejected(f"job {job.id} is still running: wait for it to end, or cancel it first")
    if job.state in WAITING and job.runnable_at <= command.now:
        raise Rejected(
            f"job {job.id} is {job.state} and due: it will run as soon as a worker is free"
        )
    gone = redaction.gone(job)
    if gone:
        raise Rejected(
            f"job {job.id} cannot run again without what was redacted ({', '.join(gone)}):"
            " enqueue it anew"
        )
    return [
        v.JobRequeued(
            job=job.id,
            queue=job.queue,
            attempt=0,
            actor=command.actor,
            reason=command.reason,
        )
    ]


def _prune(job: Job, command: c.Prune) -> list[Fact]:
    if job.state not in FINISHED or job.held:
        raise Rejected(f"job {job.id} is {job.state}: only a job that has ended can be purged")
    return [
        v.JobPruned(
            job=job.id,
            queue=job.queue,
            attempt=job.attempts,
            actor=command.actor,
            reason=command.reason,
        )
    ]


def _redact(job: Job | None, command: c.Redact) -> list[Fact]:
    fields = {field for fact in command.facts for field in fact.fields or ()}
    needed = fields & redaction.RUN
    if job is not None and job.live and needed:
        raise Rejected(
            f"job {job.id} is {job.state} and needs its {' and '.join(sorted(needed))}: redact that"
            " when the job is over, or cancel it first"
        )
    return list(command.facts)
