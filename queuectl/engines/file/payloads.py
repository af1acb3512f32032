"""What is too long for a line of the log: a private file for each such text, named by its SHA-256.

Whoever keeps one holds a lock until the event that names it is durable; whoever removes those that
nobody names holds it, too. Knows no events.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256

from queuectl.engines.file.shelf import Shelf
from queuectl.errors import LockTimedOut, PayloadLost

_LOCK = "LOCK"
_NAME = re.compile(r"[0-9a-f]{64}")
# Within a string there would be a backslash before each quote.
_NAMED = re.compile(rb'"payloads":\[([^\]]*)\]')
_DIGEST = re.compile(rb'=([0-9a-f]{64})"')


def named_in(lines: bytes) -> set[str]:
    """The hashes that whole lines of a log name."""
    return {digest.decode() for some in _NAMED.findall(lines) for digest in _DIGEST.findall(some)}


class Payloads(Shelf[str]):
    """The files in one directory; there need not be one."""

    def path(self, digest: str) -> str:
        return os.path.join(self.directory, digest)

    def names(self) -> set[str]:
        """The hashes of all there are."""
        return set(filter(_NAME.fullmatch, self._host.names(self.directory)))

    def is_empty(self) -> bool:
        """Whether there is nothing, not even half of one."""
        return set(self._host.names(self.directory)) <= {_LOCK}

    def read(self, digest: str) -> bytes:
        """Raises `PayloadLost`, and `OSError` where it cannot be read now."""
        path = self.path(digest)
        try:
            fd = self._host.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise PayloadLost(f"{path} is gone, and with it a part of a job") from None
        try:
            content = b"".join(self.pieces(fd, 0, self._host.size(fd)))
        finally:
            self._host.close(fd)
        if sha256(content).hexdigest() != digest:
            raise PayloadLost(f"{path} is not what it was, and a part of a job")
        return content

    @contextmanager
    def keeping(self, contents: Collection[bytes], timeout_s: float) -> Iterator[None]:
        """Have these there durably, and let nobody remove any meanwhile. Raises `LockTimedOut`,
        `NoSpace` and `SyncFailed`."""
        host, directory = self._host, self.directory
        host.make_directory(directory)
        # Also where it was there: whoever made it may have died before it was durable.
        self.sync(host.sync_directory, os.path.dirname(directory))
        with self.holding(timeout_s):
            for content in dict.fromkeys(contents):
                # One that is there already may never have been durable: it is made anew.
                self.put(sha256(content).hexdigest(), [content])
            yield

    @contextmanager
    def holding(self, timeout_s: float) -> Iterator[None]:
        """Keep others from keeping and removing. Raises `LockTimedOut`."""
        path = os.path.join(self.directory, _LOCK)
        fd = self._host.hold_within(path, timeout_s)
        if fd is None:
            raise LockTimedOut(f"somebody else has kept {path} locked for {timeout_s:g} s")
        try:
            yield
        finally:
            self._host.close(fd)
