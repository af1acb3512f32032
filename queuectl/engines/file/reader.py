"""Reading a log in files: verified, from any offset, up to the committed mark; takes no lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.engines.file import mark as marks
from queuectl.engines.file import recovery
from queuectl.engines.file.mark import OK, Mark
from queuectl.engines.file.segments import Segments
from queuectl.errors import Damaged, QueuectlError
from queuectl.events import codec
from queuectl.events.codec import BadLine
from queuectl.events.vocabulary import Event
from queuectl.host import Host

BROKEN_CHAIN = "it does not go on from the segment before"
_READ_BYTES = 1 << 18
_MARK_READS = 100
"""How often a mark that does not verify is read: it may be being written this very moment."""


class Place(NamedTuple):
    """How far a reader has got: the byte after the event `offset`."""

    segment: int
    position: int
    crc: int
    offset: int


class FileReader:
    """One log in one directory, as read by one process."""

    def __init__(self, directory: str, host: Host) -> None:
        self.directory = directory
        self.segments = Segments(directory, host)
        self.lock_path = os.path.join(directory, "LOCK")
        self._host = host
        self._boot = host.boot_id()
        self._lock_fd = -1
        self._locks = 0
        """How many times this process holds the lock: then the mark stands still."""
        self._mark: Mark | None = None
        self._mark_bytes = b""
        self._recorded: Mark | None = None
        """The mark that the lock file holds, whether it counts within this boot or not."""
        self._reading = (0, 0, -1)  # segment, generation, descriptor
        self._tail: Place | None = None
        """The furthest place that was read."""
        self._broken: QueuectlError | None = None
        """Why nothing may be appended through this handle any more."""

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

    def read_with_places(self) -> Iterator[tuple[list[Event], Place]]:
        """All durable events in pieces, each with the place after it."""
        mark = self._committed()
        if mark is not None:
            start = self._place_before(0)
            for place, events in self._read_from(start, mark):
                yield events, place

    def durable_size(self, segment: int) -> int:
        """Bytes of a segment that count."""
        return self._end(segment, self._committed())

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

    def _place_before(self, offset: int) -> Place:
        """The start of the segment that holds the event after `offset`."""
        segments = self.segments.list()
        segment = max((first for first in segments if first <= offset + 1), default=0)
        if not segment:
            raise self._damage(f"event {offset + 1} is missing", min(segments, default=1), 0, 0)
        return self._start_of(segment)

    def _start_of(self, segment: int) -> Place:
        fd = self._open_to_read(segment)
        _, crc, position = self.segments.header(fd, segment)
        return Place(segment, position, crc, segment - 1)

    def _read_from(self, place: Place, mark: Mark) -> Iterator[tuple[Place, list[Event]]]:
        """Verified events from `place` up to the mark, with the place after them."""
        while True:
            segment, position, crc, offset = place
            end = self._end(segment, mark)
            for piece in self._pieces(segment, position, end):
                try:
                    events, crc = codec.decode(piece, crc)
                except BadLine as bad:
                    if bad.events:
                        offset = bad.events[-1].offset
                        yield Place(segment, position + bad.position, bad.crc, offset), bad.events
                    raise self._damage(bad.why, segment, position + bad.position, offset) from None
                position += len(piece)
                offset = events[-1].offset
                place = Place(segment, position, crc, offset)
                yield place, events
            if position < end:
                raise self._damage("it ends inside a line", segment, position, offset)
            if segment >= mark.segment:
                return
            place = self._next_segment(place)

    def _next_segment(self, place: Place) -> Place:
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
            raise self._damage(BROKEN_CHAIN, following, 0, place.offset)
        return Place(following, position, crc, place.offset)

    def _pieces(self, segment: int, position: int, end: int) -> Iterator[bytes]:
        """The bytes of a segment in pieces of whole lines, up to the last newline."""
        if position >= end:
            return
        size = _READ_BYTES
        while position < end:
            # Asked for each time: another reading through this handle may have closed it.
            fd = self._open_to_read(segment)
            piece = self.segments.read(fd, position, min(position + size, end))
            length = piece.rfind(b"\n") + 1
            if length:
                yield piece[:length]
                position += length
                size = _READ_BYTES
            elif len(piece) < size:
                return
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
            self._drop_deleted()
            self._load_mark()
        return self._mark

    def _drop_deleted(self) -> bool:
        """Let go of a lock file that somebody has deleted, and of what was known by its mark;
        whether there was one. It keeps nobody out any more, and its mark stands still."""
        if self._lock_fd < 0 or self._host.is_at(self.lock_path, self._lock_fd):
            return False
        self.close()
        self._mark, self._mark_bytes = None, b""
        return True

    def _load_mark(self) -> None:
        self._find_mark()
        known = self._tail
        if known and (self._mark is None or self._mark.offset < known.offset):
            why = f"events up to {known.offset} were there and are gone"
            raise self._damage(why, known.segment, known.position, known.offset)

    def _find_mark(self) -> None:
        if self._lock_fd < 0:
            try:
                self._lock_fd = self._host.open(self.lock_path, os.O_RDWR)
            except PermissionError:
                self._lock_fd = self._host.open(self.lock_path, os.O_RDONLY)
            except FileNotFoundError:
                self._recorded, self._mark = None, self._derive_mark()
                return
        for _ in range(_MARK_READS):
            data = self._host.read_at(self._lock_fd, marks.SIZE, 0)
            if data == self._mark_bytes and self._mark:
                return
            mark = marks.decode(data)
            if mark or not data:
                break
        self._recorded = mark
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
        size = self._host.size(fd)
        try:
            header, crc, position = self.segments.header(fd, last)
            start = recovery.Accepted(position, crc, last - 1, header.at)
            data = self.segments.read(fd, position, size)
            end = recovery.accept(data, start, self.segments.path(last))
        except Damaged as damage:
            # Readers get as far as the damage and hear of it there; nobody appends behind it.
            self._broken = damage
            return Mark(last, size, damage.offset + 1, 0, "", 0, 0, OK, self._boot)
        return Mark(last, end.position, end.offset, end.crc, end.at, 0, 0, OK, self._boot)

    def close(self) -> None:
        for fd in (self._reading[2], self._lock_fd):
            if fd >= 0:
                self._host.close(fd)
        self._reading = (0, 0, -1)
        self._lock_fd = -1
