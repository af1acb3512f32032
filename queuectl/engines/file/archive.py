"""The archive: every segment that compaction has changed, whole and as it was, as a `.jsonl.gz`.

Plain gzip, because every tool reads it. Knows no jobs.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator

from queuectl.engines.file.shelf import Numbered
from queuectl.errors import ArchiveDamaged
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.host import Host

_LEVEL = 5
"""A fifth faster than 6, and files a thirtieth bigger: compressing is half of a compaction."""
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's way to say gzip; no name and the time 0, so that the same bytes make the same file."""
_PIECE_BYTES = 1 << 20
"""Taken out at a time, however well it was compressed."""


class Archive(Numbered):
    """The archived segments in one directory; there need not be one."""

    def __init__(self, directory: str, host: Host) -> None:
        super().__init__(directory, ".jsonl.gz", host)

    def keep(self, first: int, pieces: Iterable[bytes], sha256: str) -> int:
        """Put a segment into the archive; returns the bytes that it takes there.

        When this returns, it is durable, and what can be read back has this SHA-256. One that is
        there already was left by a crash or a failed sync: it is made anew.
        """
        # Only compaction needs it, and importing it costs every start 3 ms.
        import hashlib

        host = self._host
        host.make_directory(self.directory)
        if not self.list():
            self.sync(host.sync_directory, os.path.dirname(self.directory))

        def check(fd: int) -> None:
            digest = hashlib.sha256()
            for piece in self._decompressed(fd, first):
                digest.update(piece)
            if digest.hexdigest() != sha256:
                raise self._damage("what was written is not what can be read", first, 0)

        return self.put(first, _compressed(pieces), check=check)

    def read(self, first: int) -> Iterator[bytes]:
        """The bytes of an archived segment, in pieces. Raises `ArchiveDamaged`."""
        fd = self._open(first)
        try:
            yield from self._decompressed(fd, first)
        finally:
            self._host.close(fd)

    def size(self, first: int) -> int:
        """Bytes that an archived segment takes."""
        return self._host.file_size(self.path(first))

    def header(self, first: int) -> Header | None:
        """The first line of an archived segment; None where it cannot be read."""
        try:
            return codec.header_of(next(self.read(first), b""), first)[0]
        except (ArchiveDamaged, ValueError):
            return None

    def _open(self, first: int) -> int:
        try:
            return self._host.open(self.path(first), os.O_RDONLY)
        except FileNotFoundError:
            raise self._damage("the file is gone", first, 0) from None

    def _decompressed(self, fd: int, first: int) -> Iterator[bytes]:
        unpacking = zlib.decompressobj(_GZIP)
        done = 0
        try:
            for packed in self.pieces(fd, 0, self._host.size(fd)):
                if unpacking.eof:
                    raise self._damage("something follows its end", first, done)
                while not unpacking.eof:
                    piece = unpacking.decompress(packed, _PIECE_BYTES)
                    packed = unpacking.unconsumed_tail
                    if piece:
                        done += len(piece)
                        yield piece
                    if not packed and len(piece) < _PIECE_BYTES:
                        break
        except zlib.error as error:
            raise self._damage(f"it cannot be decompressed ({error})", first, done) from None
        if not unpacking.eof:
            raise self._damage("it is cut short", first, done)
        if unpacking.unused_data:
            raise self._damage("something follows its end", first, done)

    def _damage(self, why: str, first: int, position: int) -> ArchiveDamaged:
        return ArchiveDamaged(why, file=self.path(first), position=position, offset=first - 1)


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        packed = packing.compress(piece)
        if packed:
            yield packed
    yield packing.flush()
