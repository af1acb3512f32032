"""The log in files: appends under the lock, reads up to the committed mark; knows no jobs.

An append is: take the lock, look at the mark, write once, sync, move the mark, release. Readers
take no lock and stop at the mark, so nobody acts on what is not durable.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType

from msgspec.structs import replace

from queuectl import instants
from queuectl.engines.file import recovery
from queuectl.engines.file.batches import lines, stamped
from queuectl.engines.file.committed import LOCK_TIMEOUT_S
from queuectl.engines.file.form import EVENTS
from queuectl.engines.file.mark import DOUBT, OK, ROTATING, UNSURE, Mark
from queuectl.engines.file.originals import OriginalsReader
from queuectl.engines.file.payloads import Payloads
from queuectl.engines.file.place import Place
from queuectl.engines.file.reader import BROKEN_CHAIN
from queuectl.engines.file.shelf import sync_failed
from queuectl.errors import Conflict, NoSpace, QueuectlError, SyncFailed
from queuectl.events import codec
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, LogCompacted
from queuectl.host import OUT_OF_SPACE, Host

SEGMENT_BYTES_MAX = 16 << 20
RESERVE_BYTES = 1 << 20
"""Kept allocated behind the end, so that on a full disk running jobs can still record theirs."""


class _Exclusive:
    """The lock of a log, to be held by `with`: every append asks for it twice, and a generator for
    that takes five times as long."""

    def __init__(self, log: FileLog) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._log._lock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log._unlock(error)


class FileLog(OriginalsReader):
    """One log in one directory, as seen by one process; `archive` is where compaction keeps what it
    changes."""

    def __init__(
        self,
        directory: str,
        host: Host | None = None,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        archive: str = "",
        payloads: str = "",
    ) -> None:
        super().__init__(directory, host or Host(), archive)
        self.segment_bytes_max = segment_bytes_max
        self.lock_timeout_s = lock_timeout_s
        self.payloads = Payloads(payloads, self.host)
        self._writing = (0, 0, -1)  # segment, generation, descriptor
        self._ready: tuple[int, Mark] | None = None  # as `_lock` found it, until the mark moves

    def keeping(self, contents: Collection[bytes]) -> AbstractContextManager[None]:
        if not contents:
            return nullcontext()
        return self.payloads.keeping(contents, self.lock_timeout_s)

    def kept(self, sha256: str) -> bytes:
        return self.payloads.read(sha256)

    # ---- the lock

    def exclusive(self) -> AbstractContextManager[None]:
        return _Exclusive(self)

    def _copy(self) -> None:
        with self.exclusive():
            """Nothing that no mark vouches for is appended to before it was copied."""

    def _lock(self) -> None:
        if self._locks:
            self._locks += 1
            return
        self._lock_file()
        # One that was deleted before it was locked keeps nobody out.
        while self._drop_deleted():
            self._lock_file()
        self._locks = 1
        try:
            self._load_mark()
            if self._mark is not None:
                # Mending may accept what somebody wrote before dying: now, so that whoever holds
                # the lock reads it before deciding anything.
                self._ready = self._ready_to_write()
        except BaseException as error:
            self._unlock(error)
            raise

    def _unlock(self, error: BaseException | None) -> None:
        """A failed sync is never retried: this process acknowledges nothing more, and nobody
        believes what it has written behind the mark, or that the segment's name is durable."""
        if isinstance(error, SyncFailed):
            if self._mark is not None and self._broken is None and self._counts():
                with suppress(OSError):
                    self._move_mark(self._mark._replace(state=DOUBT))
            self._broken = error
        self._locks -= 1
        if self._locks == 0:
            self._ready = None
            self.host.unlock(self._lock_fd)

    def _move_mark(self, mark: Mark) -> None:
        data = mark.encode()
        self._write_mark(data)
        self._mark_bytes, self._mark, self._recorded = data, mark, mark
        self._ready = None

    def _commit(self, mark: Mark) -> None:
        """Move the mark over what is durable now. Who cannot stops: the next one to append will
        accept it, so whoever asked for it must not go on as if it had not happened."""
        try:
            self._move_mark(mark)
        except OSError as error:
            self._broken = sync_failed(self.directory, error)
            raise self._broken from None

    # ---- appending

    def append(self, batches: Sequence[Batch]) -> list[Event]:
        payloads = [[codec.encode(fact) for fact in batch.facts] for batch in batches]
        count = sum(map(len, payloads))
        if not count:
            return []
        with _Exclusive(self):
            fd, mark = self._ready or self._ready_to_write()
            self._check_expected(batches, mark)
            if mark.position > self.segment_bytes_max and mark.offset >= mark.segment:
                fd, mark = self._rotate(fd, mark)
            if (needed := max(batch.format for batch in batches)) > codec.FORMAT:
                fd, mark = self._rise(fd, mark, needed)
            at = max(mark.at, instants.from_us(self.host.now_us()))
            first = mark.offset + 1
            data, crc = lines(payloads, mark.crc, first, at)
            essential = all(batch.essential for batch in batches)
            mark = self._reserve(fd, mark, len(data), essential)
            self._write_durably(fd, mark, data)
            self._check_still_locked()
            offset = mark.offset + count
            position = mark.position + len(data)
            caught_up = mark.offset == (self._tail.offset if self._tail else 0)
            self._commit(mark._replace(position=position, offset=offset, crc=crc, at=at, state=OK))
            if caught_up:
                self._tail = Place(mark.segment, position, crc, offset)
        return stamped(batches, first, at)

    def _ready_to_write(self) -> tuple[int, Mark]:
        """A descriptor of the active segment that may be appended to, and the mark it ends at."""
        if self._broken:
            raise self._broken
        mark, recorded = self._mark, self._recorded
        if mark is None:
            return self._begin()
        vouched = recorded is not None and recorded.vouches_for(mark)
        if not vouched and not self._counts():
            return self._replace_doubtful(mark)
        fd = self._open_to_write(mark)
        if self._counts() and mark.state == OK and self.host.size(fd) == mark.position:
            return fd, mark
        return self._mend(fd, mark, trusted=vouched)

    def _replace_doubtful(self, mark: Mark) -> tuple[int, Mark]:
        """Go on in a copy of what a restart has left."""
        # Should a sync fail, or this process die first, others know that it may have.
        self._write_mark(mark._replace(state=UNSURE).encode())
        try:
            return self._mend(self._open_to_write(mark), mark, trusted=False)
        except NoSpace:
            self._write_mark(self._mark_bytes)  # nothing was synced: it is as it was before
            raise

    def _open_to_write(self, mark: Mark) -> int:
        segment, generation, fd = self._writing
        if segment != mark.segment or generation != mark.generation:
            if fd >= 0:
                self.host.close(fd)
                self._writing = (0, 0, -1)
            fd = self.segments.open(mark.segment, write=True)
            # The name may have been made by a process that died before it was durable.
            self.segments.sync(self.host.sync_directory, self.directory)
            self._writing = (mark.segment, mark.generation, fd)
        return fd

    def _begin(self) -> tuple[int, Mark]:
        """The first segment of a new log."""
        self.segments.remove_leftovers()
        # Whoever made the directories may have died before their names were durable.
        above = os.path.dirname(os.path.abspath(self.directory))
        for directory in (above, os.path.dirname(above)):
            self.segments.sync(self.host.sync_directory, directory)
        identity = self.host.random(16).hex()
        header = codec.Header(at=instants.from_us(self.host.now_us()), log=identity)
        return self._publish(header, generation=0, offset=0)

    def _publish(self, header: codec.Header, generation: int, offset: int) -> tuple[int, Mark]:
        content, crc = codec.frame_header(header)
        reserved = len(content) + RESERVE_BYTES
        fd = self.segments.publish(header.first, [content], reserve=reserved)
        mark = Mark(
            header.first, len(content), offset, crc, header.at, reserved, generation, OK, self._boot
        )
        self._move_mark(mark)
        if self._writing[2] >= 0:
            self.host.close(self._writing[2])
        self._writing = (header.first, generation, fd)
        return fd, mark

    def _mend(self, fd: int, mark: Mark, *, trusted: bool) -> tuple[int, Mark]:
        """Make the end of the log fit to append to after a crash, a failed sync or a restart.

        `trusted` is False where no mark says so: then nobody knows whether the bytes at the end
        were ever synced, or whether that failed, and they are copied to where they will be.
        """
        self.segments.remove_leftovers()
        last = self.segments.list()[-1]
        if last > mark.segment:
            # A rotation got as far as its new file: go on in that one.
            other = self.segments.open(last, write=True)
            header, crc, position = self.segments.header(other, last)
            if last != mark.offset + 1 or header.previous_crc != f"{mark.crc:08x}":
                raise self._damage(BROKEN_CHAIN, last, 0, mark.offset)
            self.host.close(fd)
            self._writing = (last, mark.generation, other)
            # Its name may be in memory only, after a sync that failed: it is made once more.
            trusted = False
            fd, mark = (
                other,
                mark._replace(segment=last, position=position, crc=crc, reserved=0, state=OK),
            )
        if mark.offset < mark.segment:
            # There is only its first line, and that may be another one by now: of a higher format.
            _, crc, position = self.segments.header(fd, mark.segment)
            mark = mark._replace(position=position, crc=crc)
        size = self.host.size(fd)
        if size < mark.position:
            raise self._damage(
                f"{mark.position - size} bytes that were acknowledged are gone",
                mark.segment,
                size,
                mark.offset,
            )
        start = recovery.Accepted(mark.position, mark.crc, mark.offset, mark.at)
        end = start
        if mark.state != DOUBT:
            data = self.segments.read(fd, mark.position, size)
            end = recovery.accept(data, start, self.segments.path(mark.segment))
        # Whoever has the file open opens it anew: there may be another of its name.
        generation = mark.generation + 1
        if size > mark.position or not trusted:
            if mark.state == OK and (trusted or self._counts()):
                # Should this process die in between, others see that there may be.
                self._move_mark(mark._replace(state=ROTATING))
            new = recovery.mend(self.segments, mark.segment, fd, end.position, size, RESERVE_BYTES)
            self.host.close(fd)
            fd = new
        mark = Mark(
            mark.segment, end.position, end.offset, end.crc, end.at, 0, generation, OK, self._boot
        )
        # Not known by its generation before the mark is: others may make a copy with the same one.
        self._writing = (0, 0, fd)
        self._move_mark(mark)
        self._writing = (mark.segment, generation, fd)
        return fd, mark

    def _check_expected(self, batches: Sequence[Batch], mark: Mark) -> None:
        expected: dict[str, int] = {}
        for batch in batches:
            for job, known in batch.expected.items():
                expected[job] = min(known, expected.get(job, known))
        seen = self._tail
        if not expected or mark.offset == (seen.offset if seen else 0):
            return
        seen = seen or self._place_before(0, mark)
        for _, events in self._read_from(seen, mark, EVENTS):
            for event in events:
                if isinstance(event, LogCompacted) and event.offset > min(expected.values()):
                    raise Conflict("events have been taken out of the log")
                job = getattr(event, "job", "")
                if job in expected and event.offset > expected[job]:
                    raise Conflict(f"job {job} has changed meanwhile")

    def _rise(self, fd: int, mark: Mark, needed: int) -> tuple[int, Mark]:
        """Go on in a segment of at least that format. Raises `NoSpace`."""
        header, _, _ = self.segments.header(fd, mark.segment)
        if header.format >= needed:
            return fd, mark
        if mark.offset < mark.segment:
            # Nothing stands in it yet, so it is made anew.
            self._move_mark(mark._replace(state=ROTATING))
            return self._publish(replace(header, format=needed), mark.generation + 1, mark.offset)
        new, after = self._rotate(fd, mark, needed)
        if after.segment == mark.segment:
            raise self._no_space()
        return new, after

    def _rotate(self, fd: int, mark: Mark, format: int = codec.FORMAT) -> tuple[int, Mark]:
        """Seal the active segment and begin the next one, which names it and its SHA-256."""
        self._move_mark(mark._replace(state=ROTATING))
        old, _, _ = self.segments.header(fd, mark.segment)
        header = codec.Header(
            at=mark.at,
            format=max(old.format, format),
            log=old.log,
            first=mark.offset + 1,
            previous_crc=f"{mark.crc:08x}",
            previous_sha256=self.segments.sha256(fd, mark.position),
        )
        try:
            # Same length: only gives back the blocks that were set aside behind the end.
            self.host.truncate(fd, mark.position)
            return self._publish(header, mark.generation, mark.offset)
        except NoSpace:
            # What runs may still record its end in the old segment.
            self._move_mark(mark)
            return fd, mark

    def seal(self) -> None:
        """Begin the next segment now, so that nothing is appended any more to the one that was
        active. Raises `NoSpace` where it cannot be."""
        with _Exclusive(self):
            fd, mark = self._ready or self._ready_to_write()
            if mark.offset >= mark.segment and self._rotate(fd, mark)[1].segment == mark.segment:
                raise self._no_space()

    def _reserve(self, fd: int, mark: Mark, length: int, essential: bool) -> Mark:
        """Set disk blocks aside for the append, and for what running jobs will have to say."""
        end = mark.position + length
        if end + RESERVE_BYTES // 2 <= mark.reserved or (essential and end <= mark.reserved):
            return mark
        try:
            self.host.reserve(fd, mark.position, length + RESERVE_BYTES)
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            if essential:
                return mark
            raise self._no_space() from None
        return mark._replace(reserved=end + RESERVE_BYTES)

    def _write_durably(self, fd: int, mark: Mark, data: bytes) -> None:
        try:
            written = self.host.write(fd, data)
        except OSError as error:
            if error.errno in OUT_OF_SPACE:
                raise self._no_space() from None
            raise
        if written < len(data):
            # Nobody has seen these bytes, and they are not synced: the one safe time to cut. Until
            # that is durable, they could come back between those of the next write.
            self._move_mark(mark._replace(state=DOUBT))
            self.host.truncate(fd, mark.position)
            self.segments.sync(self.host.fdatasync, fd)
            self._move_mark(mark)
            raise self._no_space()
        self.segments.sync(self.host.fdatasync, fd)

    def _check_still_locked(self) -> None:
        """Acknowledge nothing that another may have overlooked, who has locked another file."""
        if not self.host.is_at(self.lock_path, self._lock_identity):
            raise QueuectlError(
                f"{self.lock_path} was deleted during an append, which may be lost: see what was"
                " stored before asking again, and leave that file alone"
            )

    def _no_space(self) -> NoSpace:
        return NoSpace(
            f"no space left for the log in {self.directory}: nothing was written; free some, then"
            " try again"
        )

    def close(self) -> None:
        super().close()
        if self._writing[2] >= 0:
            self.host.close(self._writing[2])
        self._writing = (0, 0, -1)
