"""The part of the door to the machine at which somebody waits for others; knows not what for."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable

_LINUX = sys.platform == "linux"
_WAIT_S_MAX = 86_400.0
"""The system takes no more than 24 days."""
_IN_MODIFY = 0x2


class Waiting:
    """Waiting for bells, pipes and changes of files, at no cost."""

    def wait(self, descriptors: Iterable[int], timeout_s: float) -> set[int]:
        """Those of `descriptors` that can be read, as soon as there is one or the time is up."""
        poll = select.poll()
        for fd in descriptors:
            poll.register(fd, select.POLLIN)
        return {fd for fd, _ in poll.poll(min(max(0.0, timeout_s), _WAIT_S_MAX) * 1000)}

    def make_watch(self) -> int:
        """A descriptor that becomes readable when a file is written to that it is told to `watch`;
        -1 where the system cannot do that. `silence` makes it unreadable again."""
        if not _LINUX:
            return -1
        import ctypes

        fd = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        return int(fd)

    def watch(self, fd: int, path: str) -> bool:
        """Watch the file that is at `path` now, besides others; whether that can be done."""
        if fd < 0:
            return False
        import ctypes

        return int(ctypes.CDLL(None).inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY)) >= 0

    def make_pipe(self) -> tuple[int, int]:
        """(the end to wait at, the end to ring by writing a byte), neither of which blocks."""
        ends = os.pipe()
        for end in ends:
            os.set_blocking(end, False)
        return ends
