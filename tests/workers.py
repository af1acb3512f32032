"""Real workers, each a process of its own, and what tests ask of them.

Run as a program, this module is such a worker: `workers.py PLACE OPTIONS`, the options as JSON.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from queuectl import Queue
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v
from queuectl.host import Host
from queuectl.runtime.worker import Listener, Options, Worker

PATIENCE_S = 50.0
"""Generous: tests wait for what must happen, and measure nothing by it. Less than the minute that
jobs of tests sleep, so that what was to be ended is not seen to end by itself."""
AGES_S = 600.0
"""For what many jobs take on a busy machine, and for what never happens by itself."""


def eventually(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """What `condition` returns as soon as that is true; fails after `timeout_s`."""
    give_up = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < give_up, f"not within {timeout_s:g} s"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether that process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class WorkerProcess:
    """A worker that a test has started."""

    def __init__(self, place: Path, log: Path, options: dict[str, Any], **how: Any) -> None:
        # As an installed queuectl would be found, from wherever the tests are run.
        env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
        with log.open("xb") as notes:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(place), json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=notes,
                stderr=subprocess.STDOUT,
                **{"env": env, **how},
            )
        self.pid = self.process.pid
        self._log = log

    def said(self) -> list[str]:
        """What it has printed: its notes, and at the end why it stopped."""
        return self._log.read_text().splitlines()

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.ended()

    def stop(self) -> None:
        """End it well; fails where it does not end well."""
        self.send(signal.SIGTERM)
        assert self.ended() == 0, self.said()

    def rows(self, queue: Queue) -> bool:
        """Whether it has recorded its start."""
        return any(row.pid == self.pid for row in queue.state.workers.rows.values())


class Site:
    """A queue on disk with the workers of one test."""

    def __init__(self, root: Path, place: Path | None = None) -> None:
        self.root = root
        self.place = place or root / "data"
        self.queue = Queue(self.place)
        self.marks = root / "marks"
        self._started: list[WorkerProcess] = []

    def start(self, how: dict[str, Any] | None = None, **options: Any) -> WorkerProcess:
        """A worker with these options; it has recorded its start."""
        worker = self.launch(how, **options)
        eventually(lambda: worker.rows(self.queue) or worker.process.poll() is not None)
        return worker

    def launch(self, how: dict[str, Any] | None = None, **options: Any) -> WorkerProcess:
        log = self.root / f"worker-{len(self._started)}.log"
        worker = WorkerProcess(self.place, log, options, **(how or {}))
        self._started.append(worker)
        return worker

    def drain(self, **options: Any) -> WorkerProcess:
        """Let one worker run everything there is."""
        worker = self.launch(**{"slots": 4, "burst": "wait", **options})
        assert worker.ended(AGES_S) == 0, worker.said()
        return worker

    def add(self, command: str | None = None, **fields: Any) -> str:
        return self.queue.enqueue(command, **fields).id

    def job(self, id: str) -> Job:
        return self.queue.get(id)

    def state(self, id: str) -> str:
        return self.job(id).state

    def reaches(self, id: str, state: str) -> Job:
        """The job once it is in that state."""
        eventually(lambda: self.state(id) == state)
        return self.job(id)

    def types(self, id: str) -> list[str]:
        """The wire names of what happened to a job."""
        return [v.wire_name(event) for event in self.queue.history(id)]

    def last(self, id: str, kind: type[v.Event]) -> Any:
        return [event for event in self.queue.history(id) if isinstance(event, kind)][-1]

    def count(self, kind: type[v.Event]) -> int:
        return sum(isinstance(event, kind) for piece in self.queue.log.read() for event in piece)

    def output(self, id: str, stream: str = "out", token: int | None = None) -> bytes:
        token = self.job(id).token if token is None else token
        return Path(self.queue.home.output_file(id, token, stream)).read_bytes()

    def marked(self) -> list[str]:
        """Lines that jobs have appended to the file of marks."""
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def run_files(self) -> list[str]:
        return sorted(os.listdir(self.queue.home.run))

    def exclusive(self, body: str) -> str:
        """A command that marks its start and end, and the sin of running beside another attempt.

        All its processes inherit the lock, so it tells as long as any of them lives.
        """
        marks = f"'{self.marks}'"
        return (
            f"exec 9>>'{self.root}/alone.'$QUEUECTL_JOB;"
            f" flock -n 9 || echo overlap $QUEUECTL_JOB >>{marks};"
            f" echo start $QUEUECTL_JOB $QUEUECTL_ATTEMPT $$ >>{marks};"
            f" {body}; echo end $QUEUECTL_JOB >>{marks}"
        )

    def close(self) -> None:
        """End whatever the test has left behind, the jobs of killed workers too."""
        for worker in self._started:
            if worker.process.poll() is None:
                worker.send(signal.SIGCONT)
                worker.kill()
        needle = f"QUEUECTL_DATA={self.queue.home.root}\0".encode()
        for pid in _pids():
            try:
                if needle in Path(f"/proc/{pid}/environ").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.queue.close()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


# ---- the worker that runs in such a process


class FailingDisk(Host):
    """A machine whose disk stores nothing more once the file `trigger` exists."""

    def __init__(self, trigger: str) -> None:
        self._trigger = trigger

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        if os.path.exists(self._trigger):
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(fd)


class SetClock(Host):
    """A machine whose wall clock is off by as many seconds as the file `offset` says."""

    def __init__(self, offset: str) -> None:
        self._offset = offset

    def now_us(self) -> int:
        return super().now_us() + int(Path(self._offset).read_text()) * 1_000_000


class Teller(Listener):
    def note(self, text: str) -> None:
        print(text, flush=True)


def main(place: str, options: dict[str, Any]) -> int:
    from queuectl.errors import QueuectlError

    trigger = options.pop("failing_disk", None)
    clock = options.pop("clock", None)
    if "queues" in options:
        options["queues"] = frozenset(options["queues"])
    host = FailingDisk(trigger) if trigger else SetClock(clock) if clock else Host()
    try:
        with Queue(place, host=host) as queue:
            print("ended:", Worker(queue, Options(**options), Teller()).run(), flush=True)
    except QueuectlError as error:
        print("error:", error, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
