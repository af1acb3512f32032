"""Compacting the log of a queue: what retention lets go, as far as everybody has read, and for how
long the archive has it then; knows no formats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from queuectl import instants
from queuectl.engines.file import FileLog, compaction, cursors, sweeping
from queuectl.engines.file.compaction import Rewriting
from queuectl.errors import QueuectlError
from queuectl.events.log import Batch
from queuectl.events.vocabulary import SinkLost
from queuectl.jobqueue import Queue
from queuectl.projections.obsolescence import Obsolescence
from queuectl.runtime.sinks import Sinks

_LEAST_SHARE = 1 / 3
_FORGOTTEN_SHARE = 1 / 10
"""A compaction reads all of the log: it should find some of it worth that."""


def compact(
    queue: Queue,
    *,
    thrifty: bool = False,
    dry_run: bool = False,
    without: Collection[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Rewriting]:
    """Take out of the log what nobody needs; gives each file as it is put in place.

    Sinks that lag further behind than they may are waited for no longer: the log says so.
    `thrifty` leaves alone what would shrink by less than a third. The jobs that were enqueued at
    the offsets in `without` are taken for forgotten. Raises what
    `queuectl.engines.file.compaction.compact` does.
    """
    log = files(queue)
    sinks = Sinks(queue.home, queue.host)
    overdue = dict(sinks.overdue(log, queue.now()))
    if not dry_run:
        _give_up(queue, sinks, overdue)
    obsolescence = Obsolescence(queue.state, without)
    cursor = cursors.least(
        queue.home.cursors,
        queue.host,
        log.head,
        lost={*sinks.lost(), *overdue},
        sealed=sinks.names(),
    )
    yield from compaction.compact(
        log,
        obsolescence,
        until=obsolescence.known if cursor is None else cursor,
        least_share=_LEAST_SHARE if thrifty else 0.0,
        dry_run=dry_run,
        progress=progress,
    )


def is_worthwhile(queue: Queue) -> bool:
    """Whether many of the jobs that the log tells of were forgotten since it was compacted."""
    state = queue.state
    there = sum(state.counts.values())
    forgotten = state.statistics.enqueued - there
    noted = compaction.noted(files(queue))
    # Less than was noted: then that was another log, or it was repaired since.
    since = forgotten - noted if noted <= forgotten else forgotten
    return since > 0 and since >= _FORGOTTEN_SHARE * (there + since)


def _give_up(queue: Queue, sinks: Sinks, overdue: Mapping[str, str]) -> None:
    """Wait for those sinks no longer, and say so where nobody can overlook it."""
    for name, why in overdue.items():
        lost = SinkLost(sink=name, shipped=sinks.waited_for(name, queue.log.head), reason=why)
        queue.transact(partial(list, [Batch([lost])]))
        sinks.mark_lost(name, why)


def expire(queue: Queue, *, dry_run: bool = False) -> int:
    """Take out of the archive what it has kept for as long as the settings say; returns how many
    files. Raises `LockTimedOut` where somebody else is compacting."""
    kept_ms = queue.state.settings.archive_retention_ms
    if not kept_ms:
        return 0
    before = instants.later(queue.now(), -kept_ms)
    if dry_run:
        return len(compaction.expiring(files(queue), before))
    expired = compaction.expire(files(queue), before)
    if expired:
        # They hold what is to be gone for ever, too.
        queue.past.drop()
    return len(expired)


def sweep(queue: Queue) -> int:
    """Remove what was kept of jobs that neither the log nor its archive knows any more; returns how
    many files. Raises `LockTimedOut` where somebody else is compacting."""
    log = files(queue)
    with compaction.holding(log):
        return len(sweeping.sweep(log))


def files(queue: Queue) -> FileLog:
    """The log of a queue, as files. Raises `QueuectlError` where it is kept elsewhere."""
    log = queue.log
    if not isinstance(log, FileLog):
        raise QueuectlError("this log is not kept in files")
    return log
