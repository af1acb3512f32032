"""Making a snapshot: of the present, which takes the place of the one before, or of the past, which
stands beside others. Knows not how events are stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from zlib import crc32

import msgspec

from queuectl import __version__
from queuectl.domain.job import Job
from queuectl.engines import tables
from queuectl.engines.tables import Spoiled, Table
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections.snapshot import PAST, Head, Snapshot, head_path, read_head
from queuectl.projections.state import State

_FANOUT = 4
"""A table is merged with the next older one unless that one is more than so many times as long."""
_encode = msgspec.json.Encoder().encode


def save(
    state: State, bookmark: str, home: Home, host: Host, *, outdated: Callable[[], bool] = bool
) -> bool:
    """Make `state` the snapshot, unless somebody else is at it or has been since it began.

    `bookmark` is the place in the log that `state` has got to; `outdated` is asked whether it knows
    what it must not know any more. Loads all jobs that are not over. Returns whether it was kept,
    which one that is not newer is not. Raises `OSError` and `Spoiled`; then the one before stands.
    """
    if state.jobs.base is not None and not state.tail:
        return False
    if host.make_directory(home.snapshots):
        host.sync_directory(home.root)
    lock = host.hold(os.path.join(home.snapshots, "LOCK"))
    if lock is None:
        return False
    try:
        there = read_head(head_path(home), host)
        if (there.offset if there is not None else 0) != state.replaces or outdated():
            return False
        head = write(state, bookmark, home.snapshots, host)
        _remove_others(head, home, host)
        return True
    finally:
        host.close(lock)


def write(
    state: State,
    bookmark: str,
    directory: str,
    host: Host,
    *,
    lost: int | None = None,
) -> Head:
    """Write `state` down as `HEAD`; or as one of the past, for which `lost` is given. Those stand
    beside each other, each with what has ended since the one before, and packed, as they are
    hardly ever read.

    Raises `OSError` and `Spoiled`; then no file is left.
    """
    state.load_live()
    # In the names of all that is made for it: no name twice, not even after a crash.
    mark = f"{state.offset:020d}-{host.random(4).hex()}"
    try:
        head = _write_tables(state, mark, bookmark, directory, host, lost)
        name = "HEAD" if lost is None else f"{PAST}{mark}"
        _publish(head, mark, os.path.join(directory, name), host)
    except (OSError, Spoiled):
        # Else a full disk would be fuller after every try.
        remove(directory, host, lambda name: mark in name)
        raise
    return head


def _write_tables(
    state: State, mark: str, bookmark: str, directory: str, host: Host, lost: int | None
) -> Head:
    base = state.jobs.base
    since = base.offset if base is not None else 0
    rows = sorted(state.jobs.rows.values(), key=lambda job: job.spec.offset)
    live = [job for job in rows if job.live]
    ended = [job for job in rows if not job.live and job.offset > since]
    _write(host, directory, f"live-{mark}", live, packed=lost is not None)
    gone = [number for number in state.jobs.hidden if number <= since]
    finished = list(base.head.finished) if base is not None else []
    if ended or gone:
        name = f"finished-{mark}"
        _write(host, directory, name, ended, gone, packed=lost is not None)
        finished.insert(0, name)
        if lost is None:
            finished = _merge(host, directory, finished, base)
    return Head(
        version=__version__,
        offset=state.offset,
        bookmark=bookmark,
        compactions=state.compactions,
        settings=state.settings,
        paused=sorted(state.paused),
        queues=state.queues,
        statistics=state.statistics.summary(),
        redactions=state.redactions,
        redacting=sorted(state.redacting),
        redacted=state.redacted,
        workers=[msgspec.structs.replace(row, holding={}) for row in state.workers.rows.values()],
        held=[job.id for job in live if job.held],
        live=f"live-{mark}",
        finished=finished,
        lost=lost or 0,
    )


def _write(
    host: Host,
    directory: str,
    name: str,
    jobs: list[Job],
    gone: Collection[int] = (),
    *,
    packed: bool,
) -> None:
    tables.write(
        host,
        os.path.join(directory, name),
        (tables.entry(job.spec.offset, _encode(job)) for job in jobs),
        sorted((job.id, job.spec.offset) for job in jobs),
        gone,
        packed=packed,
    )


def _merge(host: Host, directory: str, names: list[str], base: Snapshot | None) -> list[str]:
    """Merge the first of these tables with those of `base` it is not much shorter than; returns
    what stands in their place."""
    name = names[0]
    together = [Table(host, os.path.join(directory, name))]
    size = len(together[0])
    for table in base.finished_tables if base is not None else ():
        if len(table) > _FANOUT * size:
            break
        together.append(table)
        size += len(table)
    try:
        left = names[len(together) :]
        if len(together) > 1:
            name = f"{name}-merged"
            path = os.path.join(directory, name)
            tables.write_merged(host, path, together, last=not left)
    finally:
        together[0].close()
    return [name, *left]


def _publish(head: Head, mark: str, path: str, host: Host) -> None:
    text = _encode(head)
    directory = os.path.dirname(path)
    temporary = os.path.join(directory, f"new-{mark}")
    fd = host.create(temporary)
    try:
        host.write_all(fd, b"%08x\n%s" % (crc32(text), text))
        host.fsync(fd)
    finally:
        host.close(fd)
    # The tables' names first: a head whose tables are not there is worth nothing.
    host.sync_directory(directory)
    host.rename(temporary, path)


def _remove_others(head: Head, home: Home, host: Host) -> None:
    """Remove what a published head does not name. Who reads those tables still has them open."""
    kept = {"LOCK", "HEAD", os.path.basename(home.past), head.live, *head.finished}
    try:
        # Until the new head is durable, the old one may come back and want its tables.
        host.sync_directory(home.snapshots)
    finally:
        remove(home.snapshots, host, lambda name: name not in kept)


def remove(directory: str, host: Host, wanted: Callable[[str], bool]) -> None:
    """Remove files by their names."""
    for name in host.names(directory):
        if wanted(name):
            host.unlink(os.path.join(directory, name))
