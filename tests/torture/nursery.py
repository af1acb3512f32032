"""Processes that start in a moment: forked from one that has everything imported already.

Run as a program, this module is that one. It takes requests, one JSON line each, and everything it
has forked dies with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
_PR_SET_PDEATHSIG = 1


class Child:
    """A forked process."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid

    def send(self, signum: int) -> None:
        """Signal it; one that has ended is no error, and its pid is nobody else's yet."""
        self._nursery.ask("send", self.pid, int(signum))

    def stop(self) -> None:
        """Stop it (SIGSTOP); when this returns, it does nothing any more."""
        self.send(signal.SIGSTOP)
        self._nursery.ask("see stopped", self.pid)

    def locks(self) -> list[str]:
        """The files that it holds the locks of, by descriptors of its own."""
        here = Path(f"/proc/{self.pid}")
        return [
            os.readlink(here / "fd" / name)
            for name in os.listdir(here / "fd")
            if "\nlock:" in (here / "fdinfo" / name).read_text()
        ]

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return int(self._nursery.ask("wait", self.pid))

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()


class Nursery:
    """The process that forks them."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENV,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def fork(self, role: str, notes: Path | str = os.devnull, **arguments: Any) -> Child:
        """A process in that role, which prints into the file `notes`."""
        return Child(self, int(self.ask("fork", role, str(notes), arguments)))

    def ask(self, *request: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        return json.loads(self._process.stdout.readline())


# ---- what the children do


def enqueuer(
    place: str,
    told: str,
    name: str,
    boot: str = "",
    segment_bytes_max: int = 1 << 24,
    every_s: float = 0.0,
    job: dict[str, Any] | None = None,
) -> None:
    """Enqueue one job, then two, three and one again, for ever; write down each id once told."""
    from queuectl import Queue
    from queuectl.engines.file import FileLog
    from queuectl.host import Host

    class Booted(Host):
        def boot_id(self) -> str:
            return boot or super().boot_id()

    fd = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    host = Booted()
    Queue(place, host=host).close()
    log = FileLog(os.path.join(place, "log"), host, segment_bytes_max=segment_bytes_max)
    number = 0
    with Queue(place, host=host, log=log) as queue:
        while True:
            number += 1
            jobs = [
                {"command": "true", **(job or {}), "id": f"{name}.{number}.{part}"}
                for part in range(1 + number % 3)
            ]
            ids = [job.id for job in queue.enqueue_many(jobs)]
            os.write(fd, "".join(f"{id}\n" for id in ids).encode())
            pause(every_s)


def worker(place: str, options: dict[str, Any]) -> None:
    """A worker as in the tests' other processes."""
    import workers

    sys.exit(workers.main(place, options))


def tidier(place: str, every_s: float) -> None:
    """Forget whatever the settings do not keep, and compact, for ever."""
    from queuectl import Queue
    from queuectl.errors import LockTimedOut
    from queuectl.runtime.tidying import tidy

    with Queue(place) as queue:
        while True:
            with suppress(LockTimedOut):  # somebody keeps it from compacting
                tidy(queue)
            pause(every_s)


ROLES: dict[str, Callable[..., None]] = {role.__name__: role for role in (enqueuer, worker, tidier)}


def told_in(path: Path) -> list[str]:
    """The ids that were written down whole."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


# ---- the process that forks


def _be_born(role: str, notes: str, arguments: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    fd = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (fd, 1), (fd, 2)):
        os.dup2(old, new)
    code = 1
    try:
        ROLES[role](**arguments)
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    import workers  # noqa: F401 - imported once for all that are forked

    for line in sys.stdin:
        what, *rest = json.loads(line)
        answer: Any = None
        if what == "fork":
            answer = os.fork()
            if answer == 0:
                _be_born(*rest)
        elif what == "send":
            os.kill(*rest)
        elif what == "see stopped":
            assert os.WIFSTOPPED(os.waitpid(rest[0], os.WUNTRACED)[1])
        elif what == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
        print(json.dumps(answer), flush=True)


def pause(seconds: float) -> None:
    """Let others get on: where processes are killed at any moment there is no clock to inject."""
    time.sleep(seconds)


if __name__ == "__main__":
    main()
