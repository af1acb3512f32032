"""The log in files: appends under the lock, reads up to the committed mark; knows no jobs.

An append is: take the lock, look at the mark, write once, sync, move the mark, release. Readers
take no lock and stop at the mark, so nobody acts on what is not durable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from queuectl import instants
from queuectl.engines.file import mark as marks
from queuectl.engines.file import recovery
from queuectl.engines.file.mark import DOUBT, OK, ROTATING, Mark
from queuectl.engines.file.segments import OUT_OF_SPACE, Segments
from queuectl.errors import Conflict, Damaged, LockTimedOut, NoSpace, SyncFailed
from queuectl.events import codec
from queuectl.events.codec import BadLine, Header
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event
from queuectl.host import Host

SEGMENT_BYTES_MAX = 16 << 20
RESERVE_BYTES = 1 << 20
"""Kept allocated behind the end, so that on a full disk running jobs can still record theirs."""
LOCK_TIMEOUT_S = 30.0
_BROKEN_CHAIN = "it does not go on from the segment before"
_READ_BYTES = 1 << 18


class _Place(NamedTuple):
    """How far a reader has got: the byte after the event `offset`."""

    segment: int
    position: int
    crc: int
    offset: int


class FileLog:
    """One log in one directory, as seen by one process."""

    def __init__(
        self,
        directory: str,
        host: Host | None = None,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.directory = directory
        self.segments = Segments(directory, host or Host())
        self.lock_path = os.path.join(directory, "LOCK")
        self._host = host or Host()
        self._boot = self._host.boot_id()
        self._segment_bytes_max = segment_bytes_max
        self._lock_timeout_s = lock_timeout_s
        self._lock_fd = -1
        self._locks = 0
        self._mark: Mark | None = None
        self._mark_bytes = b""
        self._reading = (0, 0, -1)  # segment, generation, descriptor
        self._writing = (0, 0, -1)
        self._tail: _Place | None = None
        self._broken: SyncFailed | None = None

    # ---- reading

    def head(self) -> int:
        mark = self._committed()
        return mark.offset if mark else 0

    def read(self, after: int = 0) -> Iterator[list[Event]]:
        mark = self._committed()
        if mark is None or after >= mark.offset:
            return
        tail = self._tail
        start = tail if tail and tail.offset == after else self._place_before(after)
        for place, events in self._read_from(start, mark):
            if self._tail is None or place.offset > self._tail.offset:
                self._tail = place
            if events[0].offset <= after:
                events = [event for event in events if event.offset > after]
            if events:
                yield events

    def read_about(self, job: str) -> Iterator[Event]:
        mark = self._committed()
        needle = b'"job":"%s"' % job.encode()
        for segment in self.segments.list() if mark else ():
            for piece in self._pieces(segment, 0, self._end(segment, mark)):
                at = piece.find(needle)
                while at >= 0:
                    start = piece.rfind(b"\n", 0, at) + 1
                    end = piece.index(b"\n", at)
                    yield from codec.decode_unverified(piece[start : end + 1])
                    at = piece.find(needle, end)

    def _place_before(self, offset: int) -> _Place:
        """The start of the segment that holds the event after `offset`."""
        segment = max(first for first in self.segments.list() if first <= offset + 1)
        return self._start_of(segment)

    def _start_of(self, segment: int) -> _Place:
        fd = self._open_to_read(segment)
        _, crc, position = self.segments.header(fd, segment)
        return _Place(segment, position, crc, segment - 1)

    def _read_from(self, place: _Place, mark: Mark) -> Iterator[tuple[_Place, list[Event]]]:
        """Verified events from `place` up to the mark, with the place after them."""
        while True:
            segment, position, crc, offset = place
            for piece in self._pieces(segment, position, self._end(segment, mark)):
                try:
                    events, crc = codec.decode(piece, crc)
                except BadLine as bad:
                    if bad.events:
                        offset = bad.events[-1].offset
                        yield _Place(segment, position + bad.position, bad.crc, offset), bad.events
                    raise self._damage(bad.why, segment, position + bad.position, offset) from None
                position += len(piece)
                offset = events[-1].offset
                place = _Place(segment, position, crc, offset)
                yield place, events
            if segment >= mark.segment:
                return
            place = self._next_segment(place)

    def _next_segment(self, place: _Place) -> _Place:
        following = min(
            (first for first in self.segments.list() if first > place.segment), default=0
        )
        if following != place.offset + 1:
            raise self._damage(
                f"event {place.offset + 1} is missing", place.segment, place.position, place.offset
            )
        fd = self._open_to_read(following)
        header, crc, position = self.segments.header(fd, following)
        if header.previous_crc != f"{place.crc:08x}":
            raise self._damage(
                "it does not go on from the segment before", following, 0, place.offset
            )
        return _Place(following, position, crc, place.offset)

    def _pieces(self, segment: int, position: int, end: int) -> Iterator[bytes]:
        """The bytes of a segment in pieces of whole lines."""
        if position >= end:
            return
        fd = self._open_to_read(segment)
        size = _READ_BYTES
        while position < end:
            piece = self.segments.read(fd, position, min(position + size, end))
            length = piece.rfind(b"\n") + 1
            if length:
                yield piece[:length]
                position += length
                size = _READ_BYTES
            elif len(piece) < size:
                raise self._damage("it ends inside a line", segment, position, segment - 1)
            else:
                size *= 2

    def _end(self, segment: int, mark: Mark | None) -> int:
        if mark and segment == mark.segment:
            return mark.position
        return self._host.file_size(self.segments.path(segment))

    def _open_to_read(self, segment: int) -> int:
        generation = self._mark.generation if self._mark else 0
        known, known_generation, fd = self._reading
        if known == segment and known_generation == generation and fd >= 0:
            return fd
        if fd >= 0:
            self._host.close(fd)
        fd = self.segments.open(segment)
        self._reading = (segment, generation, fd)
        return fd

    def _damage(self, why: str, segment: int, position: int, offset: int) -> Damaged:
        return Damaged(why, file=self.segments.path(segment), position=position, offset=offset)

    # ---- the committed mark

    def _committed(self) -> Mark | None:
        """How far the log is durable; None while it is empty."""
        if not self._locks:
            self._load_mark()
        return self._mark

    def _load_mark(self) -> None:
        if self._lock_fd < 0:
            try:
                self._lock_fd = self._host.open(self.lock_path, os.O_RDWR)
            except PermissionError:
                self._lock_fd = self._host.open(self.lock_path, os.O_RDONLY)
            except FileNotFoundError:
                self._mark = self._derive_mark()
                return
        data = self._host.read_at(self._lock_fd, marks.SIZE, 0)
        if data == self._mark_bytes and self._mark:
            return
        mark = marks.decode(data)
        if mark is None or mark.boot != self._boot:
            mark = self._derive_mark()
        self._mark_bytes, self._mark = data, mark

    def _derive_mark(self) -> Mark | None:
        """Where the log ends by what lies on disk, when there is no mark to go by."""
        segments = self.segments.list()
        if not segments:
            return None
        last = segments[-1]
        fd = self._open_to_read(last)
        header, crc, position = self.segments.header(fd, last)
        start = recovery.Accepted(position, crc, last - 1, header.at)
        data = self.segments.read(fd, position, self._host.size(fd))
        end = recovery.accept(data, start, self.segments.path(last))
        return Mark(last, end.position, end.offset, end.crc, end.at, 0, 0, OK, self._boot)

    def _move_mark(self, mark: Mark) -> None:
        data = mark.encode()
        self._host.write_at(self._lock_fd, data, 0)
        self._mark_bytes, self._mark = data, mark

    # ---- the lock

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        self._lock()
        try:
            yield
        finally:
            self._unlock()

    def _lock(self) -> None:
        if self._locks == 0:
            if self._lock_fd < 0:
                flags = os.O_RDWR | os.O_CREAT
                self._lock_fd = self._host.open(self.lock_path, flags)
            if not self._host.lock(self._lock_fd, self._lock_timeout_s):
                holder = self._host.lock_holder(self._lock_fd)
                raise LockTimedOut(
                    f"the log {self.directory} has been locked for {self._lock_timeout_s:g} s"
                    + (f" by process {holder}" if holder else "")
                    + ": see what it does, or try again"
                )
            try:
                self._load_mark()
            except BaseException:
                self._host.unlock(self._lock_fd)
                raise
        self._locks += 1

    def _unlock(self) -> None:
        self._locks -= 1
        if self._locks == 0:
            self._host.unlock(self._lock_fd)

    # ---- appending

    def append(self, batches: Sequence[Batch]) -> list[Event]:
        facts = [fact for batch in batches for fact in batch.facts]
        if not facts:
            return []
        payloads = [codec.encode(fact) for fact in facts]
        with self.exclusive():
            fd, mark = self._ready_to_write()
            self._check_expected(batches, mark)
            if mark.position > self._segment_bytes_max:
                fd, mark = self._rotate(fd, mark)
            at = max(mark.at, instants.from_us(self._host.now_us()))
            data, crc = _lines(batches, payloads, mark, at)
            essential = all(batch.essential for batch in batches)
            mark = self._reserve(fd, mark, len(data), essential)
            self._write_durably(fd, mark, data)
            offset = mark.offset + len(facts)
            position = mark.position + len(data)
            if mark.offset == (self._tail.offset if self._tail else 0):
                self._tail = _Place(mark.segment, position, crc, offset)
            first = mark.offset + 1
            self._move_mark(
                mark._replace(position=position, offset=offset, crc=crc, at=at, state=OK)
            )
        return _stamp(batches, first, at)

    def _ready_to_write(self) -> tuple[int, Mark]:
        """A descriptor of the active segment that may be appended to, and the mark it ends at."""
        if self._broken:
            raise self._broken
        mark = self._mark
        if mark is None:
            return self._begin()
        segment, generation, fd = self._writing
        if segment != mark.segment or generation != mark.generation:
            if fd >= 0:
                self._host.close(fd)
                self._writing = (0, 0, -1)
            fd = self.segments.open(mark.segment, write=True)
            # The name may have been made by a process that died before it was durable.
            self._host.sync_directory(self.directory)
            self._writing = (mark.segment, mark.generation, fd)
        recorded = marks.decode(self._mark_bytes)
        current = recorded is not None and recorded.boot == self._boot
        if current and mark.state == OK and self._host.size(fd) == mark.position:
            return fd, mark
        return self._mend(fd, mark, trusted=recorded is not None)

    def _begin(self) -> tuple[int, Mark]:
        """The first segment of a new log."""
        identity = self._host.random(16).hex()
        header = Header(at=instants.from_us(self._host.now_us()), log=identity)
        return self._publish(header, generation=0, offset=0)

    def _publish(self, header: Header, generation: int, offset: int) -> tuple[int, Mark]:
        content, crc = codec.frame_header(header)
        fd, reserved = self.segments.publish(header.first, content, RESERVE_BYTES)
        mark = Mark(
            header.first, len(content), offset, crc, header.at, reserved, generation, OK, self._boot
        )
        self._move_mark(mark)
        if self._writing[2] >= 0:
            self._host.close(self._writing[2])
        self._writing = (header.first, generation, fd)
        return fd, mark

    def _mend(self, fd: int, mark: Mark, *, trusted: bool) -> tuple[int, Mark]:
        """Make the end of the log fit to append to after a crash, a failed sync or a restart.

        `trusted` is False where there was no mark at all: then nobody knows whether the bytes at
        the end were ever synced, and they are copied to where they will be.
        """
        self.segments.remove_leftovers()
        last = self.segments.list()[-1]
        if last > mark.segment:
            # A rotation got as far as its new file: go on in that one.
            other = self.segments.open(last, write=True)
            header, crc, position = self.segments.header(other, last)
            if last != mark.offset + 1 or header.previous_crc != f"{mark.crc:08x}":
                raise self._damage(
                    "it does not go on from the segment before", last, 0, mark.offset
                )
            self._host.close(fd)
            self._host.sync_directory(self.directory)
            self._writing = (last, mark.generation, other)
            fd, mark = (
                other,
                mark._replace(segment=last, position=position, crc=crc, reserved=0, state=OK),
            )
        size = self._host.size(fd)
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
        generation = mark.generation
        if size > mark.position or mark.state == DOUBT or not trusted:
            new = recovery.mend(
                self.segments, self._host, mark.segment, fd, end.position, RESERVE_BYTES
            )
            self._host.close(fd)
            generation += 1
            fd = new
        mark = Mark(
            mark.segment, end.position, end.offset, end.crc, end.at, 0, generation, OK, self._boot
        )
        self._writing = (mark.segment, generation, fd)
        self._move_mark(mark)
        return fd, mark

    def _check_expected(self, batches: Sequence[Batch], mark: Mark) -> None:
        expected: dict[str, int] = {}
        for batch in batches:
            for job, known in batch.expected.items():
                expected[job] = min(known, expected.get(job, known))
        seen = self._tail
        if not expected or mark.offset == (seen.offset if seen else 0):
            return
        seen = seen or self._place_before(0)
        for _, events in self._read_from(seen, mark):
            for event in events:
                job = getattr(event, "job", None)
                if job in expected and event.offset > expected[job]:
                    raise Conflict(f"job {job} has changed meanwhile")

    def _rotate(self, fd: int, mark: Mark) -> tuple[int, Mark]:
        """Seal the active segment and begin the next one, which names it and its SHA-256."""
        self._move_mark(mark._replace(state=ROTATING))
        old, _, _ = self.segments.header(fd, mark.segment)
        header = Header(
            at=mark.at,
            log=old.log,
            first=mark.offset + 1,
            previous_crc=f"{mark.crc:08x}",
            previous_sha256=self.segments.sha256(fd, mark.position),
        )
        try:
            # Same length: only gives back the blocks that were set aside behind the end.
            self._host.truncate(fd, mark.position)
            return self._publish(header, mark.generation, mark.offset)
        except NoSpace:
            # What runs may still record its end in the old segment.
            self._move_mark(mark)
            return fd, mark

    def _reserve(self, fd: int, mark: Mark, length: int, essential: bool) -> Mark:
        """Set disk blocks aside for the append, and for what running jobs will have to say."""
        end = mark.position + length
        if end + RESERVE_BYTES // 2 <= mark.reserved or (essential and end <= mark.reserved):
            return mark
        try:
            self._host.reserve(fd, mark.position, length + RESERVE_BYTES)
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            if essential:
                return mark
            raise self._no_space() from None
        return mark._replace(reserved=end + RESERVE_BYTES)

    def _write_durably(self, fd: int, mark: Mark, data: bytes) -> None:
        try:
            written = self._host.write(fd, data)
        except OSError as error:
            if error.errno in OUT_OF_SPACE:
                raise self._no_space() from None
            raise
        if written < len(data):
            # Nobody has seen these bytes, and they are not synced: the one safe time to cut.
            self._host.truncate(fd, mark.position)
            raise self._no_space()
        try:
            self._host.fdatasync(fd)
        except OSError as error:
            self._broken = SyncFailed(
                f"the disk failed to store the log in {self.directory} ({error.strerror});"
                " what was just asked for may be lost: check the disk, then start again"
            )
            self._move_mark(mark._replace(state=DOUBT))
            raise self._broken from None

    def _no_space(self) -> NoSpace:
        return NoSpace(
            f"no space left for the log in {self.directory}: nothing was written; free some, then"
            " try again"
        )

    def close(self) -> None:
        for fd in (self._reading[2], self._writing[2], self._lock_fd):
            if fd >= 0:
                self._host.close(fd)
        self._reading = self._writing = (0, 0, -1)
        self._lock_fd = -1


def _lines(
    batches: Sequence[Batch], payloads: Sequence[bytes], mark: Mark, at: str
) -> tuple[bytes, int]:
    """The bytes to append, and the crc of their last line."""
    lines = []
    offset, crc = mark.offset, mark.crc
    waiting = iter(payloads)
    for batch in batches:
        more = len(batch.facts)
        while more:
            more -= 1
            offset += 1
            line, crc = codec.frame(next(waiting), crc, offset, at, more > 0)
            lines.append(line)
    return b"".join(lines), crc


def _stamp(batches: Sequence[Batch], offset: int, at: str) -> list[Event]:
    """The facts as the events they have become."""
    give = msgspec.structs.force_setattr
    events: list[Event] = []
    for batch in batches:
        more = len(batch.facts)
        for fact in batch.facts:
            more -= 1
            give(fact, "offset", offset)
            give(fact, "at", at)
            if more:
                give(fact, "more", True)
            events.append(fact)
            offset += 1
    return events
