"""Every fact that can happen to a queue, as a frozen struct; knows nothing of logs or rules.

A *fact* is what the domain decided; it becomes an *event* when a log gives it an offset and a time
(`offset` and `at` stay empty until then). The `tag` is the wire name: it is a storage name and
never changes its meaning. Reading is tolerant: unknown fields are ignored, missing ones take the
default written here, wrong types are refused. A key has one JSON type across all events.
Durations are integer milliseconds, times are `Instant` text, sizes are bytes.
"""

# Without `from __future__ import annotations`: msgspec would have to evaluate the annotations from
# text, for each kind those of its bases as well, which takes 2 ms of every start.
from collections.abc import Sequence
from typing import Union

from queuectl.events.base import AttemptEvent as AttemptEvent
from queuectl.events.base import Event as Event
from queuectl.events.base import FinishEvent as FinishEvent
from queuectl.events.base import JobEvent as JobEvent


class JobEnqueued(
    JobEvent, tag="job.enqueued", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """A job was accepted; every setting it will run under is written here and stays as it is."""

    command: str = ""
    """What to run: a shell command, or for `argv` jobs the same words quoted for reading."""
    argv: list[str] | None = None
    """The words of a command that runs without a shell."""
    cwd: str = "/"
    """The directory it runs in."""
    env: list[str] | None = None
    """`NAME=value` given with the job, added to the worker's environment."""
    secret_env: list[str] | None = None
    """Names whose values the worker must have in its own environment."""
    tags: list[str] | None = None
    """Labels to find the job by."""
    payloads: list[str] | None = None
    """`field=SHA-256` of each field that is too long for the line and kept in `payloads/`: here
    `command` has only its beginning, and others are absent."""
    priority: int = 0
    """Higher runs sooner."""
    run_at: str = ""
    """Not before this time; empty for at once."""
    max_retries: int = 3
    """How many runs it has in all before it is dead; 0 and 1 both mean one."""
    timeout_ms: int = 0
    """How long one run may take; 0 for as long as it likes."""
    timeout_own: bool = False
    """The timeout was given with the job, so a worker's default does not replace it."""
    backoff: str = "exponential"
    """How the delay before the next run grows; see the `backoff` setting."""
    backoff_base: float = 2.0
    """The base of the delay, in seconds."""
    backoff_base_own: bool = False
    """The base was given with the job, so a worker's default does not replace it."""
    backoff_max_ms: int = 0
    """The longest delay between two runs; 0 for no limit."""
    jitter: float = 0.0
    """Each delay is stretched by a chance share of itself, up to this fraction."""
    actor: str = ""
    """Who asked for it: user@host."""


class JobClaimed(
    AttemptEvent, tag="job.claimed", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """A worker took the job under a lease; this event's own offset is the fencing token."""

    slot: int = 0
    """Which of the worker's slots runs it, from 1."""
    until: str = ""
    """When the lease runs out unless it is renewed."""


class JobCompleted(
    FinishEvent, tag="job.completed", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """The command ended with exit code 0."""


class JobFailed(
    FinishEvent, tag="job.failed", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """The command did not succeed; `job.retried` or `job.dead` follows in the same batch."""

    reason: str = ""
    """Why: `exit`, `signal`, `timeout`, `output-limit` or `start`."""
    error: str = ""
    """One line for people: the last line of standard error, or what went wrong instead."""


class JobRetried(
    JobEvent, tag="job.retried", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """Another run is scheduled after a failed one."""

    run_at: str = ""
    """When the next run is due."""
    delay_ms: int = 0
    """The delay that backoff gave, counted from the failure."""


class JobDead(JobEvent, tag="job.dead", frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """All its runs are used up; it rests in the dead-letter queue."""

    error: str = ""
    """Why the last run failed."""


class JobRequeued(
    JobEvent, tag="job.requeued", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """Somebody asked for a new round of runs; attempts are counted from 0 again."""

    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class JobReleased(
    AttemptEvent, tag="job.released", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """A worker handed the job back unfinished; the run is not counted."""

    reason: str = ""
    """Why: the worker was stopping, or could not start the job for want of space."""


class JobCancelled(
    JobEvent, tag="job.cancelled", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """Somebody called the job off; if it was running, its process group is ended."""

    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class JobPruned(
    JobEvent, tag="job.pruned", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """The queue was told to forget the job; its id may be used again."""

    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class JobRedacting(
    JobEvent, tag="job.redacting", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """Somebody asked that values be taken out of events of this job. From here on they count as
    taken out; the files follow."""

    fields: list[str] | None = None
    """Whose values: `command` with `argv`, `cwd`, `env`, `secret_env`, `tags`, `error`, `reason`,
    `actor`."""
    offsets: list[int] | None = None
    """The events that have such values."""
    lines: list[str] | None = None
    """For each the SHA-256 of a zero byte and the body of its line as it is from then on."""
    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class JobRedacted(
    JobEvent, tag="job.redacted", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """Nothing of what was to be taken out is left in the log and its archive."""


class LeaseRenewed(Event, tag="lease.renewed", frozen=True, kw_only=True, omit_defaults=True):
    """A worker still lives and keeps every lease it holds."""

    worker: str = ""
    """The id of the worker."""
    until: str = ""
    """When its leases run out unless they are renewed again."""


class LeaseExpired(
    AttemptEvent, tag="lease.expired", frozen=True, kw_only=True, omit_defaults=True, gc=False
):
    """A run was lost with its worker; it counts, and the job may be claimed again at once."""

    reason: str = ""
    """How it was noticed: the worker died, stopped renewing, or the machine restarted."""


class WorkerStarted(Event, tag="worker.started", frozen=True, kw_only=True, omit_defaults=True):
    """A worker process began to take jobs."""

    worker: str = ""
    """The id of the worker."""
    host: str = ""
    """The name of the machine it runs on."""
    boot: str = ""
    """The boot id of that machine: after a restart no lease of this worker can be alive."""
    pid: int = 0
    """Its process id."""
    slots: int = 1
    """How many jobs it runs at a time."""
    queues: list[str] | None = None
    """The queues it serves; absent for all."""


class WorkerStopRequested(
    Event, tag="worker.stop_requested", frozen=True, kw_only=True, omit_defaults=True
):
    """Somebody asked a worker to finish what it runs and stop."""

    worker: str = ""
    """The id of the worker."""
    actor: str = ""
    """Who asked: user@host."""


class WorkerStopped(Event, tag="worker.stopped", frozen=True, kw_only=True, omit_defaults=True):
    """A worker process takes no more jobs."""

    worker: str = ""
    """The id of the worker."""
    reason: str = ""
    """Why: it was asked to, it had nothing left to run, or it was found dead."""


class SettingChanged(Event, tag="setting.changed", frozen=True, kw_only=True, omit_defaults=True):
    """A setting has a new value for jobs enqueued from now on."""

    key: str = ""
    """The name of the setting."""
    value: str = ""
    """Its new value, as text."""
    actor: str = ""
    """Who changed it: user@host."""


class QueuePaused(Event, tag="queue.paused", frozen=True, kw_only=True, omit_defaults=True):
    """No job of this queue is claimed until it is resumed."""

    queue: str = "default"
    """The queue."""
    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class QueueResumed(Event, tag="queue.resumed", frozen=True, kw_only=True, omit_defaults=True):
    """Jobs of this queue are claimed again."""

    queue: str = "default"
    """The queue."""
    actor: str = ""
    """Who asked: user@host."""
    reason: str = ""
    """Why, in their words."""


class LogCompacted(Event, tag="log.compacted", frozen=True, kw_only=True, omit_defaults=True):
    """Stands for events that were taken out of a segment: how many, and what they counted for.

    It has the offset and the time of the last of them; they themselves are in the archive.
    """

    compaction: int = 0
    """As in the first line of the segment: who began to fold the log before that begins anew."""
    events: int = 0
    """How many events it stands for."""
    since: str = ""
    """The time of the first of them."""
    enqueued: int = 0
    """How many jobs were enqueued by them."""
    runs: int = 0
    """How many runs began; less those that were handed back, so it may be negative."""
    completed: int = 0
    """How many runs completed."""
    failed_runs: int = 0
    """How many runs failed."""
    lost_runs: int = 0
    """How many runs were lost with their workers."""
    retries: int = 0
    """How many retries were scheduled."""
    dead: int = 0
    """How many jobs died."""
    cancelled: int = 0
    """How many jobs were cancelled."""
    waits: list[int] | None = None
    """Waiting times in milliseconds, each the lower edge of a bucket; rising."""
    waits_counts: list[int] | None = None
    """How many ended runs had waited so long, bucket by bucket."""
    waits_total_ms: int = 0
    """The sum of all waiting times."""
    waits_max_ms: int = 0
    """The longest waiting time."""
    durations: list[int] | None = None
    """Running times, in the same way."""
    durations_counts: list[int] | None = None
    """How many ended runs took so long, bucket by bucket."""
    durations_total_ms: int = 0
    """The sum of all running times."""
    durations_max_ms: int = 0
    """The longest running time."""


class LogRepaired(Event, tag="log.repaired", frozen=True, kw_only=True, omit_defaults=True):
    """Stands for events that were lost with damaged bytes, or tells at the end of the log that
    somebody had it repaired."""

    lost_from: int = 0
    """The first event that is lost; the last one is this event's own offset. 0 for none."""
    file: str = ""
    """The name of the file that was damaged."""
    repaired_at: str = ""
    """When it was repaired: `at` is that of the event before."""
    actor: str = ""
    """Who asked for it: user@host."""
    reason: str = ""
    """What was wrong."""


class SinkLost(Event, tag="sink.lost", frozen=True, kw_only=True, omit_defaults=True):
    """Compaction waits no longer for a sink to which the log is shipped: it lags too far behind."""

    sink: str = ""
    """The name of the sink."""
    shipped: int = 0
    """The last event that had been shipped to it; later ones may only be in the archive."""
    reason: str = ""
    """How far it lagged, and how far it may."""


Fact = Event
"""The same structs, before the log has given them an offset and a time."""

AnyEvent = Union[  # noqa: UP007 - msgspec reads it at run time
    JobEnqueued, JobClaimed, JobCompleted, JobFailed, JobRetried, JobDead, JobRequeued, JobReleased,
    JobCancelled, JobPruned, JobRedacting, JobRedacted, LeaseRenewed, LeaseExpired, WorkerStarted,
    WorkerStopRequested, WorkerStopped, SettingChanged, QueuePaused, QueueResumed, LogCompacted,
    LogRepaired, SinkLost,
]  # fmt: skip

Facts = Sequence[Fact]


def wire_name(event: Event | type[Event]) -> str:
    """The name by which this kind of event stands in the log."""
    kind = event if isinstance(event, type) else type(event)
    return str(kind.__struct_config__.tag)
