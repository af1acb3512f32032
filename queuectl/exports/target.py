"""Where an export goes: a file that is there whole or not at all, or a stream."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from queuectl.errors import NoSpace, Rejected
from queuectl.home import check_directory_of
from queuectl.host import OUT_OF_SPACE, Host

_PIECE_BYTES = 1 << 20


class Target:
    """A file in the making, in a directory of its own beside `path`; `keep` puts it there.

    Without that, it is gone at the end of the `with`. Raises `Rejected` where there is something at
    `path` that may not be replaced, `NotFound` where there is no directory, and `NoSpace`.
    """

    def __init__(self, path: str, host: Host, *, force: bool = False) -> None:
        self._host = host
        self._force = force
        self._path = os.path.abspath(path)
        self.directory, name = os.path.split(self._path)
        if not force and host.exists(self._path):
            raise self._taken()
        check_directory_of(self._path, host)
        self.scratch = os.path.join(self.directory, f".{name}.{host.random(4).hex()}")
        """For whatever is needed on the way; nobody else can look into it."""
        self.making = os.path.join(self.scratch, name)
        """The file, for whoever makes it by a path; else `write` does."""
        self._fds: list[int] = []
        with self._telling_of_space():
            host.make_directory(self.scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd in self._fds:
            self._host.close(fd)
        self._host.remove_tree(self.scratch)
        with self._telling_of_space():
            if error is not None:
                raise error

    @contextmanager
    def _telling_of_space(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in OUT_OF_SPACE:
                raise no_space(self.directory) from None
            raise

    def _taken(self) -> Rejected:
        return Rejected(f"{self._path} is there already: name another, or --force to replace it")

    def write(self, pieces: Iterable[bytes]) -> None:
        """Make the file of bytes."""
        self._store(self.making, pieces)

    def spool(self, pieces: Iterable[bytes]) -> str:
        """Put bytes aside for who can only read files; returns the path."""
        path = os.path.join(self.scratch, f"{len(self._fds)}.lines")
        self._store(path, pieces)
        return path

    def _store(self, path: str, pieces: Iterable[bytes]) -> None:
        fd = self._host.create(path)
        self._fds.append(fd)
        _write(self._host, fd, pieces)

    def keep(self) -> None:
        """Make it durable, and put it where it belongs."""
        host = self._host
        fd = host.open(self.making, os.O_RDONLY)
        self._fds.append(fd)
        host.make_private(fd)
        host.fsync(fd)
        if self._force:
            host.rename(self.making, self._path)
        else:
            try:
                host.link(self.making, self._path)
            except FileExistsError:
                raise self._taken() from None
        host.sync_directory(self.directory)


def no_space(directory: str) -> NoSpace:
    return NoSpace(f"no space left in {directory}: nothing was written; free some, then try again")


def _write(host: Host, fd: int, pieces: Iterable[bytes]) -> None:
    """Write pieces of any size, many small ones at once."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            host.write_all(fd, b"".join(waiting))
            waiting, size = [], 0
    host.write_all(fd, b"".join(waiting))
