"""A directory of files, each put there whole or not at all, under a name that says which one it is;
knows nothing of what is in them."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from queuectl.errors import NoSpace, SyncFailed
from queuectl.host import OUT_OF_SPACE, SYNC_BYTES, Host

_DIGITS = 20
_READ_BYTES = 1 << 17
MAKING = "new-"
"""Begins the name that a file has until it is whole."""
Check = Callable[[int], None]
"""Looks at a file that was written, before it gets its name; raises if it must not have it."""


def sync_failed(directory: str, error: OSError) -> SyncFailed:
    return SyncFailed(
        f"the disk failed to store the log in {directory} ({error.strerror});"
        " what was just asked for may be lost: check the disk, then start again"
    )


def put(path: str, content: bytes, host: Host) -> None:
    """Make `content` all that is in the file at `path`, durably and at once or not at all.

    Raises `OSError`.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f"{MAKING}{name}-{host.random(6).hex()}")
    fd = host.create(temporary)
    try:
        try:
            host.write_all(fd, content)
            host.fsync(fd)
        finally:
            host.close(fd)
        host.rename(temporary, path)
    except OSError:
        if host.exists(temporary):
            host.unlink(temporary)
        raise
    host.sync_directory(directory)


def clear_up(path: str, host: Host) -> None:
    """Take away what interrupted makings of that file have left."""
    directory, name = os.path.split(path)
    leftover = re.compile(re.escape(f"{MAKING}{name}-") + "[0-9a-f]{12}")
    for found in host.names(directory):
        if leftover.fullmatch(found):
            host.unlink(os.path.join(directory, found))


Key = TypeVar("Key")


class Shelf(Generic[Key]):
    """The files in one directory; `Key` says which one."""

    def __init__(self, directory: str, host: Host) -> None:
        self.directory = directory
        self._host = host

    @abstractmethod
    def path(self, key: Key) -> str:
        """Where a file is."""

    def publish(
        self,
        key: Key,
        pieces: Iterable[bytes],
        *,
        reserve: int = 0,
        making: str = MAKING,
        check: Check | None = None,
    ) -> int:
        """Make `pieces` that file, durably and at once or not at all.

        Written beside, synced, renamed, and the directory synced; a file of that name is replaced.
        `reserve` bytes are set aside at once, for them and for what is appended later. Returns a
        descriptor to append with. Raises `NoSpace`, and `SyncFailed` when it may not be durable.
        """
        host = self._host
        temporary = os.path.join(self.directory, f"{making}{host.random(6).hex()}")
        fd = -1
        try:
            fd = host.create(temporary)
            if reserve:
                host.reserve(fd, 0, reserve)
            unsynced = 0
            for piece in pieces:
                host.write_all(fd, piece)
                unsynced += len(piece)
                if unsynced >= SYNC_BYTES:
                    self.sync(host.fdatasync, fd)
                    unsynced = 0
            self.sync(host.fsync, fd)
            if check is not None:
                check(fd)
            host.rename(temporary, self.path(key))
            self.sync(host.sync_directory, self.directory)
        except Exception as error:
            if fd >= 0:
                host.close(fd)
                self._discard(temporary)
            raise self._meant(error) from None
        return fd

    def put(
        self,
        key: Key,
        pieces: Iterable[bytes],
        *,
        making: str = MAKING,
        check: Check | None = None,
    ) -> int:
        """Publish what is not appended to; returns how many bytes it takes."""
        fd = self.publish(key, pieces, making=making, check=check)
        try:
            return self._host.size(fd)
        finally:
            self._host.close(fd)

    def keep_aside(self, name: str, content: bytes) -> None:
        """Keep bytes that are no longer part of a file, for who looks later."""
        path = os.path.join(self.directory, f"{name}-{self._host.random(4).hex()}")
        self._host.close(self.store(path, [content]))

    def store(self, path: str, pieces: Iterable[bytes]) -> int:
        """A new file with these bytes, not synced; returns its descriptor."""
        host = self._host
        fd = -1
        try:
            fd = host.create(path)
            for piece in pieces:
                host.write_all(fd, piece)
        except OSError as error:
            if fd >= 0:
                host.close(fd)
                self._discard(path)
            raise self._meant(error) from None
        return fd

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
            return NoSpace(f"no space left in {self.directory}: free some, then try again")
        return error

    def probe_ms(self) -> float:
        """How long this disk takes to make a few bytes durable (milliseconds); only where nobody
        takes leftovers away meanwhile."""
        host = self._host
        path = os.path.join(self.directory, f"{MAKING}{host.random(6).hex()}")
        fd = host.create(path)
        try:
            since = host.monotonic_s()
            host.write(fd, b"probe")
            host.fdatasync(fd)
            return (host.monotonic_s() - since) * 1000
        finally:
            host.close(fd)
            host.unlink(path)

    def pieces(self, fd: int, start: int, end: int) -> Iterator[bytes]:
        """The bytes of an open file from `start` to `end`; fewer where it is shorter."""
        while start < end:
            piece = self._host.read_at(fd, min(_READ_BYTES, end - start), start)
            if not piece:
                return
            yield piece
            start += len(piece)

    def remove(self, keys: Iterable[Key]) -> None:
        """Take files away, durably."""
        gone = [self._host.unlink(self.path(key)) for key in keys]
        if gone:
            self.sync(self._host.sync_directory, self.directory)

    def remove_leftovers(self, making: str = MAKING) -> None:
        """Files of makings that a crash interrupted; only where nobody else makes such."""
        for name in self._host.names(self.directory):
            if name.startswith(making):
                self._host.unlink(os.path.join(self.directory, name))


class Numbered(Shelf[int]):
    """Files that are named by the offset of their first event, with a suffix."""

    def __init__(self, directory: str, suffix: str, host: Host) -> None:
        super().__init__(directory, host)
        self._suffix = suffix

    def path(self, first: int) -> str:
        return os.path.join(self.directory, f"{first:0{_DIGITS}d}{self._suffix}")

    def list(self) -> list[int]:
        """The first offsets of all files, rising."""
        return sorted(
            int(name[:_DIGITS])
            for name in self._host.names(self.directory)
            if len(name) == _DIGITS + len(self._suffix)
            and name.endswith(self._suffix)
            and name[:_DIGITS].isdecimal()
        )
