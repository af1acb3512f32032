"""A log held still: its files, open, so that another program reads the very bytes that are checked
here, whatever becomes of their names meanwhile. Knows no jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from queuectl.engines.file.reader import BROKEN_CHAIN, FileReader
from queuectl.errors import Damaged, Newer
from queuectl.events import codec
from queuectl.events.codec import BadLine


class _File(NamedTuple):
    segment: int
    fd: int
    size: int


def pin(log: FileReader) -> Pinned | None:
    """The segments as they stand now; None where any was ever rewritten, or there is none."""
    pinned = Pinned(log)
    if pinned.paths and pinned.are_original():
        return pinned
    pinned.close()
    return None


class Pinned:
    """The segments of a log. Sealed ones never change under who has them open; of the active one
    there is a copy in memory, as far as it is durable."""

    def __init__(self, log: FileReader) -> None:
        self._log = log
        self._segments = log.segments
        self._host = log.host
        self._files: list[_File] = []
        self._crc = 0
        """Of the last line of the last file that is checked."""
        active = log.active()
        try:
            for segment in self._segments.list():
                if segment > active:
                    break
                if segment < active:
                    fd = self._segments.open(segment)
                else:
                    fd = self._host.memory_file(log.pieces(segment))
                self._files.append(_File(segment, fd, self._host.size(fd)))
        except BaseException:
            self.close()
            raise

    def are_original(self) -> bool:
        """Whether nothing was taken out of them, or is kept elsewhere, so far as their first lines
        say."""
        for segment, fd, _ in self._files:
            try:
                header, _, _ = self._segments.header(fd, segment)
            except Damaged:
                return True
            if header.covers or header.format > codec.FORMAT:
                return False
        return True

    @property
    def paths(self) -> list[str]:
        """The files, in order; good within this process, until `close`."""
        return [self._host.path_of(file.fd) for file in self._files]

    def check(self, progress: Callable[[int, int], None]) -> None:
        """Check every line; `progress` hears (bytes checked, bytes in all).

        Raises `Damaged`; from then on `paths` end with the last event before the damage.
        """
        total = sum(file.size for file in self._files)
        done = self._crc = 0
        for index, file in enumerate(self._files):
            position = 0
            try:
                for position in self._checked(file):
                    progress(done + position, total)
            except BadLine as bad:
                position += bad.position
                damage = self._damage(bad.why, file, position)
                self._cut(index, position)
                raise damage from None
            done += file.size

    def _checked(self, file: _File) -> Iterator[int]:
        """How many bytes of a file are checked so far. Raises `BadLine`, with a position counted
        from there."""
        try:
            header, crc, position = self._segments.header(file.fd, file.segment)
        except Damaged as damage:
            raise BadLine(damage.why, 0, self._crc, []) from None
        if header.previous_crc != f"{self._crc:08x}":
            raise BadLine(BROKEN_CHAIN, 0, self._crc, [])
        yield position
        for piece in self._log.whole_lines(file.fd, position, file.size):
            crc = codec.check(piece, crc)
            position += len(piece)
            yield position
        self._crc = crc
        if position < file.size:
            raise BadLine("it ends inside a line", 0, crc, [])

    def _damage(self, why: str, file: _File, position: int) -> Damaged:
        line = self._log.line_before(file.fd, position) if position else b""
        try:
            offset = codec.decode_unverified(line)[-1].offset
        except (Newer, IndexError):  # it is the first line of the file
            offset = file.segment - 1
        path = self._segments.path(file.segment)
        return Damaged(why, file=path, position=position, offset=offset)

    def _cut(self, index: int, position: int) -> None:
        """Let the files end there."""
        file = self._files[index]
        head = self._segments.pieces(file.fd, 0, position)
        rest, self._files[index:] = self._files[index:], []
        fd = self._host.memory_file(head)
        self._files.append(_File(file.segment, fd, position))
        for gone in rest:
            self._host.close(gone.fd)

    def close(self) -> None:
        """Give the files back."""
        for file in self._files:
            self._host.close(file.fd)
        self._files = []
