"""What can be asked of a queue; each command carries its own time and chance."""

from __future__ import annotations

import msgspec

from queuectl.events.vocabulary import JobEnqueued, JobRedacting


class Command(msgspec.Struct, frozen=True, kw_only=True):
    now: str = ""
    """The moment at which it is asked, as an `Instant`."""


class JobCommand(Command, frozen=True, kw_only=True):
    job: str
    """The id of the job it is about."""


class Enqueue(JobCommand, frozen=True, kw_only=True):
    spec: JobEnqueued


class Claim(JobCommand, frozen=True, kw_only=True):
    worker: str
    slot: int
    until: str


class Finish(JobCommand, frozen=True, kw_only=True):
    """A run ended by itself, or was ended for its own fault."""

    token: int
    reason: str = ""
    """Empty for success; else `exit`, `signal`, `timeout`, `output-limit` or `start`."""
    error: str = ""
    exit_code: int | None = None
    run_ms: int = 0
    cpu_ms: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    escaped: int = 0
    chance: float = 0.0
    """From 0 to 1, for the jitter of the retry delay."""
    backoff_base: float | None = None
    """The worker's default, for jobs that were given none."""


class Release(JobCommand, frozen=True, kw_only=True):
    """A run was ended for the worker's sake and does not count."""

    token: int
    reason: str


class Expire(JobCommand, frozen=True, kw_only=True):
    """The worker of a run is gone, and so are the processes of the run."""

    token: int
    reason: str


class ByPeople(JobCommand, frozen=True, kw_only=True):
    actor: str = ""
    reason: str = ""


class Cancel(ByPeople, frozen=True, kw_only=True):
    pass


class Retry(ByPeople, frozen=True, kw_only=True):
    """A new round of runs for a job that has ended, or at once instead of later."""


class Prune(ByPeople, frozen=True, kw_only=True):
    """Forget a job that has ended."""


class Redact(JobCommand, frozen=True, kw_only=True):
    """Take values out of the events of a job, also of one that was forgotten."""

    facts: list[JobRedacting]
