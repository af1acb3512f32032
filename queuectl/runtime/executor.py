"""One run of a job: starting it, watching it, ending it with everything it started.

A run is over when its main process has ended *and* nothing of it lives any more: what it left in
its process group is killed, and so is what left the group, found by the lock that every process
of the run has inherited.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Mapping

from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.home import Home
from queuectl.host import Host
from queuectl.quantities import format_duration, format_size
from queuectl.runtime.output import Output

_OUTLIVES_KILL_S = 0.02
"""How long a killed process may take to vanish before its run is searched for escaped ones."""
_SHELL = "/bin/sh"
SHORTAGES = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))
"""The machine cannot start the job now; that is not the job's failure."""


class NotStarted(Exception):
    """A run could not begin; `fault` says whether the job itself is why, `exit_code` as a shell
    would give it."""

    def __init__(self, why: str, *, fault: bool, exit_code: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.fault = fault
        self.exit_code = exit_code


class Run:
    """A job under a lease, with its process, its output and its deadlines."""

    def __init__(
        self,
        job: Job,
        home: Home,
        host: Host,
        *,
        lock: int,
        grace_ms: int,
        timeout_ms: int,
        output_limit_bytes: int,
    ) -> None:
        """Start it. `lock` is the held slot lock, which all its processes inherit.

        Raises `NotStarted`.
        """
        self.job = job
        self.id = job.id
        self.token = job.token
        self.slot = job.slot
        self.ending: str = ""
        """Why it is being ended: `timeout`, `output-limit`, `cancelled`, `stopping` or `lost`."""
        self.escaped = 0
        self._host = host
        self._lock_path = home.slot_lock(job.worker, job.slot)
        self._grace_s = grace_ms / 1000
        self._timeout_ms = timeout_ms
        self._limit = output_limit_bytes
        self._status: int | None = None
        self._cpu_ms = 0
        env = _environment(job, home, host)
        argv = _argv(job, env)
        try:
            self._output = Output(home, host, job.id, job.token)
        except OSError as error:
            raise NotStarted(f"no output file: {error.strerror}", fault=False) from None
        try:
            self.pid = host.spawn(
                argv, job.spec.cwd, env, self._output.out, self._output.err, lock
            )
        except OSError as error:
            self._output.close()
            raise _not_started(job, error) from None
        self.watch = host.watch(self.pid)
        self._started_s = host.monotonic_s()
        self._ended_s = 0.0
        self._kill_s = 0.0
        self._timeout_s = self._started_s + timeout_ms / 1000 if timeout_ms else 0.0

    # ---- ending it

    def end(self, why: str, *, at_once: bool = False) -> None:
        """Ask the whole group to end, and make it after the grace period; the first `why` stays."""
        if self._status is not None:
            return
        if not self.ending:
            self.ending = why
            self._kill_s = self._host.monotonic_s() + self._grace_s
            if not at_once:
                self._host.signal_group(self.pid, signal.SIGTERM)
        if at_once:
            self._kill_s = self._host.monotonic_s()
            self._host.signal_group(self.pid, signal.SIGKILL)

    def look(self) -> bool:
        """Whether the run is over, with all its processes; ends it where a deadline has passed."""
        now = self._host.monotonic_s()
        if self._status is None:
            self._enforce(now)
            if not self._host.has_ended(self.pid):
                return False
            # Before reaping: until then no other group can come to have its id.
            self._host.signal_group(self.pid, signal.SIGKILL)
            self._status, usage = self._host.reap(self.pid)
            self._cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
            self._ended_s = now
        if not self._host.is_held(self._lock_path):
            return True
        if now > self._ended_s + _OUTLIVES_KILL_S:
            markers = [f"QUEUECTL_WORKER={self.job.worker}", f"QUEUECTL_TOKEN={self.token}"]
            for pid in self._host.processes_of(markers, (self._lock_path,)):
                self.escaped += 1
                self._host.kill(pid, signal.SIGKILL)
            self._ended_s = now
        return False

    def _enforce(self, now: float) -> None:
        if self._kill_s:
            if now >= self._kill_s:
                self._host.signal_group(self.pid, signal.SIGKILL)
        elif self._timeout_s and now >= self._timeout_s:
            self.end("timeout")
        elif self._limit and sum(self._output.sizes()) > self._limit:
            self.end("output-limit")

    def next_look_s(self) -> float:
        """When to look again even if nothing is heard of it (monotonic seconds)."""
        if self._status is not None:
            return self._host.monotonic_s() + 0.002
        deadlines = [self._kill_s] if self._kill_s else [self._timeout_s] if self._timeout_s else []
        if self._limit:
            deadlines.append(self._host.monotonic_s() + 0.5)
        if self.watch is None:
            deadlines.append(self._host.monotonic_s() + 0.01)
        return min(deadlines, default=float("inf"))

    # ---- what came of it

    def result(self, *, now: str, chance: float, backoff_base: float | None) -> c.JobCommand:
        """What to record once the run is over; also closes its files."""
        assert self._status is not None
        if self.watch is not None:
            self._host.close(self.watch)
        stdout_bytes, stderr_bytes = self._output.sizes()
        reason, error, exit_code = self._outcome()
        self._output.close()
        if self.ending in ("stopping", "cancelled", "lost"):
            return c.Release(job=self.id, token=self.token, now=now, reason=self.ending)
        return c.Finish(
            job=self.id,
            token=self.token,
            now=now,
            reason=reason,
            error=error,
            exit_code=exit_code,
            run_ms=round((self._ended_s - self._started_s) * 1000),
            cpu_ms=self._cpu_ms,
            stdout_bytes=stdout_bytes,
            stderr_bytes=stderr_bytes,
            escaped=self.escaped,
            chance=chance,
            backoff_base=backoff_base,
        )

    def _outcome(self) -> tuple[str, str, int | None]:
        """(reason, error, exit code) of an ended run."""
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        exit_code = code if code >= 0 else None
        if self.ending == "timeout":
            return "timeout", f"timed out after {format_duration(self._timeout_ms)}", exit_code
        if self.ending == "output-limit":
            return "output-limit", f"printed more than {format_size(self._limit)}", exit_code
        if code == 0:
            return "", "", 0
        last_line = self._output.last_error_line()
        if code > 0:
            return "exit", last_line or f"exit code {code}", code
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        return "signal", f"killed by {name}" + (f": {last_line}" if last_line else ""), None


def _argv(job: Job, env: Mapping[str, str]) -> list[str]:
    words = job.spec.argv
    if words is None:
        return [_SHELL, "-c", job.spec.command]
    # Paths with a slash are taken as they are, from the job's own directory.
    program = words[0] if "/" in words[0] else shutil.which(words[0], path=env.get("PATH"))
    if program is None:
        raise NotStarted(f"{words[0]}: no such program in PATH", fault=True, exit_code=127)
    return [program, *words[1:]]


def _environment(job: Job, home: Home, host: Host) -> dict[str, str]:
    """The worker's own environment, what the job was given, and who it is."""
    env = dict(host.environment())
    for name in job.spec.secret_env or ():
        if name not in env:
            raise NotStarted(
                f"the worker has no {name} in its environment: start one that has", fault=True
            )
    for pair in job.spec.env or ():
        name, _, value = pair.partition("=")
        env[name] = value
    env["QUEUECTL_DATA"] = home.root
    env["QUEUECTL_JOB"] = job.id
    env["QUEUECTL_ATTEMPT"] = str(job.attempts)
    env["QUEUECTL_TOKEN"] = str(job.token)
    env["QUEUECTL_WORKER"] = job.worker
    return env


def _not_started(job: Job, error: OSError) -> NotStarted:
    if error.errno in SHORTAGES:
        return NotStarted(f"the machine cannot start it now: {error.strerror}", fault=False)
    if not os.path.isdir(job.spec.cwd):
        return NotStarted(f"{job.spec.cwd}: no such directory", fault=True)
    program = (job.spec.argv or [_SHELL])[0]
    missing = error.errno == errno.ENOENT
    return NotStarted(
        f"{program}: {error.strerror}", fault=True, exit_code=127 if missing else 126
    )
