"""Every run as one flat row, with what its job was and what became of it; keeps nothing of jobs
that are completed, so a log of any length can be told in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from queuectl import instants
from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import CANCELLED, Job
from queuectl.events import vocabulary as v

RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
RELEASED = "released"
LOST = "lost"
CANCELLED_RUN = "cancelled"

OUTCOMES = (RUNNING, COMPLETED, FAILED, RELEASED, LOST, CANCELLED_RUN)
"""What can have become of a run; a released one was handed back and does not count."""

_RESTING_MAX = 50_000
"""Some 50 MB of them; those that rest for longest have to be looked up again."""
Find = Callable[[str, int], v.JobEnqueued | None]
"""What the job with this id was, as of that offset, where it was over and goes on; None where
nobody knows any more."""


def unknown(job: str, offset: int) -> None:
    """Nobody knows."""


class Run(msgspec.Struct, kw_only=True, gc=False):
    """One run of a job. What is not known, or cannot be, is None.

    The fields are the columns of the table of runs, in their order; each has one type.
    """

    job: str
    """The id of the job."""
    queue: str
    """The queue that the job is in."""
    command: str | None = None
    """What was run: the shell command, or the words of it quoted for reading."""
    tags: list[str] | None = None
    """The labels of the job; None where it has none."""
    priority: int | None = None
    """The priority of the job."""
    round: int = 1
    """Which round of the job it belongs to: 1, and one more each time somebody asked anew."""
    attempt: int
    """Which run of its round it is, from 1; the number of one that was handed back comes again."""
    token: int
    """The fencing token: the offset of the `job.claimed` event that began it; no two runs share
    one."""
    worker: str
    """The id of the worker that ran it."""
    host: str | None = None
    """The name of the machine that the worker ran on."""
    slot: int | None = None
    """The slot of the worker that it ran in, from 1."""
    enqueued: int | None = None
    """The offset of the event that enqueued the job: an id may be used again, this is not."""
    enqueued_at: str | None = None
    """When that was."""
    runnable_at: str | None = None
    """From when on it could have run."""
    claimed_at: str | None = None
    """When it began: the worker took the job."""
    ended_at: str | None = None
    """When it ended, or its end was noticed; None while it runs."""
    outcome: str = RUNNING
    """`running`, `completed`, `failed`, `released`, `lost` or `cancelled`."""
    reason: str | None = None
    """Why it did not complete. Of a failed run `exit`, `signal`, `timeout`, `output-limit` or
    `start`; of others words for people."""
    exit_code: int | None = None
    """The exit code of the command; None when it did not exit by itself."""
    error: str | None = None
    """One line for people: the last line of standard error, or what went wrong instead."""
    wait_ms: int | None = None
    """From the moment the job could have run to the moment it was claimed, in milliseconds."""
    run_ms: int | None = None
    """From start to end of the command, in milliseconds; None where nobody saw its end."""
    cpu_ms: int | None = None
    """Processor time of the command, user and system, in milliseconds."""
    stdout_bytes: int | None = None
    """Bytes the command wrote to its standard output."""
    stderr_bytes: int | None = None
    """Bytes the command wrote to its standard error."""
    escaped: int | None = None
    """Processes it had left behind outside its process group; they were ended too."""


class Runs:
    """Tells runs from events in order, each when it ends.

    `find` is asked for a job that was over, if nothing is kept of it, when somebody asks for
    another round. `begun` are the jobs that were not over before the first event; of their first
    runs it is not known where and when they began.
    """

    def __init__(self, find: Find = unknown, begun: Iterable[Job] = ()) -> None:
        self._find = find
        self._jobs = {job.id: job for job in begun}
        """Those that are not over."""
        self._resting: dict[str, Job] = {}
        """Those that are dead or cancelled: somebody may well ask for another round of them."""
        self._open: dict[int, Run] = {}
        """By token, in the order of the claims."""
        self._rounds: dict[str, int] = {}
        """Of jobs that had more than one: as many as people asked for."""
        self._hosts: dict[str, str] = {}
        """By worker, until it stops."""

    def apply(self, event: v.Event) -> Run | None:
        """Take the next event in; returns the run that it ended."""
        if isinstance(event, v.JobEvent):
            return self._about_job(event)
        if isinstance(event, v.WorkerStarted):
            self._hosts[event.worker] = event.host
        elif isinstance(event, v.WorkerStopped):
            self._hosts.pop(event.worker, None)
        return None

    def running(self) -> list[Run]:
        """Those that have not ended, the oldest first."""
        return list(self._open.values())

    def _about_job(self, event: v.JobEvent) -> Run | None:
        id = event.job
        before = self._jobs.get(id)
        ended = None
        match event:
            case v.JobClaimed():
                self._open[event.offset] = self._begun(event, before)
            case v.FinishEvent() | v.JobReleased() | v.LeaseExpired():
                ended = self._open.pop(event.token, None) or self._half_known(event, before)
                _end(ended, event, cancelled=before is not None and before.state == CANCELLED)
            case v.JobCancelled() if before is not None and before.token in self._open:
                self._open[before.token].reason = event.reason or None
            case v.JobRequeued():
                self._rounds[id] = self._rounds.get(id, 1) + 1
                before = before or self._resting.get(id) or self._found(event)
            case v.JobEnqueued() | v.JobPruned():
                self._rounds.pop(id, None)
        self._keep(id, ADVANCE[type(event)](before, event))
        return ended

    def _keep(self, id: str, job: Job | None) -> None:
        self._resting.pop(id, None)
        if job is not None and job.live:
            self._jobs[id] = job
            return
        self._jobs.pop(id, None)
        if job is not None and job.state != COMPLETED:
            self._resting[id] = job
            if len(self._resting) > _RESTING_MAX:
                del self._resting[next(iter(self._resting))]

    def _found(self, event: v.JobRequeued) -> Job | None:
        spec = self._find(event.job, event.offset)
        return None if spec is None else Job(spec, spec.offset, spec.at, spec.at)

    def _begun(self, event: v.JobClaimed, job: Job | None) -> Run:
        run = self._row(event, event.offset, job)
        run.slot = event.slot
        run.claimed_at = event.at
        if job is not None:
            run.runnable_at = job.runnable_at
            run.wait_ms = instants.between_ms(job.runnable_at, event.at)
        return run

    def _half_known(self, event: v.AttemptEvent, job: Job | None) -> Run:
        """A run of which only the end is left in the log."""
        return self._row(event, event.token, job)

    def _row(self, event: v.AttemptEvent, token: int, job: Job | None) -> Run:
        run = Run(
            job=event.job,
            queue=event.queue,
            round=self._rounds.get(event.job, 1),
            attempt=event.attempt,
            token=token,
            worker=event.worker,
            host=self._hosts.get(event.worker),
        )
        if job is not None:
            spec = job.spec
            run.command, run.tags, run.priority = spec.command, spec.tags, spec.priority
            run.enqueued, run.enqueued_at = spec.offset, spec.at
        return run


def _end(run: Run, event: v.AttemptEvent, *, cancelled: bool) -> None:
    run.ended_at = event.at
    match event:
        case v.FinishEvent():
            run.exit_code = event.exit_code
            run.wait_ms, run.run_ms, run.cpu_ms = event.wait_ms, event.run_ms, event.cpu_ms
            run.stdout_bytes, run.stderr_bytes = event.stdout_bytes, event.stderr_bytes
            run.escaped = event.escaped
            run.outcome = COMPLETED
            if isinstance(event, v.JobFailed):
                run.outcome, run.reason, run.error = FAILED, event.reason, event.error
        case v.JobReleased() | v.LeaseExpired() if cancelled:
            run.outcome = CANCELLED_RUN
        case v.JobReleased():
            run.outcome, run.reason = RELEASED, event.reason
        case v.LeaseExpired():
            run.outcome, run.reason = LOST, event.reason


def of(
    pieces: Iterable[Iterable[v.Event]], find: Find = unknown, begun: Iterable[Job] = ()
) -> Iterator[list[Run]]:
    """The runs that events in order tell of, in pieces: in the order of their ends, and behind
    them those that have not ended; `begun` as `Runs` has it."""
    runs = Runs(find, begun)
    apply = runs.apply
    for events in pieces:
        ended = [run for event in events if (run := apply(event)) is not None]
        if ended:
            yield ended
    if running := runs.running():
        yield running
