"""The lock file of a log and the mark in it: how far the log is durable, as a process knows it."""

from __future__ import annotations

import errno
import os

from queuectl.engines.file import mark as marks
from queuectl.engines.file import recovery
from queuectl.engines.file.mark import OK, UNSURE, Mark
from queuectl.engines.file.segments import Segments
from queuectl.errors import Damaged, LockTimedOut, QueuectlError
from queuectl.host import Host, Identity

LOCK_TIMEOUT_S = 30.0
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_MARK_READS = 100
"""How often a mark that does not verify is read: it may be being written this very moment."""


class Committed:
    """Of one log in one directory. It is only read here, but that what a restart has left is made
    durable before anybody believes it."""

    def __init__(self, directory: str, host: Host) -> None:
        self.directory = directory
        self.segments = Segments(directory, host)
        self.lock_path = os.path.join(directory, "LOCK")
        self.lock_timeout_s = LOCK_TIMEOUT_S
        self.host = host
        self._boot = host.boot_id()
        self._lock_fd = -1
        self._lock_identity: Identity = (0, 0)
        self._is_read_only = False
        self._locks = 0
        """How many times this process holds the lock: then the mark stands still."""
        self._mark: Mark | None = None
        self._mark_bytes = b""
        self._recorded: Mark | None = None
        """The mark that the lock file holds, whether it counts within this boot or not."""
        self._broken: QueuectlError | None = None
        """Why nothing may be appended through this handle any more."""

    def _drop_deleted(self) -> bool:
        """Let go of a lock file that somebody has deleted, and of what was known by its mark;
        whether there was one. It keeps nobody out any more, and its mark stands still."""
        if self._lock_fd < 0 or self.host.is_at(self.lock_path, self._lock_identity):
            return False
        self.close()
        self._mark, self._mark_bytes = None, b""
        return True

    def _find_mark(self) -> None:
        for _ in range(_MARK_READS):
            data = self._read_mark()
            if data and data == self._mark_bytes and self._mark:
                return
            recorded = mark = marks.decode(data)
            damage = None
            if recorded is None or not recorded.counts_in(self._boot):
                mark, damage = self._derive_mark()
                if mark and self._lock_fd >= 0 and not (recorded and recorded.vouches_for(mark)):
                    self._settle(mark, data, is_damaged=damage is not None)
                if self._read_mark() != data:
                    # Somebody has begun to append: what was seen may not be durable.
                    continue
            break
        self._broken = damage or self._broken
        self._mark_bytes, self._mark, self._recorded = data, mark, recorded

    def _counts(self) -> bool:
        """Whether the mark is what the lock file says; or only what lies on disk, which nobody may
        believe yet."""
        return self._recorded is not None and self._recorded.counts_in(self._boot)

    def _settle(self, mark: Mark, found: bytes, *, is_damaged: bool) -> None:
        """Have durable what no mark vouches for, before anybody believes it; `found` is what the
        lock file holds. Nobody has acknowledged what lies there without a lock file."""
        if self._locks:  # then a copy is made, before anything is appended
            return
        recorded = marks.decode(found)
        is_writable = not (is_damaged or self._is_read_only)
        if is_writable and recorded is not None and recorded.state != OK:
            # A sync may have failed, and the next one would not tell. A copy does not depend on it.
            self._copy()
            return
        self._lock_file()
        try:
            if self._read_mark() != found:
                return
            if is_writable:
                self._write_mark(mark._replace(state=UNSURE).encode())
            self.segments.settle(mark.segment)
            if is_writable:
                self._write_mark(found)
        finally:
            self.host.unlock(self._lock_fd)

    def _copy(self) -> None:
        """Have what the last segment holds in another file, durably, and a mark that says so."""
        raise NotImplementedError

    def _lock_file(self) -> None:
        if self._lock_fd < 0:
            self._open_lock_file(os.O_RDWR | os.O_CREAT)
        if not self.host.lock(self._lock_fd, self.lock_timeout_s):
            holder = self.host.lock_holder(self._lock_fd)
            raise LockTimedOut(
                f"the log {self.directory} has been locked for {self.lock_timeout_s:g} s"
                + (f" by process {holder}" if holder else "")
                + ": see what it does, or try again"
            )

    def _open_lock_file(self, flags: int) -> None:
        self._lock_fd = self.host.open(self.lock_path, flags)
        self._is_read_only = flags == os.O_RDONLY
        self._lock_identity = self.host.identity(self._lock_fd)

    def _read_mark(self) -> bytes:
        """The start of the lock file; empty where there is none."""
        if self._lock_fd < 0:
            try:
                self._open_lock_file(os.O_RDWR)
            except FileNotFoundError:
                return b""
            except OSError as error:
                if error.errno not in _READ_ONLY:
                    raise
                self._open_lock_file(os.O_RDONLY)
        for _ in range(_MARK_READS):
            data = self.host.read_at(self._lock_fd, marks.SIZE, 0)
            if not data or data == self._mark_bytes or marks.decode(data):
                break
        return data

    def _write_mark(self, data: bytes) -> None:
        self.host.write_at(self._lock_fd, data, 0)

    def _derive_mark(self) -> tuple[Mark | None, Damaged | None]:
        """Where the log ends by what lies on disk, when there is no mark to go by; and why nothing
        may be appended there."""
        segments = self.segments.list()
        if not segments:
            return None, None
        last = segments[-1]
        fd = self.segments.open(last)
        size = self.host.size(fd)
        try:
            header, crc, position = self.segments.header(fd, last)
            if header.sealed_sha256:
                # Only what was sealed is rewritten.
                raise self._damage("the file that followed is gone", last, size, header.covers)
            start = recovery.Accepted(position, crc, last - 1, header.at)
            data = self.segments.read(fd, position, size)
            end = recovery.accept(data, start, self.segments.path(last))
        except Damaged as damage:
            # Readers get as far as the damage and hear of it there; nobody appends behind it.
            return Mark(last, size, damage.offset + 1, 0, "", 0, 0, OK, self._boot), damage
        finally:
            self.host.close(fd)
        return Mark(last, end.position, end.offset, end.crc, end.at, 0, 0, OK, self._boot), None

    def _damage(self, why: str, segment: int, position: int, offset: int) -> Damaged:
        return Damaged(why, file=self.segments.path(segment), position=position, offset=offset)

    def close(self) -> None:
        if self._lock_fd >= 0:
            self.host.close(self._lock_fd)
        self._lock_fd = -1
