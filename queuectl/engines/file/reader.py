"""Reading a log in files: verified, from any offset, up to the committed mark."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from queuectl.engines.file.committed import Committed
from queuectl.engines.file.form import EVENTS, Form, Piece
from queuectl.engines.file.mark import Mark
from queuectl.engines.file.place import UNKNOWN, Place
from queuectl.engines.file.segments import counting
from queuectl.errors import Damaged
from queuectl.events import codec
from queuectl.events.codec import BadLine
from queuectl.events.vocabulary import Event
from queuectl.host import Host

BROKEN_CHAIN = "it does not go on from the segment before"
_READ_BYTES = 1 << 17
"""A piece and what it is decoded into should stay in the processor's cache."""
_NOTHING = (0, 0, -1)
"""No descriptor kept: segment, generation, descriptor."""


class FileReader(Committed):
    """One log in one directory, as read by one process."""

    def __init__(self, directory: str, host: Host) -> None:
        super().__init__(directory, host)
        self._kept = _NOTHING
        self._tail: Place | None = None
        """The furthest place that was read."""

    # ---- reading

    def head(self) -> int:
        mark = self._committed()
        return mark.offset if mark else 0

    def read(self, after: int = 0) -> Iterator[list[Event]]:
        return self.read_as(EVENTS, after)

    def read_as(self, form: Form[Piece], after: int) -> Iterator[Piece]:
        """The same in another form."""
        mark = self._committed()
        if mark is None or after >= mark.offset:
            return
        tail = self._tail
        start = tail if tail and tail.offset == after else self._place_before(after, mark)
        for place, found in self._read_from(start, mark, form):
            if self._tail is None or place.offset > self._tail.offset:
                self._tail = place
            if (new := form.after(found, after)) is not None:
                yield new

    def durable_size(self, segment: int) -> int:
        """Bytes of a segment that count."""
        mark = self._committed()
        if mark and segment == mark.segment:
            return mark.position
        return self.host.file_size(self.segments.path(segment))

    def pieces(self, segment: int) -> Iterator[bytes]:
        """The bytes of a segment that count."""
        mark = self._committed()
        fd = self.segments.open(segment)
        try:
            if mark is not None:
                yield from self.segments.pieces(fd, 0, self._end(fd, segment, mark))
        finally:
            self.host.close(fd)

    def active(self) -> int:
        """The segment that is appended to; all before it are sealed. 0 while there is none."""
        mark = self._committed()
        return mark.segment if mark else 0

    def compactions(self) -> int:
        headers = self.segments.headers().values()
        return max((header.compaction for header in headers if header), default=0)

    def bookmark(self) -> str:
        place = self._tail
        if place is None:
            return ""
        header = self.segments.headers([place.segment]).get(place.segment)
        if header is None:
            return ""
        return f"{header.log} {place.segment} {place.position} {place.offset} {place.crc:08x}"

    def holds(self, bookmark: str) -> bool:
        return self._look_up(bookmark)[0]

    def resume(self, bookmark: str) -> bool:
        held, place = self._look_up(bookmark)
        self._tail = place or self._tail
        return held

    def _look_up(self, bookmark: str) -> tuple[bool, Place | None]:
        """(whether it is one of this log, the place; None where that has to be looked for)."""
        log, *numbers, crc = bookmark.split()
        segment, position, offset = map(int, numbers)
        mark = self._committed()
        if mark is None or mark.offset < offset:
            return False, None
        header = self.segments.headers([segment]).get(segment)
        if header is None or header.covers >= offset:
            # Rewritten or merged since: the place is looked for, as in any other log.
            headers = self.segments.headers()
            return any(header.log == log for header in headers.values() if header), None
        place = Place(segment, position, int(crc, 16), offset)
        if header.log != log:
            return False, None
        fd = self._open(segment)
        if fd < 0:
            return self._look_up(bookmark)
        held = self._leads_to(place, fd)
        return held, place if held else None

    def _leads_to(self, place: Place, fd: int) -> bool:
        """Whether the line that ends there is the one that was read there; closes the file."""
        try:
            line = self.line_before(fd, place.position)
        finally:
            self.host.close(fd)
        # The crc of a line is that of all lines before it, too.
        return line.startswith(b'{"crc":"%08x","offset":%d,' % (place.crc, place.offset))

    def line_before(self, fd: int, position: int) -> bytes:
        for size in (1 << 12, codec.OLD_LINE_BYTES_MAX + (1 << 12)):
            before = self.segments.read(fd, max(0, position - size), position)
            newline = before.rfind(b"\n", 0, -1)
            if newline >= 0:
                break
        return before[newline + 1 :]

    def _place_before(self, offset: int, mark: Mark) -> Place:
        """The start of the segment that holds the event after `offset`."""
        firsts = self.segments.list()
        segment = max((first for first in firsts if first <= offset + 1), default=0)
        if segment not in (mark.segment, *firsts[:1]):
            # Others may stand for it already.
            firsts = counting(self.segments.headers())
            segment = max((first for first in firsts if first <= offset + 1), default=0)
        if not segment:
            raise self._damage(f"event {offset + 1} is missing", min(firsts, default=1), 0, 0)
        return Place(segment, 0, UNKNOWN, offset)

    def _read_from(
        self, place: Place, mark: Mark, form: Form[Piece]
    ) -> Iterator[tuple[Place, Piece]]:
        """Verified events behind `place` up to the mark, with the place after them.

        Segments may be rewritten and merged meanwhile. One that is open is read to its end as it
        was. One that is opened anew is read from its start, and known events are skipped.
        """
        while True:
            fd, kept = self._take(place.segment, mark)
            if fd < 0:
                # Merged into an earlier one since its name was seen.
                place = self._place_before(place.offset, mark)
                continue
            try:
                entered, end = self._enter(fd, place, kept, mark)
                last = place.offset if entered is place else place.segment - 1
                place = yield from self._events(fd, entered, last, end, form)
                if place.segment >= mark.segment:
                    if place.offset < mark.offset:
                        why = f"event {mark.offset} is missing"
                        raise self._damage(why, *place[:2], place.offset)
                    return
                place = self._leave(fd, place)
            finally:
                self._give_back(fd, place.segment, mark)
            place = self._next(place, mark)
            if place.segment > mark.segment:
                # The one that was active then is in an earlier one now, and was read to its end.
                return

    def _enter(self, fd: int, place: Place, kept: bool, mark: Mark) -> tuple[Place, int]:
        """Where to read from in the file that was opened for `place`, and up to where."""
        segment, position, crc, offset = place
        end = self._end(fd, segment, mark)
        if kept and position:
            return place, end
        header, header_crc, start = self.segments.header(fd, segment)
        if header.sealed_sha256:
            # Sealed and rewritten since the mark was read, it may be: then all of it counts.
            end = self.host.size(fd)
        if position and header.covers < offset:
            return place, end
        if not position and crc != UNKNOWN and header.previous_crc != f"{crc:08x}":
            raise self._damage(BROKEN_CHAIN, segment, 0, offset)
        return Place(segment, start, header_crc, offset), end

    def _events(
        self, fd: int, place: Place, last: int, end: int, form: Form[Piece]
    ) -> Generator[tuple[Place, Piece], None, Place]:
        """The events of one segment up to byte `end`, with the place after them; returns the last
        place. `last` is the event before that, which may have been known before."""
        segment, position, crc, offset = place
        seen = offset
        for piece in self.whole_lines(fd, position, end):
            bad: BadLine | None = None
            try:
                found, next_crc = form.decode(piece, crc)
            except BadLine as error:
                bad, piece = error, piece[: error.position]
                found, next_crc = form.decode(piece, crc)
            last = form.last(found) or last
            position, crc, offset = position + len(piece), next_crc, max(offset, last)
            place = Place(segment, position, crc, offset)
            if (new := form.after(found, seen)) is not None:
                yield place, new
            if bad is not None:
                raise self._damage(bad.why, segment, position, last)
        if position < end:
            raise self._damage("it ends inside a line", segment, position, last)
        return place

    def _leave(self, fd: int, place: Place) -> Place:
        """The same place, as the next segment knows it: by the original of this one."""
        header, _, _ = self.segments.header(fd, place.segment)
        if place.offset < header.covers:
            raise self._damage(f"event {header.covers} is missing", *place[:2], place.offset)
        crc = int(header.sealed_crc, 16) if header.sealed_crc else place.crc
        return place._replace(crc=crc)

    def _next(self, place: Place, mark: Mark) -> Place:
        """The start of the segment that goes on from the end of the one that `place` is in."""
        following = place.offset + 1
        if following in self.segments.list():
            return Place(following, 0, place.crc, place.offset)
        before = self._place_before(place.offset, mark)
        header = self.segments.headers().get(before.segment)
        if header is None or header.covers < following:
            raise self._damage(f"event {following} is missing", *place[:2], place.offset)
        return before

    def _end(self, fd: int, segment: int, mark: Mark) -> int:
        """How many bytes of an open segment count."""
        return mark.position if segment == mark.segment else self.host.size(fd)

    def whole_lines(self, fd: int, position: int, end: int) -> Iterator[bytes]:
        """The bytes of a segment in pieces of whole lines, up to the last newline."""
        size = _READ_BYTES
        while position < end:
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

    def _take(self, segment: int, mark: Mark) -> tuple[int, bool]:
        """A descriptor of a segment for one reading alone, -1 if it is gone; and whether it is the
        one that was kept from the last time."""
        # Once it is sealed there may be another in its place, and who begins anew must find that.
        if self._kept[:2] == (segment, mark.generation) and segment == mark.segment:
            fd, self._kept = self._kept[2], _NOTHING
            return fd, True
        return self._open(segment), False

    def _open(self, segment: int) -> int:
        """A descriptor of a segment, -1 if it was merged into another since its name was seen."""
        try:
            return self.segments.open(segment)
        except Damaged:
            if segment in self.segments.list():
                raise
            return -1

    def _give_back(self, fd: int, segment: int, mark: Mark) -> None:
        """Keep a descriptor of the active segment for the next reading; close any other."""
        if segment == mark.segment:
            fd, self._kept = self._kept[2], (segment, mark.generation, fd)
        if fd >= 0:
            self.host.close(fd)

    def _committed(self) -> Mark | None:
        """How far the log is durable; None while it is empty."""
        if not self._locks:
            self._drop_deleted()
            self._load_mark()
        return self._mark

    def _load_mark(self) -> None:
        self._find_mark()
        known = self._tail
        if known and (self._mark is None or self._mark.offset < known.offset):
            why = f"events up to {known.offset} were there and are gone"
            raise self._damage(why, known.segment, known.position, known.offset)

    def close(self) -> None:
        if self._kept[2] >= 0:
            self.host.close(self._kept[2])
        self._kept = _NOTHING
        super().close()
