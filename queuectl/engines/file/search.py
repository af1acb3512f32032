"""Everything about one job in a long log, and in its archive: by its bytes, decoding no other line.

Knows a job only as text in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from queuectl.engines.file.archive import Archive
from queuectl.engines.file.reader import FileReader
from queuectl.engines.file.segments import counting
from queuectl.errors import ArchiveDamaged, Damaged
from queuectl.events import codec
from queuectl.events.codec import BadLine, Header
from queuectl.events.log import Missing, ignored
from queuectl.events.vocabulary import Event

_OFFSET_WITHIN = codec.BODY + 12
"""The offset begins within so many bytes of a line."""


class _Changed(Exception):
    """A segment was rewritten or merged since its first line was looked at."""


def find(log: FileReader, archive: Archive, job: str, missing: Missing) -> Iterator[Event]:
    """The durable events about a job, oldest first; `missing` hears what cannot be searched.

    Where a segment was rewritten, its originals in the archive are searched instead, and what is
    not there in what is left of it. Each line found is checked against the one before it.
    """
    return _Search(log, archive, job, missing).between(1, log.head())


def find_kept(log: FileReader, job: str, first: int, last: int) -> Iterator[Event]:
    """Those events about a job from offset `first` to `last` that the log itself has, checked
    likewise; no other segments are searched."""
    return _Search(log, None, job, ignored).between(first, last)


class _Search:
    """For lines about a job."""

    def __init__(
        self, log: FileReader, archive: Archive | None, job: str, missing: Missing
    ) -> None:
        self._log = log
        self._archive = archive
        self._needle = b'"job":"%s"' % job.encode()
        self._missing = missing

    def between(self, start: int, end: int) -> Iterator[Event]:
        """The events from offset `start` to `end`, while files may be replaced."""
        done = start - 1
        while done < end:
            headers = self._log.segments.headers()
            firsts = [first for first in counting(headers) if first <= end]
            for first, following in pairwise([*firsts, end + 1]):
                if following <= done + 1:
                    continue
                try:
                    for event in self._segment(first, headers[first]):
                        if done < event.offset <= end:
                            done = event.offset
                            yield event
                except _Changed:
                    break
                done = following - 1

    def _segment(self, first: int, header: Header | None) -> Iterator[Event]:
        if header is not None and header.sealed_sha256 and self._archive is not None:
            return self._originals(self._archive, first, header)
        return self._in_log(first, header)

    def _in_log(self, first: int, header: Header | None) -> Iterator[Event]:
        try:
            lines = _Lines(self._log.pieces(first), first, self._log.segments.path(first), Damaged)
        except Damaged:
            if first not in self._log.segments.list():
                raise _Changed from None
            raise
        if lines.header != header:
            raise _Changed
        return lines.about(self._needle)

    def _originals(self, archive: Archive, first: int, header: Header) -> Iterator[Event]:
        """What a rewritten segment stands for, from the archive as far as it is there."""
        following = first
        kept = [one for one in archive.list() if first <= one <= header.covers]
        for one, end in pairwise([*kept, header.covers + 1]):
            yield from self._left(first, header, following, one, "")
            following = one
            pieces, path = archive.read(one), archive.path(one)
            try:
                lines = _Lines(pieces, one, path, ArchiveDamaged)
                for event in lines.about(self._needle):
                    following = event.offset + 1
                    yield event
                following = lines.through + 1
            except ArchiveDamaged as damage:
                yield from self._left(first, header, following, end, str(damage))
                following = end
        yield from self._left(first, header, following, header.covers + 1, "")

    def _left(self, first: int, header: Header, start: int, end: int, why: str) -> Iterator[Event]:
        """What is left in the log of events from `start` to before `end`."""
        if start < end:
            self._missing(start, end - 1, why)
            for event in self._in_log(first, header):
                if start <= event.offset < end:
                    yield event


class _Lines:
    """The lines of the segment `first`, from its bytes in pieces."""

    def __init__(
        self, pieces: Iterable[bytes], first: int, file: str, damaged: type[Damaged]
    ) -> None:
        self._file = file
        self._damaged = damaged
        self._blocks = _blocks(pieces)
        self._position = 0
        """Of the block, in the file."""
        self._block, _, self._end = next(self._blocks, (b"", 0, 0))
        self.through = first - 1
        """The last offset before the block; of all, once it is through."""
        try:
            self.header, crc, self._start = codec.header_of(self._block, first)
        except ValueError as error:
            raise self._damage(f"the first line does not verify: {error}", 0) from None
        self._crc = b"%08x" % crc
        """Of the last line before the block."""

    def about(self, needle: bytes) -> Iterator[Event]:
        """The events in lines with `needle` in them."""
        yield from self._in_block(needle)
        for block, start, end in self._blocks:
            self._position += self._end - start
            self._block, self._start, self._end = block, start, end
            yield from self._in_block(needle)
        self.through = max(self.through, self.header.covers)

    def _in_block(self, needle: bytes) -> Iterator[Event]:
        block, start, end = self._block, self._start, self._end
        if start == end:
            return
        at = block.find(needle, start, end)
        while at >= 0:
            line = self._line_at(at)
            end_of_line = block.index(b"\n", at) + 1
            yield self._event(block[line:end_of_line], line)
            at = block.find(needle, end_of_line, end)
        last = self._line_at(end - 1)
        self._crc, self.through = block[last + 8 : last + 16], _offset(block, last)

    def _line_at(self, position: int) -> int:
        """Where the line begins that the byte at `position` is in."""
        return max(self._start, self._block.rfind(b"\n", 0, position) + 1)

    def _event(self, line: bytes, at: int) -> Event:
        """The event in a line, checked against the line before it."""
        crc, offset = self._crc, self.through
        if at > self._start:
            before = self._line_at(at - 1)
            crc, offset = self._block[before + 8 : before + 16], _offset(self._block, before)
        try:
            return codec.decode(line, int(crc, 16))[0][0]
        except (BadLine, ValueError):
            raise self._damage("a checksum does not match", at, offset) from None

    def _damage(self, why: str, at: int, offset: int | None = None) -> Damaged:
        position = self._position + at
        offset = self.through if offset is None else offset
        return self._damaged(why, file=self._file, position=position, offset=offset)


def _offset(block: bytes, line: int) -> int:
    """The offset in the line that begins at `line`; 0 where there is none."""
    start = block.find(b'"offset":', line, line + _OFFSET_WITHIN) + len(b'"offset":')
    digits = block[start : block.find(b",", start)]
    return int(digits) if digits.isdigit() else 0


def _blocks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int, int]]:
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
