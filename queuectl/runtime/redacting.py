"""Taking values out of the events of a job, for good: the log says first who asked, and then its
files, those of the archive and all that was made from them are made anew without the values."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from queuectl.domain import commands as c
from queuectl.domain import payloads
from queuectl.domain.decide import decide
from queuectl.domain.redaction import held, redacted
from queuectl.domain.submission import check_reason
from queuectl.engines.file import FileLog, compaction
from queuectl.engines.file.redaction import Redaction
from queuectl.engines.file.sweeping import sweep
from queuectl.errors import LockTimedOut, NotFound, QueuectlError, Rejected
from queuectl.events import merkle
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.host import Host
from queuectl.jobqueue import Queue
from queuectl.projections import keeping
from queuectl.runtime.compacting import files

_PATIENCE_S = 60.0
"""To write a snapshot takes no longer."""
_LINES_MAX = 100
"""Told of in one event, so that its own line stays short."""


class Found(NamedTuple):
    """An event that has values to be taken out."""

    event: v.JobEvent
    names: list[str]
    """The fields of it that have them."""


def find(queue: Queue, job: str, fields: Collection[str]) -> list[Found]:
    """The events of a job that have such values. Raises `NotFound`, `Rejected` where a job that is
    not over needs them, and `QueuectlError` where some may stand in a file that cannot be read."""
    found = _having(_history(queue, job), fields)
    if found:
        asked = v.JobRedacting(job=job, fields=sorted(fields))
        decide(queue.state.jobs.get(job), c.Redact(job=job, facts=[asked]))
    return found


def _having(events: Iterable[v.JobEvent], fields: Collection[str]) -> list[Found]:
    return [Found(event, names) for event in events if (names := held(event, fields))]


def _history(queue: Queue, job: str) -> list[v.JobEvent]:
    def missing(first: int, last: int, why: str) -> None:
        if why:
            raise QueuectlError(
                f"values may stand in a file that cannot be read: {why}; put it right or take it"
                " away, then try again"
            )

    events = [event for event in queue.history(job, missing) if isinstance(event, v.JobEvent)]
    if not events:
        raise NotFound(f"there is no job {job}")
    return events


def redact(
    queue: Queue,
    job: str,
    fields: Collection[str],
    *,
    reason: str = "",
) -> list[str]:
    """Take the values of these fields out of all events of a job so far; returns the files that
    were changed or removed.

    Once the log says so it is decided: what is interrupted then, `finish` does, or asking again.
    Raises what `find` does, `LockTimedOut` where somebody else rewrites the log, `Damaged`,
    `NoSpace` and `SyncFailed`.
    """
    log, reason = files(queue), check_reason(reason)
    find(queue, job, fields)
    with compaction.holding(log):
        with log.exclusive():
            # What somebody wrote who died before they could say so, is there from now on.
            queue.catch_up()
        events = _history(queue, job)
        found = _having(events, fields)
        if found:
            _ask(queue, log, events[-1], found, fields, reason)
        return _carry_out(queue, log, job)


def finish(queue: Queue) -> int:
    """Finish what was asked for and interrupted; returns for how many jobs."""
    done: set[str] = set()
    # To say that one is done may bring to light another, of somebody who died as they asked.
    while jobs := sorted(queue.state.redacting - done):
        log = files(queue)
        with compaction.holding(log):
            for job in jobs:
                _carry_out(queue, log, job)
        done.update(jobs)
    return len(done)


def _ask(
    queue: Queue,
    log: FileLog,
    last: v.JobEvent,
    found: list[Found],
    fields: Collection[str],
    reason: str,
) -> None:
    """Say in the log what is to be taken out; `last` is the last event about the job."""
    job = last.job
    wanted = _wanted(queue, job)
    for event, _ in found:
        wanted.setdefault(event.offset, set()).update(fields)
    offsets = [event.offset for event, _ in found]
    # Read from every file that has them: where one is damaged, nothing is begun.
    bodies = _redaction(log, wanted).bodies()
    facts = [
        v.JobRedacting(
            job=job,
            queue=last.queue,
            attempt=last.attempt,
            fields=sorted(fields),
            offsets=some,
            lines=[merkle.leaf(bodies[offset]).hex() for offset in some],
            actor=queue.actor,
            reason=reason,
        )
        for some in (offsets[at : at + _LINES_MAX] for at in range(0, len(offsets), _LINES_MAX))
    ]

    def batches() -> list[Batch]:
        if next(log.read_kept(job, last.offset + 1, log.head()), None) is not None:
            raise Rejected(f"something has happened to job {job} just now: try again")
        known = queue.known.jobs.get(job)
        return [Batch(decide(known, c.Redact(job=job, facts=facts)), {job: last.offset})]

    queue.transact(batches)


def _wanted(queue: Queue, job: str) -> dict[int, set[str]]:
    """By offset the fields that are to be taken out, as far as the log says so."""
    wanted: dict[int, set[str]] = {}
    for asked in queue.state.redactions:
        if asked.job == job:
            for offset in asked.offsets or ():
                wanted.setdefault(offset, set()).update(asked.fields or ())
    return wanted


def _redaction(log: FileLog, wanted: Mapping[int, set[str]]) -> Redaction:
    return Redaction(log, wanted, lambda event: redacted(event, wanted.get(event.offset, ())))


def _carry_out(queue: Queue, log: FileLog, job: str) -> list[str]:
    """Make all files anew that still have what the log says is to be taken out of this job."""
    wanted = _wanted(queue, job)
    if not wanted:
        return []
    if max(wanted) >= log.active():
        log.seal()
    changed = _redaction(log, wanted).carry_out()
    changed += sweep(log)
    with log.exclusive():
        # What somebody was making when they died.
        log.segments.remove_leftovers()
    for directory in (queue.home.snapshots, queue.home.past):
        _drop_snapshots(directory, queue.host)
    if job in queue.known.redacting:
        _tell_done(queue, job)
    return changed


def _drop_snapshots(directory: str, host: Host) -> None:
    """Take away all that are kept there, also what somebody is just making."""
    if not host.exists(directory):
        return
    lock = host.hold_within(os.path.join(directory, "LOCK"), _PATIENCE_S)
    if lock is None:
        raise LockTimedOut(f"somebody else keeps a snapshot in {directory}: let them finish")
    try:
        keeping.remove(directory, host, lambda name: name not in ("LOCK", "past"))
        host.sync_directory(directory)
    finally:
        host.close(lock)


def _tell_done(queue: Queue, job: str) -> None:
    last = [asked for asked in queue.known.redactions if asked.job == job][-1]
    fact = v.JobRedacted(job=job, queue=last.queue, attempt=last.attempt)
    queue.transact(lambda: [Batch([fact])])


def asides(queue: Queue) -> list[str]:
    """What repairs and recoveries have kept as it was: values may stand there, too."""
    directory = queue.home.log
    names = sorted(queue.host.names(directory))
    return [os.path.join(directory, name) for name in names if name.startswith(("aside-", "cut-"))]


def shared(queue: Queue, found: Iterable[Found]) -> list[str]:
    """What these events named that is kept, and is there yet because other jobs have it, too."""
    specs = [event for event, _ in found if isinstance(event, v.JobEnqueued)]
    digests = {digest for spec in specs for digest in payloads.named(spec).values()}
    paths = [os.path.join(queue.home.payloads, digest) for digest in sorted(digests)]
    return [path for path in paths if queue.host.exists(path)]


def outputs(queue: Queue, job: str) -> list[str]:
    """The files that hold what a job has printed, as far as they are there."""
    runs = [event.offset for event in queue.history(job) if isinstance(event, v.JobClaimed)]
    paths = [queue.home.output_file(job, run, stream) for run in runs for stream in ("out", "err")]
    return [path for path in paths if queue.host.exists(path)]


def remove(queue: Queue, paths: Iterable[str]) -> None:
    """Remove files for good."""
    for path in paths:
        if queue.host.exists(path):
            queue.host.unlink(path)
