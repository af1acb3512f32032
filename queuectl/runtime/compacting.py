"""Compacting the log of a queue: what retention lets go, as far as everybody has read; knows no
formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from queuectl import instants
from queuectl.engines.file import FileLog, cursors
from queuectl.engines.file.compaction import Rewriting, expire
from queuectl.engines.file.compaction import compact as compact_log
from queuectl.errors import QueuectlError
from queuectl.jobqueue import Queue
from queuectl.projections.retention import Retention

_LEAST_SHARE = 1 / 3


def compact(
    queue: Queue,
    *,
    thrifty: bool = False,
    dry_run: bool = False,
    archive_retention_ms: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Rewriting]:
    """Take out of the log what nobody needs; gives each file as it is put in place.

    `thrifty` leaves alone what would shrink by less than a third. `archive_retention_ms` (None: for
    ever) is how long the archive keeps what is older. Raises what
    `queuectl.engines.file.compaction.compact` does.
    """
    log = queue.log
    if not isinstance(log, FileLog):
        raise QueuectlError("this log is not kept in files: there is nothing to compact")
    retention = Retention(queue.state)
    if queue.damage is not None:
        raise queue.damage
    cursor = cursors.least(queue.home.cursors, queue.host)
    yield from compact_log(
        log,
        retention,
        until=retention.known if cursor is None else cursor,
        least_share=_LEAST_SHARE if thrifty else 0.0,
        dry_run=dry_run,
        progress=progress,
    )
    if archive_retention_ms is not None and not dry_run:
        expire(log, instants.later(queue.now(), -archive_retention_ms))
