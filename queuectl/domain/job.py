"""A job: what was asked for, and what has become of it; knows only events."""

from __future__ import annotations

import msgspec

from queuectl.events.vocabulary import JobEnqueued

PENDING = "pending"
PROCESSING = "processing"
COMPLETED = "completed"
FAILED = "failed"
DEAD = "dead"
CANCELLED = "cancelled"

STATES = (PENDING, PROCESSING, COMPLETED, FAILED, DEAD, CANCELLED)
"""The stored states; `failed` waits for its retry. Due or scheduled is a reading at a moment."""
WAITING = frozenset((PENDING, FAILED))
"""The states from which a job may be claimed."""
FINISHED = frozenset((COMPLETED, DEAD, CANCELLED))
"""The states that a job leaves only when somebody asks."""


class Job(msgspec.Struct, gc=False, omit_defaults=True):
    """One job. The job table changes its own in place: copy one to keep it as it is."""

    spec: JobEnqueued
    """What was asked for, with every setting it runs under."""
    offset: int
    """The last event about it."""
    updated_at: str
    """The time of that event."""
    runnable_at: str
    """From when on it may run: the past for a due job, the future for a scheduled one."""
    state: str = PENDING
    attempts: int = 0
    """Runs started in this round, without those handed back unfinished."""
    ending: bool = False
    """It was cancelled while it ran, and its worker has not yet said that its processes ended."""
    worker: str = ""
    """The worker of the last run."""
    slot: int = 0
    """The slot of the last run."""
    token: int = 0
    """The fencing token of the last run: the offset of its `job.claimed`."""
    started_at: str = ""
    """When the last run was claimed."""
    finished_at: str = ""
    """When the last run ended."""
    wait_ms: int = 0
    """How long it waited to be claimed, from the moment it could have run."""
    run_ms: int = 0
    """How long the last run took."""
    exit_code: int | None = None
    """The exit code of the last run; None when it did not exit by itself."""
    error: str = ""
    """Why the last run failed, in one line."""

    @property
    def id(self) -> str:
        return self.spec.job

    @property
    def queue(self) -> str:
        return self.spec.queue

    @property
    def held(self) -> bool:
        """Whether a worker holds it, so that its processes may be alive."""
        return self.state == PROCESSING or self.ending

    @property
    def live(self) -> bool:
        """Whether it may still run or be running."""
        return self.state not in FINISHED or self.ending

    @property
    def runs_max(self) -> int:
        """How many runs a round has in all."""
        return max(1, self.spec.max_retries)
