"""What events have in common, whatever they tell; knows no particular one."""

# Without `from __future__ import annotations`, for the reason that the vocabulary gives.
import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every event carries: its place in the log and when it was recorded."""

    offset: int = 0
    """Place in the log, from 1, strictly rising; 0 while it is only a fact."""
    at: str = ""
    """When the log recorded it; never runs backwards from one event to the next."""
    more: bool = False
    """The next event belongs to the same batch: all of a batch happened, or none."""


class JobEvent(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every event about one job carries."""

    job: str = ""
    """The id of the job."""
    # The defaults are values that never occur: so both stand on every line.
    queue: str = ""
    """The queue that the job is in."""
    attempt: int = -1
    """The run this is about, from 1; 0 before the first."""
    redacted: list[str] | None = None
    """The fields whose values were taken out of this event, as somebody asked."""
    original: str = ""
    """Where values were taken out, the SHA-256 of a zero byte and the body of the line before."""


class AttemptEvent(JobEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every event about one run of a job carries."""

    worker: str = ""
    """The id of the worker that ran it."""
    token: int = 0
    """The fencing token: the offset of the `job.claimed` event that began the run."""


class FinishEvent(AttemptEvent, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the end of a run carries."""

    exit_code: int | None = None
    """The exit code of the command; absent when it did not exit by itself."""
    wait_ms: int = 0
    """From the moment the job could have run to the moment it was claimed."""
    run_ms: int = 0
    """From start to end of the command, by a clock that nobody can set."""
    cpu_ms: int = 0
    """Processor time of the command and the children it waited for, user and system."""
    stdout_bytes: int = 0
    """Bytes the command wrote to its standard output."""
    stderr_bytes: int = 0
    """Bytes the command wrote to its standard error."""
    escaped: int = 0
    """Processes it had left behind outside its process group; they were ended too."""
