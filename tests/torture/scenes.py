"""Programs that are recorded, and then crashed at every call: `scenes.py SCENE HALF PLACE TOLD`.

Each forks real processes that append to one queue, and writes down what it was told, one line
`offset job` an event, once it has been told. One after the other, each half takes every other of
the calls that are to go wrong: so logs stay short, and there is something to do for two processors.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from crashes import RESTARTED

from queuectl import Queue, queueview
from queuectl.engines.file import FileLog
from queuectl.host import Host
from queuectl.runtime.compacting import compact

SEGMENT_BYTES_MAX = 1500
WATCHED = ("create", "write", "fsync", "fdatasync", "truncate", "rename", "sync_directory")


class Doomed(Host):
    """A machine that kills the process before its `number`-th call on the disk, or fails it."""

    def __init__(self, number: int, error: int = 0, boot: str = "") -> None:
        self.left = number
        self.error = error
        self.boot = boot

    def boot_id(self) -> str:
        return self.boot or super().boot_id()

    def meet(self) -> None:
        self.left -= 1
        if self.left == 0:
            if not self.error:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self.error, os.strerror(self.error))


def _doomed(name: str) -> Callable[..., Any]:
    def call(self: Doomed, *arguments: Any) -> Any:
        self.meet()
        return getattr(super(Doomed, self), name)(*arguments)

    return call


for _name in (*WATCHED, "write_at"):
    setattr(Doomed, _name, _doomed(_name))


def add(place: str, told: int, host: Host, name: str, times: int) -> None:
    """Enqueue one, two, three jobs, and so on; say so after each."""
    log = FileLog(os.path.join(place, "log"), host, segment_bytes_max=SEGMENT_BYTES_MAX)
    with Queue(place, host=host, log=log) as queue:
        for number in range(times):
            jobs = queue.enqueue_many(
                [
                    {"command": "true", "id": f"{name}.{number}.{part}", "cwd": "/"}
                    for part in range(1 + number % 3)
                ]
            )
            os.write(told, "".join(f"{job.offset} {job.id}\n" for job in jobs).encode())


def apart(action: Callable[[], None]) -> int:
    """Do it in a process of its own; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except Exception as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(0)
    return pid


def beside_each_other(place: str, told: int, half: int) -> None:
    for pid in [apart(lambda n=n: add(place, told, Host(), f"p{n}", 7)) for n in range(half + 1)]:
        os.waitpid(pid, 0)


def killed(place: str, told: int, half: int) -> None:
    """Processes die before every call of theirs in turn, and others go on."""
    for number in range(half, 26, 2):
        doomed = lambda: add(place, told, Doomed(number), f"k{number}", 6)  # noqa: B023, E731
        os.waitpid(apart(doomed), 0)


def failing(place: str, told: int, half: int) -> None:
    """The disk refuses every call in turn; that process gives up, and another one goes on."""
    for number in range(half, 16, 2):
        fails = lambda: add(place, told, Doomed(number, errno.EIO), f"e{number}", 6)  # noqa: B023, E731
        os.waitpid(apart(fails), 0)
        os.waitpid(apart(lambda: add(place, told, Host(), f"o{number}", 1)), 0)  # noqa: B023


def restarting(place: str, told: int, half: int) -> None:
    """Each process finds the machine restarted, and dies a little later than the one before."""
    for number in range(half, 36, 2):
        os.write(told, f"{RESTARTED}\n".encode())
        host = Doomed(number, boot=f"{number:036d}")
        os.waitpid(apart(lambda: add(place, told, host, f"r{number}", 6)), 0)  # noqa: B023


def live_and_be_forgotten(place: str, told: int, name: str) -> None:
    """Enqueue some jobs, call most of them off, purge those, and keep a snapshot of it all."""
    with Queue(place) as queue:
        ids = [f"keep.{name}", *(f"gone.{name}.{number}" for number in range(4))]
        jobs = queue.enqueue_many([{"command": "true", "id": id, "cwd": "/"} for id in ids])
        os.write(told, "".join(f"{job.offset} {job.id}\n" for job in jobs).encode())
        queue.cancel(*ids[1:])
        queue.prune(*ids[1:])
        queue.keep_snapshot()


def compact_all(place: str, host: Host) -> None:
    with Queue(place, host=host) as queue:
        for _ in compact(queue):
            pass


def compacting(place: str, told: int, half: int) -> None:
    """Jobs are purged and the log is compacted, by processes that die before each call in turn."""
    queueview.FileLog = partial(FileLog, segment_bytes_max=SEGMENT_BYTES_MAX)  # type: ignore[misc, assignment]
    for number in range(3 * half - 2, 32, 6):
        os.waitpid(apart(lambda: live_and_be_forgotten(place, told, str(number))), 0)  # noqa: B023
        beside = [
            apart(lambda: compact_all(place, Doomed(number))),  # noqa: B023
            apart(lambda: live_and_be_forgotten(place, told, f"{number}.beside")),  # noqa: B023
        ]
        for pid in beside:
            os.waitpid(pid, 0)
    os.waitpid(apart(lambda: compact_all(place, Host())), 0)


SCENES = {
    scene.__name__: scene for scene in (beside_each_other, killed, failing, restarting, compacting)
}

if __name__ == "__main__":
    scene, half, place, told = sys.argv[1:]
    Queue(place).close()
    SCENES[scene](place, os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), int(half))
