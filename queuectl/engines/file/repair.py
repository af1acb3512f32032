"""Repair of a damaged log, for people who ask for it: what can be believed stays, what is lost is
said in the log itself, and every file that is changed is kept aside as it was. Knows no jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from queuectl import instants
from queuectl.engines.file import mark as marks
from queuectl.engines.file.compaction import holding
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.mending import Plan, Planning
from queuectl.errors import LockTimedOut

_MAKING = "repair-"


@contextmanager
def repairing(log: FileLog) -> Iterator[Repair]:
    """Keep everybody from changing the log meanwhile. Raises `LockTimedOut` at once."""
    host = log.host
    fd = host.open(log.lock_path, os.O_RDWR | os.O_CREAT)
    try:
        if not host.lock(fd, 0.0):
            holder = host.lock_holder(fd)
            raise LockTimedOut(
                f"the log {log.directory} is in use"
                + (f" by process {holder}" if holder else "")
                + ": stop whoever uses the queue, then try again"
            )
        with holding(log):
            yield Repair(log, fd)
    finally:
        host.close(fd)


class Repair:
    """A log that nobody else changes; `lock` is its locked lock file."""

    def __init__(self, log: FileLog, lock: int) -> None:
        self._log = log
        self._host = log.host
        self._segments = log.segments
        self._lock = lock

    def plan(self, actor: str) -> Plan:
        """What would be done; changes nothing. Raises `Newer` where not all of it can be read."""
        mark = marks.decode(self._host.read_at(self._lock, marks.SIZE, 0))
        if mark is not None and mark.state == marks.UNSURE:
            mark = None  # it tells of nothing that anybody was ever told of
        return Planning(self._log, mark, actor).plan()

    def carry_out(self, plan: Plan) -> str:
        """Do it; returns the directory in which the files are as they were.

        A crash leaves a log that can be repaired again. Raises `NoSpace` and `SyncFailed`.
        """
        host, segments = self._host, self._segments
        segments.remove_leftovers(_MAKING)
        name = f"aside-{instants.from_us(host.now_us())[:19].replace(':', '')}"
        aside = os.path.join(self._log.directory, f"{name}-{host.random(4).hex()}")
        host.make_directory(aside)
        there = set(segments.list())
        paths = [segments.path(first) for first in plan.contents if first in there]
        paths += [self._log.archive.path(first) for first in plan.archives]
        for path in (*paths, self._log.lock_path):
            self._copy(path, aside)
        for directory in (aside, self._log.directory):
            segments.sync(host.sync_directory, directory)
        self._log.archive.remove(plan.archives)
        for first, pieces in plan.contents.items():
            segments.put(first, pieces(), making=_MAKING)
        if plan.mark is not None:
            host.write_at(self._lock, plan.mark.encode(), 0)
        return aside

    def _copy(self, path: str, directory: str) -> None:
        host, segments = self._host, self._segments
        source = host.open(path, os.O_RDONLY)
        try:
            pieces = segments.pieces(source, 0, host.size(source))
            copy = segments.store(os.path.join(directory, os.path.basename(path)), pieces)
        finally:
            host.close(source)
        try:
            segments.sync(host.fsync, copy)
        finally:
            host.close(copy)
