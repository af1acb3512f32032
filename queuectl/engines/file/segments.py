"""Segment files: their names, their first lines and their sealing; knows no lock and no mark."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping

from queuectl.engines.file.shelf import Numbered, sync_failed
from queuectl.errors import Damaged
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.host import Host

_TAKES_NO_WRITES = (errno.EROFS, errno.EINVAL)
"""What a file system says where there is nothing to be lost."""


def counting(headers: Mapping[int, Header | None]) -> list[int]:
    """The segments that count, rising: without those that an earlier one stands for already.

    A compaction that was interrupted leaves such: it had put one in the place of several, and had
    not yet removed the others.
    """
    covered = 0
    firsts = []
    for first, header in headers.items():
        if first > covered:
            firsts.append(first)
            covered = header.covers if header else 0
    return firsts


class Segments(Numbered):
    """The segment files of one log directory."""

    def __init__(self, directory: str, host: Host) -> None:
        super().__init__(directory, ".jsonl", host)

    def open(self, first: int, *, write: bool = False) -> int:
        flags = os.O_RDWR | os.O_APPEND if write else os.O_RDONLY
        try:
            return self._host.open(self.path(first), flags)
        except FileNotFoundError:
            path = self.path(first)
            raise Damaged("a file is gone", file=path, position=0, offset=first - 1) from None

    def close(self, fd: int) -> None:
        self._host.close(fd)

    def header(self, fd: int, first: int) -> tuple[Header, int, int]:
        """(header, its crc, the position after it) of an open segment."""
        start = self._host.read_at(fd, codec.HEADER_BYTES_MAX, 0)
        try:
            return codec.header_of(start, first)
        except ValueError as error:
            raise Damaged(
                f"the first line does not verify: {error}",
                file=self.path(first),
                position=0,
                offset=first - 1,
            ) from None

    def settle(self, first: int) -> None:
        """Make the bytes and the name of a segment durable, whoever wrote it. Raises `SyncFailed`.

        A machine below this one may have outlived its restart, and remember what was never stored.
        """
        fd = self.open(first)
        try:
            self._host.fdatasync(fd)
            self._host.sync_directory(self.directory)
        except OSError as error:
            if error.errno not in _TAKES_NO_WRITES:
                raise sync_failed(self.directory, error) from None
        finally:
            self.close(fd)

    def headers(self, firsts: Iterable[int] | None = None) -> dict[int, Header | None]:
        """The first lines of all segments that are there, or of those of `firsts` that are, by
        their offsets, rising; None for one that does not verify."""
        headers: dict[int, Header | None] = {}
        for first in self.list() if firsts is None else firsts:
            try:
                fd = self._host.open(self.path(first), os.O_RDONLY)
            except FileNotFoundError:  # merged into an earlier one meanwhile
                continue
            try:
                headers[first] = self.header(fd, first)[0]
            except Damaged:
                headers[first] = None
            finally:
                self._host.close(fd)
        return headers

    def log_of_first(self) -> str:
        """The identity of the log, as the first segment has it; empty where there is none."""
        headers = self.headers(self.list()[:1]).values()
        return next((header.log for header in headers if header), "")

    def sha256(self, fd: int, size: int) -> str:
        """SHA-256 of the first `size` bytes of an open segment."""
        # Only sealing needs it, and importing it costs every start 3 ms.
        import hashlib

        digest = hashlib.sha256()
        for piece in self.pieces(fd, 0, size):
            digest.update(piece)
        return digest.hexdigest()

    def whole(self, first: int) -> Iterator[bytes]:
        """All bytes of a segment, in pieces."""
        fd = self.open(first)
        try:
            yield from self.pieces(fd, 0, self._host.size(fd))
        finally:
            self.close(fd)

    def read(self, fd: int, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`; fewer where the file is shorter."""
        return b"".join(self.pieces(fd, start, end))
