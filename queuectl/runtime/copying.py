"""A queue copied while it is in use: as of one moment, checked, and there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from queuectl.engines.file import FileLog, compaction
from queuectl.engines.file.evidence import Evidence
from queuectl.engines.file.segments import counting
from queuectl.engines.file.shelf import MAKING
from queuectl.engines.file.verify import Report, Unaudited, verify
from queuectl.errors import (
    Damaged,
    Invalid,
    NoSpace,
    PayloadLost,
    QueuectlError,
    Rejected,
    SyncFailed,
)
from queuectl.home import Home, check_directory_of
from queuectl.host import OUT_OF_SPACE, SYNC_BYTES, Host
from queuectl.jobqueue import Queue
from queuectl.quantities import format_size
from queuectl.runtime.compacting import files

_PATIENCE_S = 60.0
_LOCK = "LOCK"
Progress = Callable[[int, int], None]


def copy(queue: Queue, place: str, progress: Progress = lambda done, total: None) -> Report:
    """Copy the queue to `place`, where nothing may be; returns what was verified of the copy.

    Everything goes along but what lives only with its processes, and snapshots of the past. Others
    may use the queue meanwhile; they wait with compaction and redaction. `progress` hears (bytes,
    bytes in all), of copying and verifying together.

    Raises `Rejected` where there is something at `place`, `NotFound` where its directory is not,
    `Invalid` inside the queue itself, `NoSpace`, `LockTimedOut` where somebody is compacting
    without end, and `Damaged` and `PayloadLost` where the queue is not what it should be: then
    nothing was copied. Raises `SyncFailed` where it is there, and nobody knows for how long.
    """
    host = queue.host
    target = os.path.abspath(place)
    parent, name = os.path.split(target)
    _check(target, parent, queue.home, host)
    making = Home(os.path.join(parent, f".{name}.{host.random(4).hex()}"))
    with compaction.holding(files(queue), _PATIENCE_S):
        try:
            report = _Copy(queue, making, progress).make()
            _refuse_taken(target, host)
            host.rename(making.root, target)
        except OSError as error:
            host.remove_tree(making.root)
            raise _meant(error, target) from None
        except BaseException:
            host.remove_tree(making.root)
            raise
    try:
        host.sync_directory(parent)
    except OSError as error:
        raise SyncFailed(
            f"{target} was made, but the disk failed to store its name ({error.strerror}): it may"
            " be gone once the machine has stopped, so check the disk and copy again"
        ) from None
    return report


def _check(target: str, parent: str, home: Home, host: Host) -> None:
    _refuse_taken(target, host)
    check_directory_of(target, host)
    inside = os.path.join(os.path.realpath(parent), "")
    if inside.startswith(os.path.join(os.path.realpath(home.root), "")):
        raise Invalid(f"{target} is inside of the queue that is to be copied: name another place")


def _refuse_taken(target: str, host: Host) -> None:
    if host.exists(target):
        raise Rejected(f"{target} is there already: name another place, or remove it")


def _meant(error: OSError, target: str) -> QueuectlError:
    if error.errno in OUT_OF_SPACE:
        return NoSpace(f"no space left for {target}: nothing was copied; free some, then try again")
    return QueuectlError(f"{target} could not be made ({error.strerror}): nothing was copied")


class _Copy:
    """One copy in the making, while nobody rewrites what is to be copied."""

    def __init__(self, queue: Queue, to: Home, progress: Progress) -> None:
        self._asked = queue.state.redactions
        if queue.damage is not None:
            raise queue.damage
        self._log = files(queue)
        self._home = queue.home
        self._to = to
        self._host = queue.host
        self._progress = progress
        self._done = self._total = 0

    def make(self) -> Report:
        host, home, to, log = self._host, self._home, self._to, self._log
        verified = sum(map(log.durable_size, self._segments())) + self._size(home.archive)
        rest = (home.snapshots, home.payloads, home.cursors, home.sinks, *self._outputs())
        self._total = 2 * verified + sum(map(self._size, rest))
        self._check_space(self._total - verified)
        for directory in (to.root, to.run, to.output, to.log):
            host.make_directory(directory)
        # First what may not be ahead of the log, and last what the log may not be ahead of.
        self._snapshot()
        self._directory(home.cursors, to.cursors)
        self._directory(home.sinks, to.sinks)
        head = log.head()
        for first in self._segments():
            name = os.path.basename(log.segments.path(first))
            self._file(os.path.join(to.log, name), log.pieces(first))
        host.sync_directory(to.log)
        self._directory(home.archive, to.archive)
        self._directory(home.payloads, to.payloads)
        report = self._verified(head)
        for directory in self._outputs():
            to_directory = os.path.join(to.output, os.path.basename(directory))
            self._directory(directory, to_directory, report.head, durable=False)
        host.sync_directory(to.root)
        return report

    def _segments(self) -> list[int]:
        """Those that count; the last of them may be appended to."""
        active = self._log.active()
        return [first for first in counting(self._log.segments.headers()) if first <= active]

    def _check_space(self, needed: int) -> None:
        parent = os.path.dirname(self._to.root)
        free = self._host.free_bytes(parent)
        if needed > free:
            raise NoSpace(
                f"the copy takes {format_size(needed)}, and {parent} has room for"
                f" {format_size(free)}: free some, or copy to another disk"
            )

    def _outputs(self) -> list[str]:
        """The directories with what jobs have printed."""
        output = self._home.output
        return [os.path.join(output, name) for name in self._host.names(output)]

    def _snapshot(self) -> None:
        """Copy the newest snapshot, so that a start need not read all of the log; it is a cache, so
        not where somebody is just keeping one."""
        directory = self._home.snapshots
        if not self._host.exists(directory):
            return
        lock = self._host.hold(os.path.join(directory, _LOCK))
        if lock is not None:
            try:
                self._directory(directory, self._to.snapshots)
            finally:
                self._host.close(lock)

    def _names(self, directory: str) -> Iterable[str]:
        """The files in a directory that are more than locks and half of something."""
        names = self._host.names(directory)
        return (
            name
            for name in names
            if name != _LOCK
            and not name.startswith(MAKING)
            and os.path.join(directory, name) != self._home.past
        )

    def _size(self, directory: str) -> int:
        names = self._names(directory)
        return sum(self._host.file_size(os.path.join(directory, name)) for name in names)

    def _directory(
        self, directory: str, to: str, head: int | None = None, *, durable: bool = True
    ) -> None:
        """Copy the files in a directory, but for those that go meanwhile, and of runs only those
        that began up to event `head`: others may get their tokens in the copy."""
        host = self._host
        if not host.exists(directory):
            return
        host.make_directory(to)
        for name in self._names(directory):
            run = self._home.run_of(name)
            if head is not None and (run is None or run[1] > head):
                continue
            try:
                fd = host.open(os.path.join(directory, name), os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                pieces = self._log.segments.pieces(fd, 0, host.size(fd))
                self._file(os.path.join(to, name), pieces, durable=durable)
            finally:
                host.close(fd)
        if durable:
            host.sync_directory(to)

    def _file(self, path: str, pieces: Iterator[bytes], *, durable: bool = True) -> None:
        host = self._host
        fd = host.create(path)
        try:
            unsynced = 0
            for piece in pieces:
                host.write_all(fd, piece)
                self._advance(len(piece))
                unsynced += len(piece)
                if durable and unsynced >= SYNC_BYTES:
                    host.fdatasync(fd)
                    unsynced = 0
            if durable:
                host.fsync(fd)
        finally:
            host.close(fd)

    def _advance(self, size: int) -> None:
        # Outputs grow while they are copied.
        self._total = max(self._total, self._done + size)
        self._done += size
        self._progress(self._done, self._total)

    def _verified(self, head: int) -> Report:
        """Check the copy, byte by byte, up to event `head` at least."""
        to, before = self._to, self._done
        log = FileLog(to.log, self._host, archive=to.archive, payloads=to.payloads)

        def progress(done: int, total: int) -> None:
            self._advance(before + done - self._done)

        try:
            report = verify(log, Unaudited, progress, lambda: Evidence(asked=self._asked))
            if report.head < head:
                file = log.segments.path(log.active())
                why = f"event {report.head + 1} is missing"
                raise Damaged(why, file=file, position=log.durable_size(log.active()), offset=head)
        except Damaged as damage:
            # Where the same bytes stand that are still there to be looked at.
            file = damage.file.replace(to.root, self._home.root, 1)
            raise type(damage)(
                damage.why, file=file, position=damage.position, offset=damage.offset
            ) from None
        except PayloadLost as lost:
            raise PayloadLost(str(lost).replace(to.root, self._home.root)) from None
        finally:
            log.close()
        return report
