"""The files under `run/` by which a worker shows that it lives, and what they tell when it does
not any more; knows no job.

What counts is that a file is locked. What stands in it is for whoever takes over from a dead one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from queuectl.errors import QueuectlError
from queuectl.home import Home
from queuectl.host import Host
from queuectl.processes import Session

_BUSY_S = 0.002
_SIGN_BYTES = 41
_TRACE_BYTES = 52


class Presence:
    """The lock, the bell and the slots of one live worker."""

    def __init__(self, home: Home, host: Host, worker: str) -> None:
        """Raises `OSError` where they cannot be made."""
        self._home = home
        self._host = host
        self._worker = worker
        self.free: dict[int, int] = {}
        """Slot locks that are held and belong to no run."""
        host.make_directory(home.run)  # it may be deleted while no worker runs
        path = home.worker_lock(worker)
        while (lock := host.hold(path)) is None:
            host.sleep(_BUSY_S)  # somebody looks whether this was left by a dead one
        self._lock = lock
        self.show()
        self.bell = host.make_bell(home.worker_bell(worker))

    def show(self) -> bool:
        """Note that this worker lives now; False where its files were deleted, so that nobody can
        know."""
        host = self._host
        with suppress(OSError):  # the disk may be full: then a successor finds an older sign
            host.write_at(self._lock, b"%020d %020d" % (host.pid_namespace(), host.ticks()), 0)
        return host.is_at(self._home.worker_lock(self._worker), host.identity(self._lock))

    def hold_slots(self, numbers: list[int]) -> None:
        """Add those slots to the free ones, but for those that somebody else looks at now."""
        for number in numbers:
            with suppress(FileNotFoundError):  # `show` will tell
                lock = self._host.hold(self._home.slot_lock(self._worker, number))
                if lock is not None:
                    self.free[number] = lock

    def ring(self) -> None:
        """Tell this worker that a start is known of; where that cannot be told, it is seen soon."""
        with suppress(OSError):  # full, say: it is ringing already
            self._host.write(self.bell, b"s")

    def leave(self) -> None:
        """Take the files away, then give up the locks: a stop has returned once they are free."""
        remove_run_files(self._home, self._host, self._worker)
        for descriptor in (self._lock, *self.free.values()):
            self._host.close(descriptor)
        self.free.clear()

    def close(self) -> None:
        """Give the bell back, once no signal rings it any more."""
        self._host.close(self.bell)


class Trace(NamedTuple):
    """What stands in the file of a slot."""

    token: int
    """The last run that was begun there."""
    session: int
    """Its session, which is the pid of its main process; 0 where that had not yet started."""
    start: int
    """When that process started, in ticks."""


def write_trace(host: Host, lock: int, token: int, pid: int = 0) -> None:
    """Write down in a slot which run it is, and, once there is one, its main process."""
    start = host.start_of(pid) if pid else 0
    host.write_at(lock, b"%020d %010d %020d" % (token, pid, start), 0)


def read_trace(home: Home, host: Host, worker: str, slot: int) -> Trace | None:
    """What a slot's file tells; None where there is none."""
    text = _read(host, home.slot_lock(worker, slot), _TRACE_BYTES)
    # An empty one has seen no run yet.
    return None if text is None else Trace(*[*map(int, text.split()), 0, 0, 0][:3])


def session_of(home: Home, host: Host, worker: str, run: Trace) -> Session | None:
    """The session of a dead worker's run, where that number still means the same."""
    sign = _read(host, home.worker_lock(worker), _SIGN_BYTES) or b""
    namespace, _, seen = sign.partition(b" ")
    # In another container it would be that of somebody else.
    if not (run.start and seen) or int(namespace) != host.pid_namespace():
        return None
    return Session(run.session, run.start, int(seen))


def _read(host: Host, path: str, size: int) -> bytes | None:
    try:
        fd = host.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return host.read_at(fd, size, 0)
    finally:
        host.close(fd)


def remove_run_files(home: Home, host: Host, worker: str) -> None:
    """Take away what a worker had under `run/`; whoever still holds a lock keeps it."""
    for name in host.names(home.run):
        if name.partition(".")[0] == worker:
            try:
                host.unlink(os.path.join(home.run, name))
            except FileNotFoundError:
                pass  # several clear up after the same dead one
            except OSError as error:
                raise QueuectlError(f"cannot remove {name} in {home.run}: {error}") from None
