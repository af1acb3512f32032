"""Segment files: their names, their making and their sealing; knows no lock and no mark."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from queuectl.errors import Damaged, NoSpace, SyncFailed
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.host import Host

SUFFIX = ".jsonl"
_DIGITS = 20
_READ_BYTES = 1 << 20
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


def sync_failed(directory: str, error: OSError) -> SyncFailed:
    return SyncFailed(
        f"the disk failed to store the log in {directory} ({error.strerror});"
        " what was just asked for may be lost: check the disk, then start again"
    )


class Segments:
    """The segment files of one log directory."""

    def __init__(self, directory: str, host: Host) -> None:
        self.directory = directory
        self._host = host

    def path(self, first: int) -> str:
        """Where the segment is whose first event has offset `first`."""
        return os.path.join(self.directory, f"{first:0{_DIGITS}d}{SUFFIX}")

    def list(self) -> list[int]:
        """The first offsets of all segments, rising."""
        return sorted(
            int(name[:_DIGITS])
            for name in self._host.names(self.directory)
            if len(name) == _DIGITS + len(SUFFIX)
            and name.endswith(SUFFIX)
            and name[:_DIGITS].isdecimal()
        )

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
        start = self._host.read_at(fd, 4096, 0)
        line, newline, _ = start.partition(b"\n")
        try:
            if not newline:
                raise ValueError("it has no newline")
            header, crc = codec.decode_header(line)
            if header.first != first:
                raise ValueError(f"it says that its first event is {header.first}")
        except ValueError as error:
            raise Damaged(
                f"the first line does not verify: {error}",
                file=self.path(first),
                position=0,
                offset=first - 1,
            ) from None
        return header, crc, len(line) + 1

    def sha256(self, fd: int, size: int) -> str:
        """SHA-256 of the first `size` bytes of an open segment."""
        # Only sealing needs it, and importing it costs every start 3 ms.
        import hashlib

        digest = hashlib.sha256()
        position = 0
        while position < size:
            piece = self._host.read_at(fd, min(_READ_BYTES, size - position), position)
            if not piece:
                break
            digest.update(piece)
            position += len(piece)
        return digest.hexdigest()

    def publish(self, first: int, content: bytes, reserve: int) -> tuple[int, int]:
        """Make `content` the segment `first`, durably and at once or not at all.

        Written beside, synced, renamed, and the directory synced; a segment of that name is
        replaced. Returns (descriptor to append with, bytes reserved). Raises `NoSpace`, and
        `SyncFailed` when it may not be durable.
        """
        host = self._host
        temporary = os.path.join(self.directory, f"new-{host.random(6).hex()}")
        fd = -1
        try:
            fd = host.create(temporary)
            reserved = len(content) + reserve
            host.reserve(fd, 0, reserved)
            self._write(fd, content)
            self.sync(host.fsync, fd)
            host.rename(temporary, self.path(first))
            self.sync(host.sync_directory, self.directory)
        except (OSError, SyncFailed) as error:
            if fd >= 0:
                host.close(fd)
                self._discard(temporary)
            raise self._meant(error) from None
        return fd, reserved

    def keep_aside(self, first: int, position: int, content: bytes) -> None:
        """Keep bytes that were cut off the segment `first` at `position`, for who looks later."""
        host = self._host
        name = f"cut-{first}-{position}-{host.random(4).hex()}"
        path = os.path.join(self.directory, name)
        fd = -1
        try:
            fd = host.create(path)
            self._write(fd, content)
        except OSError as error:
            if fd >= 0:
                self._discard(path)
            raise self._meant(error) from None
        finally:
            if fd >= 0:
                host.close(fd)

    def _write(self, fd: int, content: bytes) -> None:
        written = 0
        while written < len(content):
            written += self._host.write(fd, content[written:])

    def sync(self, sync: Callable[[Any], None], what: int | str) -> None:
        """Call one of the host's syncs; raises `SyncFailed`."""
        try:
            sync(what)
        except OSError as error:
            raise sync_failed(self.directory, error) from None

    def _discard(self, path: str) -> None:
        if self._host.exists(path):
            self._host.unlink(path)

    def _meant(self, error: Exception) -> Exception:
        if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:
            return NoSpace(
                f"no space left for the log in {self.directory}: free some, then try again"
            )
        return error

    def read(self, fd: int, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`; fewer where the file is shorter."""
        pieces = []
        while start < end:
            piece = self._host.read_at(fd, min(_READ_BYTES, end - start), start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def remove_leftovers(self) -> None:
        """Files of makings that a crash interrupted; only with the lock held."""
        for name in self._host.names(self.directory):
            if name.startswith("new-"):
                self._host.unlink(os.path.join(self.directory, name))
