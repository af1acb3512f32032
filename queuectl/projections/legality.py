"""Whether every event could have happened to its job, by the rules that decide; knows no storage.

The rules of `decide` say what may be asked, those of `evolve` what comes of it. Here stands what
each event takes for granted. So a log that tells what nobody can have decided is found out, however
well its bytes fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import FINISHED, PROCESSING, WAITING, Job
from queuectl.errors import Illegal
from queuectl.events import vocabulary as v


class Legality:
    """Follows a log from its first event on.

    `compacted` says that events may have been taken out of it. Then the end of a job may be there
    without its beginning, if the job was forgotten; a beginning is never there without its end.
    """

    def __init__(self, *, compacted: bool) -> None:
        self._compacted = compacted
        self._jobs: dict[str, Job] = {}
        self._rests: dict[str, int] = {}
        """Jobs whose beginning is gone, with the first event that is left: to be forgotten yet."""
        self._owing: v.JobEvent | None = None
        """The end of a run after which the next event has to say what becomes of the job."""
        self._uncertain: set[str] = set()
        """Jobs of which events are lost, so that nothing can be said against what follows."""
        self._torn = False
        """Whether there may be jobs whose beginning is lost."""

    def check(self, events: Sequence[v.Event]) -> None:
        """Raises `Illegal` at the first that could not have happened."""
        jobs = self._jobs
        for event in events:
            kind = type(event)
            owing, self._owing = self._owing, None
            if kind is v.LogRepaired:
                self._tear(event)  # type: ignore[arg-type]
                continue
            if owing is not None:
                _settle(owing, event)
            rule = _RULES.get(kind)
            if rule is None:
                continue
            id: str = event.job  # type: ignore[attr-defined]
            job = jobs.get(id)
            if job is None and kind is not v.JobEnqueued:
                self._follow_rest(event)  # type: ignore[arg-type]
                continue
            wrong = rule(job, event)
            if kind in _CONSEQUENCES and owing is None:
                wrong = "no run of it has just ended"
            elif id in self._rests:
                wrong = "it has not been forgotten yet"
            if id not in self._uncertain:
                if wrong:
                    raise _illegal(event, wrong)
                if kind in _OWING and _is_owing(job, event):
                    self._owing = event  # type: ignore[assignment]
            after = ADVANCE[kind](job, event)
            if after is None:
                del jobs[id]
                self._uncertain.discard(id)
            else:
                jobs[id] = after

    def finish(self) -> None:
        """The log ends here."""
        if self._owing is not None:
            raise _illegal(self._owing, _LACKING)
        for id, offset in self._rests.items():
            raise Illegal(f"it is about job {id}, which was never enqueued", offset)

    def _tear(self, event: v.LogRepaired) -> None:
        """Events are lost here, and nobody knows of which jobs."""
        if event.lost_from:
            self._torn = True
            self._uncertain.update(self._jobs)
            self._rests.clear()

    def _follow_rest(self, event: v.JobEvent) -> None:
        """An event about a job that is not there."""
        if self._torn:
            return
        if not self._compacted:
            raise _illegal(event, "there is no such job")
        if isinstance(event, v.JobPruned):
            self._rests.pop(event.job, None)
        else:
            self._rests.setdefault(event.job, event.offset)


_CONSEQUENCES = frozenset((v.JobRetried, v.JobDead))
"""What becomes of a job whose run has ended badly: in the next event, of the same batch …"""
_OWING = frozenset((v.JobFailed, v.LeaseExpired))
"""… as one of these."""
_LACKING = "what becomes of it does not follow"


def _is_owing(job: Job | None, event: v.Event) -> bool:
    if isinstance(event, v.LeaseExpired):
        # Otherwise the job just waits again.
        return job is not None and job.state == PROCESSING and job.attempts >= job.runs_max
    return True


def _settle(owing: v.JobEvent, event: v.Event) -> None:
    """Check that `event` says what becomes of the job."""
    right = type(event) in _CONSEQUENCES and event.job == owing.job  # type: ignore[attr-defined]
    if not (right and owing.more):
        raise _illegal(owing, _LACKING)


def _illegal(event: v.Event, why: str) -> Illegal:
    job = getattr(event, "job", "")
    return Illegal(f"{v.wire_name(event)} of job {job} cannot have happened: {why}", event.offset)


# ---- what each event takes for granted: "" or what is not so


def _enqueued(job: Job | None, _: v.JobEnqueued) -> str:
    return "" if job is None else "it exists already"


def _claimed(job: Job, event: v.JobClaimed) -> str:
    if job.held:
        return f"worker {job.worker} holds it"
    if job.state not in WAITING:
        return f"it is {job.state}"
    if event.until and event.until < job.runnable_at:
        return f"it was not due before {job.runnable_at}"
    return _numbered(event, job.attempts + 1)


def _finished(job: Job, event: v.FinishEvent) -> str:
    return f"it is {job.state}" if job.state != PROCESSING else _ended(job, event)


def _ended(job: Job, event: v.AttemptEvent) -> str:
    if not job.held:
        return f"it is {job.state}, and nobody holds it"
    if event.token != job.token:
        return f"the token in force is {job.token}"
    if event.worker != job.worker:
        return f"worker {job.worker} holds it"
    return _numbered(event, job.attempts)


def _retried(job: Job, event: v.JobRetried) -> str:
    used_up = job.attempts >= job.runs_max
    return "it has no run left" if used_up else _numbered(event, job.attempts)


def _dead(job: Job, event: v.JobDead) -> str:
    used_up = job.attempts >= job.runs_max
    return _numbered(event, job.attempts) if used_up else "it has runs left"


def _cancelled(job: Job, event: v.JobCancelled) -> str:
    return f"it is {job.state}" if job.state in FINISHED else _numbered(event, job.attempts)


def _requeued(job: Job, event: v.JobRequeued) -> str:
    return f"worker {job.worker} holds it" if job.held else _numbered(event, 0)


def _pruned(job: Job, event: v.JobPruned) -> str:
    if job.held or job.state not in FINISHED:
        return f"it is {job.state}"
    return _numbered(event, job.attempts)


def _numbered(event: v.JobEvent, number: int) -> str:
    return "" if event.attempt == number else f"its run would be number {number}"


_RULES: dict[type[v.Event], Callable[[Any, Any], str]] = {
    v.JobEnqueued: _enqueued,
    v.JobClaimed: _claimed,
    v.JobCompleted: _finished,
    v.JobFailed: _finished,
    v.JobRetried: _retried,
    v.JobDead: _dead,
    v.JobRequeued: _requeued,
    v.JobReleased: _ended,
    v.LeaseExpired: _ended,
    v.JobCancelled: _cancelled,
    v.JobPruned: _pruned,
}
