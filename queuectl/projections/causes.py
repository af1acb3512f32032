"""Why a job is in the state that it is in: a chain of causes, each with the event that says so, and
then what stands between it and its next run at this moment. Knows no storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from queuectl.domain.job import CANCELLED, PROCESSING, WAITING, Job
from queuectl.events import vocabulary as v
from queuectl.events.log import Log
from queuectl.instants import Instant
from queuectl.projections.state import State
from queuectl.projections.workers import WorkerRow

_ENDS = (v.JobCompleted, v.JobFailed, v.LeaseExpired, v.JobReleased)
_BEGINNINGS = (v.JobEnqueued, v.JobRequeued)


class Cause(NamedTuple):
    """One link of the chain. What is no event is a reading at this moment."""

    kind: str
    """A stable word for it: the wire name of its event, or what is read."""
    event: v.Event | None = None
    details: Mapping[str, Any] = MappingProxyType({})


class Now(NamedTuple):
    """What has to be known of this moment, beside the events of the job."""

    at: Instant
    state: State
    is_alive: Callable[[str], bool | None]
    """Whether a worker lives; None where nobody can know."""
    log: Log


def causes(job: Job | None, life: Sequence[v.Event], now: Now) -> list[Cause]:
    """Why `job` is as it is, from its events since it was enqueued; None is one that was purged."""
    if job is None:
        return [_of(_last(life, v.JobPruned)), *_how_it_ended(life)]
    if job.state in WAITING:
        return [*_how_it_came_to_wait(job, life), *_what_it_waits_for(job, life, now)]
    if job.state == PROCESSING:
        return [_of(_last(life, v.JobClaimed)), *_who_holds(job, now)]
    return [*_how_it_ended(life), *(_who_holds(job, now) if job.ending else ())]


def _of(event: v.Event, **details: Any) -> Cause:
    return Cause(v.wire_name(event), event, details)


def _last(life: Sequence[v.Event], *kinds: type[v.Event]) -> v.Event:
    return next(event for event in reversed(life) if isinstance(event, kinds))


def _how_it_ended(life: Sequence[v.Event]) -> Iterator[Cause]:
    end = _last(life, v.JobCompleted, v.JobDead, v.JobCancelled)
    yield _of(end)
    if isinstance(end, v.JobDead):
        before = [event for event in life if event.offset < end.offset]
        yield _of(_last(before, v.JobFailed, v.LeaseExpired))
        yield _limit(life)


def _limit(life: Sequence[v.Event]) -> Cause:
    """How many runs there may be was said when it was enqueued."""
    event = _last(life, v.JobEnqueued)
    assert isinstance(event, v.JobEnqueued)
    return Cause("max-retries", event, {"runs_max": max(1, event.max_retries)})


def _how_it_came_to_wait(job: Job, life: Sequence[v.Event]) -> Iterator[Cause]:
    came = _last(life, *_ENDS, *_BEGINNINGS)
    yield _of(came)


def _what_it_waits_for(job: Job, life: Sequence[v.Event], now: Now) -> Iterator[Cause]:
    state = now.state
    free = True
    if job.runnable_at > now.at:
        free = False
        said = _last(life, v.JobRetried, *_BEGINNINGS)
        details = {"due_at": job.runnable_at, "run": job.attempts + 1, "runs_max": job.runs_max}
        yield Cause("due", said, details)
    if job.queue in state.paused:
        free = False
        yield Cause("paused", _pause(job.queue, now), {"queue": job.queue})
    rows = [row for row in state.workers.rows.values() if now.is_alive(row.id) is not False]
    serving = [row for row in rows if row.serves(job.queue)]
    ahead = state.ready.ahead(
        job, max(now.at, job.runnable_at), _competing(serving, job.queue), state.paused
    )
    if ahead:
        yield Cause("ahead", None, {"jobs": ahead})
    slots = sum(row.slots for row in serving)
    taken = sum(len(row.holding) for row in serving)
    yield Cause(
        "workers",
        None,
        {
            "alive": len(rows),
            "serving": len(serving),
            "queue": job.queue,
            "slots": slots,
            "free_slots": max(0, slots - taken),
        },
    )
    if free and not ahead and slots > taken:
        yield Cause("next")


def _pause(queue: str, now: Now) -> v.Event | None:
    """What paused a queue that is paused."""
    found = None
    for event in now.log.read_kind(v.QueuePaused):
        if event.offset > now.state.offset:
            break
        if isinstance(event, v.QueuePaused) and event.queue == queue:
            found = event
    return found


def _competing(serving: Sequence[WorkerRow], queue: str) -> set[str] | None:
    """The queues of which jobs may be claimed before one of `queue`; None for all."""
    queues = {queue}
    for row in serving:
        if row.queues is None:
            return None
        queues.update(row.queues)
    return queues


def _who_holds(job: Job, now: Now) -> Iterator[Cause]:
    row = now.state.workers.rows.get(job.worker)
    if row is not None and job.state != CANCELLED:
        said = next(now.log.read_originals(max(row.lease, job.token) - 1))[0]
        yield Cause("lease", said, {"until": getattr(said, "until", "")})
    yield Cause(
        "worker",
        None,
        {
            "worker": job.worker,
            "alive": row is not None and now.is_alive(job.worker),
            "heartbeat_at": row.heartbeat_at if row is not None else None,
            "ending": job.ending,
        },
    )
