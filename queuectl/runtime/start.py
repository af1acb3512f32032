"""From a claim to a running process, or to the reason why there is none; beside the worker's loop.

A child that is being started waits for a processor until it has reached its program: on a busy
machine many times as long as all the rest takes. So threads wait for it, and the loop goes on.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from msgspec.structs import replace

from queuectl.domain import payloads
from queuectl.domain.job import Job
from queuectl.errors import PayloadLost
from queuectl.home import Home
from queuectl.host import Host
from queuectl.runtime.hindrance import SHORTAGES
from queuectl.runtime.output import Output
from queuectl.runtime.presence import write_trace

_THREADS_MAX = 4
"""More starts at a time gain nothing: the processors are what is short."""
_SHELL = b"/bin/sh"


class NotStarted(Exception):
    """A run could not begin; `fault` says whether the job itself is why, `exit_code` as a shell
    would give it."""

    def __init__(self, why: str, *, fault: bool, exit_code: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.fault = fault
        self.exit_code = exit_code


class Start:
    """The beginning of one run. Whoever has called `run`, it says what came of it."""

    def __init__(
        self,
        job: Job,
        home: Home,
        host: Host,
        lock: int,
        environment: Mapping[bytes, bytes],
        kept: Callable[[str], bytes],
    ) -> None:
        """`lock` is the held lock of its slot, which all its processes inherit; it is given away.
        `environment` is what the job is given besides its own; `kept` gives what of it was too long
        for the log."""
        self._job = job
        self._kept = kept
        self._home = home
        self._host = host
        self._lock = lock
        self._environment = environment
        self.output: Output
        self.started_s = 0.0
        """When its process was begun (monotonic)."""
        self.failure: Exception | None = None
        """Why there is no process: `NotStarted`, or what nobody has foreseen."""
        self.pid = 0
        """Its process; 0 until then, and where it failed. Set last of all."""

    @property
    def is_over(self) -> bool:
        """Whether it is known what came of it."""
        return self.pid != 0 or self.failure is not None

    def run(self) -> None:
        pid = 0
        try:
            pid = self._spawn()
        except Exception as error:
            self.failure = error
        # From now on only its own processes hold the lock.
        with suppress(OSError):  # closed all the same
            self._host.close(self._lock)
        self.pid = pid

    def _spawn(self) -> int:
        job, host, lock = self._whole(), self._host, self._lock
        env = _environment(job, self._environment)
        argv = _argv(job, env)
        try:
            output = self.output = Output(self._home, host, job.id, job.token)
        except OSError as error:
            raise NotStarted(f"no output file: {error.strerror}", fault=False) from None
        try:
            # Written before it starts: a claim whose token does not stand here never ran.
            write_trace(host, lock, job.token)
        except OSError as error:
            output.close()
            raise NotStarted(f"no slot file: {error.strerror}", fault=False) from None
        try:
            self.started_s = host.monotonic_s()
            pid = host.spawn(argv, job.spec.cwd.encode(), env, output.out, output.err, lock)
        except OSError as error:
            output.close()
            raise _not_started(job, error) from None
        with suppress(OSError):  # it runs already: a successor may just find less of it
            write_trace(host, lock, job.token, pid)
        return pid

    def _whole(self) -> Job:
        job = self._job
        try:
            spec = payloads.whole(job.spec, self._kept)
        except PayloadLost as error:
            raise NotStarted(str(error), fault=True) from None
        except OSError as error:
            raise NotStarted(f"no payload: {error.strerror}", fault=False) from None
        return job if spec is job.spec else replace(job, spec=spec)


class Starter:
    """The threads that start runs. Their children stay theirs, and so do not stand among those of
    the main thread, which are the orphans that it has adopted."""

    def __init__(self, host: Host, slots: int, ring: Callable[[], None]) -> None:
        """`ring` wakes the worker: by the time that a start is known of, its process may have
        ended."""
        self._host = host
        self._ring = ring
        self._todo: SimpleQueue[Start | None] = SimpleQueue()
        self._threads: list[Thread] = []
        # With a single slot there is nothing else to do meanwhile.
        self._threads_max = min(slots, _THREADS_MAX) if slots > 1 and host.spawns_aside() else 0

    def begin(self, start: Start) -> None:
        """Run it as soon as a thread is free; at once where there are none."""
        if len(self._threads) < self._threads_max:
            self._add_thread()
        if self._threads:
            self._todo.put(start)
        else:
            start.run()

    def _add_thread(self) -> None:
        thread = Thread(target=self._work, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # this user may not have as many: fewer will do, or none
            self._threads_max = len(self._threads)
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (start := self._todo.get()) is not None:
            start.run()
            # What ends later rings by itself, and what was reaped is known already.
            with suppress(ChildProcessError):
                if not start.pid or self._host.has_ended(start.pid):
                    self._ring()

    def close(self) -> None:
        """Once nothing is being started any more."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()


def _argv(job: Job, env: Mapping[bytes, bytes]) -> list[bytes]:
    words = job.spec.argv
    if words is None:
        return [_SHELL, b"-c", job.spec.command.encode()]
    # Paths with a slash are taken as they are, from the job's own directory.
    program: bytes | None = words[0].encode()
    if b"/" not in words[0].encode():
        # So are relative places to look in.
        path = env.get(b"PATH", os.defpath.encode()).split(b":")
        places = b":".join(os.path.join(job.spec.cwd.encode(), place) for place in path)
        program = shutil.which(words[0].encode(), path=os.fsdecode(places))
    if program is None:
        raise NotStarted(f"{words[0]}: no such program in PATH", fault=True, exit_code=127)
    return [program, *(word.encode() for word in words[1:])]


def _environment(job: Job, given: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What the worker gives, what the job was given, and who it is."""
    env = dict(given)
    for name in job.spec.secret_env or ():
        if name.encode() not in env:
            raise NotStarted(
                f"the worker has no {name} in its environment: start one that has", fault=True
            )
    for pair in job.spec.env or ():
        variable, _, value = pair.encode().partition(b"=")
        env[variable] = value
    env[b"QUEUECTL_JOB"] = job.id.encode()
    env[b"QUEUECTL_ATTEMPT"] = b"%d" % job.attempts
    env[b"QUEUECTL_TOKEN"] = b"%d" % job.token
    env[b"QUEUECTL_WORKER"] = job.worker.encode()
    return env


def _not_started(job: Job, error: OSError) -> NotStarted:
    if error.errno in SHORTAGES:
        return NotStarted(f"the machine cannot start it now: {error.strerror}", fault=False)
    if error.filename == job.spec.cwd.encode():
        why = f"working directory {job.spec.cwd}: {error.strerror}"
        return NotStarted(why, fault=True)
    program = (job.spec.argv or [os.fsdecode(_SHELL)])[0]
    missing = error.errno == errno.ENOENT
    return NotStarted(f"{program}: {error.strerror}", fault=True, exit_code=127 if missing else 126)
