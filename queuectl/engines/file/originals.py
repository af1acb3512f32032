"""The events of a log as they were before compaction, from its files and its archive: all of them,
or those about one job, found by their bytes without decoding any other line.

Knows a job only as text in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from queuectl.engines.file.archive import Archive
from queuectl.engines.file.reader import BROKEN_CHAIN, FileReader
from queuectl.engines.file.segments import counting
from queuectl.engines.file.waiting import Waiting
from queuectl.errors import ArchiveDamaged, Damaged
from queuectl.events import codec
from queuectl.events.codec import BadLine, Header
from queuectl.events.log import LAST, Missing, ignored
from queuectl.events.vocabulary import Event, wire_name
from queuectl.host import Host
from queuectl.instants import Instant

_OFFSET_WITHIN = codec.BODY + 12
"""The offset begins within so many bytes of a line."""


class _Changed(Exception):
    """A segment was rewritten or merged since its first line was looked at."""


class OriginalsReader(FileReader):
    """One log in one directory and its archive, as read by one process.

    Where a segment was rewritten, its originals in the archive are read instead; where they are not
    there or damaged, `missing` hears it, and what is left in the log comes in their place.
    """

    def __init__(self, directory: str, host: Host, archive: str) -> None:
        super().__init__(directory, host)
        self.archive = Archive(archive, host)
        self._waiting = Waiting(host, self.lock_path)

    def read_originals(self, after: int = 0, missing: Missing = ignored) -> Iterator[list[Event]]:
        if after + 1 >= self.active():
            # The last segment is never rewritten, and whoever comes back goes on where it was.
            return self.read(after)
        return _Walk(self, self.archive, b"", missing).between(after + 1, self.head())

    def read_about(
        self, job: str, missing: Missing = ignored, *, after: int = 0, last: int = LAST
    ) -> Iterator[Event]:
        return self._found(_needle(job), after, last, missing)

    def read_kind(self, kind: type[Event], after: int = 0) -> Iterator[Event]:
        needle = b',"type":"%s"' % wire_name(kind).encode()
        return self._found(needle, after, LAST, ignored)

    def _found(self, needle: bytes, after: int, last: int, missing: Missing) -> Iterator[Event]:
        walk = _Walk(self, self.archive, needle, missing)
        pieces = walk.between(after + 1, min(last, self.head()))
        return (event for events in pieces for event in events)

    def read_kept(self, job: str, first: int, last: int) -> Iterator[Event]:
        walk = _Walk(self, None, _needle(job), ignored)
        pieces = walk.between(first, min(last, self.head()))
        return (event for events in pieces for event in events)

    def wait(self, timeout_s: float) -> None:
        # Every append moves the mark, last of all.
        self._waiting.wait(timeout_s)

    def close(self) -> None:
        self._waiting.close()
        super().close()

    def before(self, at: Instant) -> int:
        # The first line of each segment has the time of the last event before it.
        headers = self.segments.headers()
        earlier = [
            first
            for first in counting(headers)
            if (header := headers[first]) is not None and header.at <= at
        ]
        return max(earlier, default=1) - 1

    def imprint(self, offset: int) -> str:
        """Which log it is, what its event `offset` is known by, and the last one before that is
        not in the archive, by the names of what is there."""
        if not 0 < offset <= self.head():
            return ""
        headers = self.segments.headers()
        archived = self.archive.list()
        logs = set()
        lost = 0
        for first in counting(headers):
            header = headers[first]
            if header is None:
                return ""
            logs.add(header.log)
            if first <= offset and header.sealed_sha256:
                kept = min((one for one in archived if first <= one), default=header.covers + 1)
                lost = max(lost, min(kept - 1, header.covers) if kept > first else 0)
        walk = _Walk(self, self.archive, b'","offset":%d,' % offset, ignored)
        try:
            (event,) = next(walk.between(offset, offset), [None])
        except Damaged:
            return ""
        return f"{min(logs)} {lost} {offset} {event.at}" if event is not None else ""

    def stretch(self, offset: int) -> int:
        headers = self.segments.headers()
        for first in counting(headers):
            header = headers[first]
            if header is not None and header.sealed_sha256 and first <= offset <= header.covers:
                return header.covers
        return offset


def _needle(job: str) -> bytes:
    return b'"job":"%s"' % job.encode()


class _Walk:
    """Through the files, for lines with `needle` in them; an empty one is in every line."""

    def __init__(
        self, log: FileReader, archive: Archive | None, needle: bytes, missing: Missing
    ) -> None:
        self._log = log
        self._archive = archive
        self._needle = needle
        self._missing = missing
        self._done = 0
        """The last event that is accounted for."""
        self._crc = ""
        """By which the next file has to name the one that ends there; empty where that was not
        read."""

    def between(self, start: int, end: int) -> Iterator[list[Event]]:
        """The events from offset `start` to `end`, while files may be replaced."""
        self._done = start - 1
        while self._done < end:
            self._crc = ""
            headers = self._log.segments.headers()
            firsts = [first for first in counting(headers) if first <= end]
            if not firsts or firsts[0] > self._done + 1:
                file = self._log.segments.path(min(headers, default=1))
                why = f"event {self._done + 1} is missing"
                raise Damaged(why, file=file, position=0, offset=self._done)
            for first, following in pairwise([*firsts, end + 1]):
                if following <= self._done + 1:
                    continue
                try:
                    for events in self._segment(first, headers[first], following - 1):
                        if not self._done < events[0].offset <= events[-1].offset <= end:
                            events = [one for one in events if self._done < one.offset <= end]
                        if events:
                            self._done = events[-1].offset
                            yield events
                        if self._done >= end:
                            return
                except _Changed:
                    break
                self._done = following - 1

    def _segment(self, first: int, header: Header | None, last: int) -> Iterator[list[Event]]:
        if header is not None and header.sealed_sha256 and self._archive is not None:
            yield from self._originals(self._archive, first, header)
            self._crc = header.sealed_crc
            return
        lines = self._in_log(first, header)
        lines.follow(self._crc)
        yield from lines.events(self._needle, self._done)
        if lines.through < last:
            raise lines.damage(f"event {lines.through + 1} is missing")
        self._crc = lines.sealed_crc

    def _in_log(self, first: int, header: Header | None) -> _Lines:
        try:
            lines = _Lines(self._log.pieces(first), first, self._log.segments.path(first), Damaged)
        except Damaged:
            if first not in self._log.segments.list():
                raise _Changed from None
            raise
        if lines.header != header:
            raise _Changed
        return lines

    def _originals(self, archive: Archive, first: int, header: Header) -> Iterator[list[Event]]:
        """What a rewritten segment stands for, from the archive as far as it is there."""
        following, crc = first, header.previous_crc
        kept = [one for one in archive.list() if first <= one <= header.covers]
        for one, end in pairwise([*kept, header.covers + 1]):
            if end <= self._done + 1:
                following, crc = end, ""
                continue
            if one > following:
                yield from self._left(first, header, following, one, "")
                crc = ""
            following = one
            try:
                lines = _Lines(archive.read(one), one, archive.path(one), ArchiveDamaged)
                lines.follow(crc)
                for events in lines.events(self._needle, self._done):
                    following = events[-1].offset + 1
                    yield events
                following, crc = lines.through + 1, lines.sealed_crc
                if following > header.covers and crc != header.sealed_crc:
                    other = lines.damage("it is not the original of what the log has in its place")
                    self._missing(one, header.covers, str(other))
            except ArchiveDamaged as damage:
                yield from self._left(first, header, following, end, str(damage))
                following, crc = end, ""
        yield from self._left(first, header, following, header.covers + 1, "")

    def _left(
        self, first: int, header: Header, start: int, end: int, why: str
    ) -> Iterator[list[Event]]:
        """What is left in the log of events from `start` to before `end`."""
        start = max(start, self._done + 1)
        if start < end:
            self._missing(start, end - 1, why)
            for events in self._in_log(first, header).events(self._needle, start - 1):
                left = [event for event in events if start <= event.offset < end]
                if left:
                    yield left


class _Lines:
    """The lines of the segment `first`, from its bytes in pieces."""

    def __init__(
        self, pieces: Iterable[bytes], first: int, file: str, damaged: type[Damaged]
    ) -> None:
        self._file = file
        self._damaged = damaged
        self._blocks = blocks(pieces)
        self._position = 0
        """Of the block, in the file."""
        self._block, _, self._end = next(self._blocks, (b"", 0, 0))
        self.through = first - 1
        """The last offset before the block; of all, once it is through."""
        try:
            self.header, crc, self._start = codec.header_of(self._block, first)
        except ValueError as error:
            raise self.damage(f"the first line does not verify: {error}", 0) from None
        self._crc = b"%08x" % crc
        """Of the last line before the block."""

    def follow(self, crc: str) -> None:
        """Check that it goes on from a file that ends with `crc`; empty where that is not known."""
        if crc and crc != self.header.previous_crc:
            raise self.damage(BROKEN_CHAIN, 0)

    @property
    def sealed_crc(self) -> str:
        """What the next segment goes on from, once all lines are through."""
        return self.header.sealed_crc or self._crc.decode()

    def events(self, needle: bytes, after: int) -> Iterator[list[Event]]:
        """The events in lines with `needle` in them, in pieces; where every line is wanted, but for
        blocks that end with `after` or before."""
        yield from self._in_block(needle, after)
        for block, start, end in self._blocks:
            self._position += self._end - start
            self._block, self._start, self._end = block, start, end
            yield from self._in_block(needle, after)
        self.through = max(self.through, self.header.covers)

    def _in_block(self, needle: bytes, after: int) -> Iterator[list[Event]]:
        block, start, end = self._block, self._start, self._end
        if start == end:
            return
        last = self._line_at(end - 1)
        yield from self._found(needle) if needle else self._all(last, after)
        self._crc, self.through = block[last + 8 : last + 16], _offset(block, last)

    def _all(self, last: int, after: int) -> Iterator[list[Event]]:
        """Every event; none if that in the line at `last` is at most `after`."""
        if self.through < after and self._event(last).offset <= after:
            return
        try:
            yield codec.decode(self._block[self._start : self._end], int(self._crc, 16))[0]
        except BadLine as bad:
            if bad.events:
                yield bad.events
                self.through = bad.events[-1].offset
            raise self.damage(bad.why, self._start + bad.position) from None

    def _found(self, needle: bytes) -> Iterator[list[Event]]:
        block, end = self._block, self._end
        # Most blocks have none, and from behind that shows a third sooner.
        if block.rfind(needle, self._start, end) < 0:
            return
        at = block.find(needle, self._start, end)
        while at >= 0:
            yield [self._event(self._line_at(at))]
            at = block.find(needle, block.index(b"\n", at), end)

    def _line_at(self, position: int) -> int:
        """Where the line begins that the byte at `position` is in."""
        return max(self._start, self._block.rfind(b"\n", 0, position) + 1)

    def _event(self, at: int) -> Event:
        """The event in the line that begins at `at`, checked against the line before it."""
        crc, offset = self._crc, self.through
        if at > self._start:
            before = self._line_at(at - 1)
            crc, offset = self._block[before + 8 : before + 16], _offset(self._block, before)
        line = self._block[at : self._block.index(b"\n", at) + 1]
        try:
            return codec.decode(line, int(crc, 16))[0][0]
        except (BadLine, ValueError):
            raise self.damage("a checksum does not match", at, offset) from None

    def damage(self, why: str, at: int | None = None, offset: int | None = None) -> Damaged:
        """Damage that begins at byte `at` of the block, by default at its end."""
        position = self._position + (self._end if at is None else at)
        offset = self.through if offset is None else offset
        return self._damaged(why, file=self._file, position=position, offset=offset)


def _offset(block: bytes, line: int) -> int:
    """The offset in the line that begins at `line`; 0 where there is none."""
    start = block.find(b'"offset":', line, line + _OFFSET_WITHIN) + len(b'"offset":')
    digits = block[start : block.find(b",", start)]
    return int(digits) if digits.isdigit() else 0


def blocks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Bytes in which whole lines stand, from where to where; hardly anything is copied."""
    rest = b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if not end:
            rest += piece
            continue
        start = 0
        if rest:
            start = piece.index(b"\n") + 1
            yield rest + piece[:start], 0, len(rest) + start
        if start < end:
            yield piece, start, end
        rest = piece[end:]
