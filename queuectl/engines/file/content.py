"""The content of one segment, read once from wherever it is and checked on the way: its lines and
their chain, that nothing is missing, that time does not run backwards. Knows no mark and no jobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from queuectl.engines.file.archive import Archive
from queuectl.engines.file.reader import FileReader
from queuectl.errors import ArchiveDamaged, Damaged
from queuectl.events import codec
from queuectl.events.codec import BadLine, Header
from queuectl.events.vocabulary import Event


class Seam(NamedTuple):
    """By what a segment names the one before it, which is the original where that was rewritten."""

    crc: str
    """Of its last line."""
    sha256: str
    """Of all its bytes."""


BEGINNING = Seam("00000000", "")
"""What the first segment names."""


def seam_before(header: Header | None) -> Seam | None:
    """What the segment with this first line names; None where that cannot be told."""
    return Seam(header.previous_crc, header.previous_sha256) if header is not None else None


def sealed_as(header: Header, crc: int, sha256: str) -> Seam:
    """What the next segment names: the original, where this one is not."""
    return Seam(header.sealed_crc or f"{crc:08x}", header.sealed_sha256 or sha256)


def standing_for(header: Header, last: int, named: Seam | None) -> Header:
    """A first line that stands for events up to `last`, as the next segment names them."""
    crc, sha = named or ("", "")
    return replace(header, covers=last, sealed_crc=crc, sealed_sha256=sha)


class Content:
    """What is in the segment `first`, from its bytes in pieces of any size.

    Iterating gives pieces of whole lines with their events. All that is said about the end is
    known once it is through. Raises `Damaged`, made by `damaged`, at the first thing wrong.
    """

    def __init__(
        self, pieces: Iterable[bytes], first: int, file: str, damaged: type[Damaged] = Damaged
    ) -> None:
        self.file = file
        self.first = first
        self.size = 0
        """Bytes read so far."""
        self.position = 0
        """The byte after the last line that was checked."""
        self.offset = first - 1
        """The last event so far."""
        self.at = ""
        """Its time."""
        self.more = False
        """Whether its batch goes on."""
        self._pieces = iter(pieces)
        self._damaged = damaged
        self._digest = hashlib.sha256()
        self._rest = b""
        self._read_header()

    def _read_header(self) -> None:
        start = b""
        while len(start) < codec.HEADER_BYTES_MAX and b"\n" not in start:
            piece = next(self._pieces, b"")
            if not piece:
                break
            start += piece
        try:
            self.header, self.crc, self.position = codec.header_of(start, self.first)
        except ValueError as error:
            raise self.damage(f"the first line does not verify: {error}") from None
        self._take(start)
        self._rest = start[self.position :]

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        self._digest.update(piece)

    def __iter__(self) -> Iterator[tuple[bytes, list[Event]]]:
        rest = self._rest
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield self._checked(rest[:cut])
            rest = rest[cut:]
        for piece in self._pieces:
            self._take(piece)
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield self._checked(rest + piece[:cut])
                rest = piece[cut:]
            else:
                rest += piece
        if rest:
            raise self.damage("it ends inside a line")
        if self.more:
            raise self.damage("the last batch is cut short")
        if self.offset < self.header.covers:
            # What stands for the last that were taken out has the offset of the last of them.
            raise self.damage(f"event {self.header.covers} is missing")

    def _checked(self, piece: bytes) -> tuple[bytes, list[Event]]:
        wrong, bad_at = "", 0
        try:
            events, crc = codec.decode(piece, self.crc)
        except BadLine as bad:
            events, wrong, bad_at = bad.events, bad.why, bad.position
        missing = self._follow(events)
        if missing:
            wrong, index = missing
            bad_at = sum(len(line) + 1 for line in piece.split(b"\n")[:index])
        if wrong:
            self.position += bad_at
            raise self.damage(wrong)
        self.crc = crc
        self.position += len(piece)
        return piece, events

    def _follow(self, events: list[Event]) -> tuple[str, int] | None:
        """Check that events follow each other: (what is wrong, at which of them).

        Offsets may be missing only where lines were taken out.
        """
        if not events:
            return None
        covers, at = self.header.covers, self.at or self.header.at
        self.more = events[-1].more
        times = [event.at for event in events]
        # Nearly always all is well, and to see that at once takes a third of the time.
        if (
            [event.offset for event in events]
            == [*range(self.offset + 1, self.offset + 1 + len(events))]
            and at <= times[0]
            and times == sorted(times)
        ):
            self.offset, self.at = events[-1].offset, times[-1]
            return None
        for index, event in enumerate(events):
            offset = event.offset
            if offset != self.offset + 1 and not self.offset < offset <= covers:
                return f"event {self.offset + 1} is missing", index
            if event.at < at:
                return "time runs backwards", index
            self.offset, at = offset, event.at
        self.at = at
        return None

    def find(self, offset: int) -> tuple[int, bytes]:
        """(position, line with its newline) of an event; an empty line where it is not there."""
        for piece, events in self:
            if events[-1].offset >= offset:
                position = self.position - len(piece)
                for event, line in zip(events, piece.split(b"\n"), strict=False):
                    if event.offset == offset:
                        return position, line + b"\n"
                    position += len(line) + 1
                break
        return self.position, b""

    def damage(self, why: str) -> Damaged:
        return self._damaged(why, file=self.file, position=self.position, offset=self.offset)

    def check_seam(self, following: int, header: Header | None) -> None:
        """Check that the next segment goes on from the original of this one."""
        if self.offset + 1 != following:
            raise self.damage(f"event {self.offset + 1} is missing")
        if header is None:
            raise self.damage("the first line of the next segment does not verify")
        if (header.log, seam_before(header)) != (self.header.log, self.seam):
            raise self.damage("the next segment names another one than this as its predecessor")
        if header.at < self.at:
            raise self.damage("time runs backwards to the next segment")

    # ---- known once it is through

    @property
    def sha256(self) -> str:
        """Of the bytes that were read."""
        return self._digest.hexdigest()

    @property
    def seam(self) -> Seam:
        """By what the next segment names this one."""
        return sealed_as(self.header, self.crc, self.sha256)


def content_of(log: FileReader, first: int) -> Content:
    """What counts of a segment of that log."""
    return Content(log.pieces(first), first, log.segments.path(first))


def archived_content(archive: Archive, first: int) -> Content:
    """An archived segment. Raises `ArchiveDamaged`."""
    return Content(archive.read(first), first, archive.path(first), ArchiveDamaged)
