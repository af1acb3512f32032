"""One run of a job: starting it, watching it, ending it with everything it started.

A run is over when its main process has ended *and* nothing of it lives any more: what it left in
its process group is killed, and so is what left the group, found among the orphans that the worker
adopts and by the lock that every process of the run has inherited.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.home import Home
from queuectl.host import Host
from queuectl.quantities import format_duration, format_size
from queuectl.runtime.hindrance import SHORTAGES
from queuectl.runtime.orphans import Orphans
from queuectl.runtime.output import Output
from queuectl.runtime.presence import write_trace

_OUTLIVES_KILL_S = 0.02
"""How long a killed process may take to vanish before its run is searched for escaped ones."""
_LINGER_S = 0.001
_LINGER_S_MAX = 0.5
"""How often to look whether killed processes have vanished: less and less often."""
_OUTPUT_CHECK_S = 0.5
_SHELL = b"/bin/sh"


class NotStarted(Exception):
    """A run could not begin; `fault` says whether the job itself is why, `exit_code` as a shell
    would give it."""

    def __init__(self, why: str, *, fault: bool, exit_code: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.fault = fault
        self.exit_code = exit_code


class Limits(NamedTuple):
    """What a run may do."""

    grace_ms: int
    """From TERM to KILL."""
    timeout_ms: int
    """How long it may take; 0 for as long as it likes."""
    output_bytes: int
    """How much it may print; 0 for as much as it likes."""


class Run:
    """A claimed job with its process, its output and its deadlines."""

    def __init__(
        self,
        job: Job,
        home: Home,
        host: Host,
        lock: int,
        environment: Mapping[bytes, bytes],
        limits: Limits,
        orphans: Orphans,
    ) -> None:
        """Start it. `lock` is the held slot lock, which all its processes inherit; `environment`
        is what it is given besides its own; `orphans` is where what it leaves behind turns up.

        Raises `NotStarted`.
        """
        self.job = job
        self._asked = ""
        self._at_once = False
        self._ending = ""
        """Why it is being ended: what was asked, `timeout` or `output-limit`."""
        self._escaped: set[int] = set()
        self._host = host
        self._orphans = orphans
        self._lock_path = home.slot_lock(job.worker, job.slot)
        self._limits = limits
        self._status: int | None = None
        self._cpu_ms = 0
        self._ended_s = self._search_s = self._kill_s = self._timeout_s = 0.0
        env = _environment(job, environment)
        argv = _argv(job, env)
        try:
            self._output = Output(home, host, job.id, job.token)
        except OSError as error:
            raise NotStarted(f"no output file: {error.strerror}", fault=False) from None
        try:
            # Written before it starts: a claim whose token does not stand here never ran.
            write_trace(host, lock, job.token)
        except OSError as error:
            self._output.close()
            raise NotStarted(f"no slot file: {error.strerror}", fault=False) from None
        try:
            self._started_s = host.monotonic_s()
            self._pid = host.spawn(
                argv, job.spec.cwd.encode(), env, self._output.out, self._output.err, lock
            )
        except OSError as error:
            self._output.close()
            raise _not_started(job, error) from None
        with suppress(OSError):  # it runs already: a successor may just find less of it
            write_trace(host, lock, job.token, self._pid)
        self._markers = [f"QUEUECTL_WORKER={job.worker}", f"QUEUECTL_TOKEN={job.token}"]
        orphans.begin(job.token, self._pid, self._markers, self._lock_path)
        if limits.timeout_ms:
            self._timeout_s = self._started_s + limits.timeout_ms / 1000

    # ---- ending it

    def ask_to_end(self, why: str, *, at_once: bool = False) -> None:
        """Have the whole group end, by force after the grace period.

        `why` is `cancelled`, `stopping` or `lost`; the first one stays.
        """
        self._asked = self._asked or why
        if at_once:
            self._at_once = True
            self._kill_s = self._host.monotonic_s()

    def look(self) -> bool:
        """Whether the run is over, with all its processes; ends it where a deadline has passed."""
        host = self._host
        now = host.monotonic_s()
        if self._status is None:
            # Asked first, so that an end before the deadline counts however late it is seen.
            if not host.has_ended(self._pid):
                self._enforce(now)
                return False
            # Before reaping: until then no other group can come to have its id.
            host.signal_group(self._pid, signal.SIGKILL)
            self._status, usage = host.reap(self._pid)
            self._cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
            self._ended_s = now
            self._search_s = now + _OUTLIVES_KILL_S
        left = self._orphans.of(self.job.token)
        for pid in left:
            self._end_orphan(pid)
        if left or host.is_held(self._lock_path):
            if now > self._search_s:
                self._search(now)
            return False
        self._orphans.end(self.job.token)
        return True

    def _end_orphan(self, pid: int) -> None:
        group, _ = self._host.group_and_session(pid)
        if group != self._pid:
            self._escaped.add(pid)
        if not self._host.kill(pid, signal.SIGKILL):
            self._orphans.leave(pid)

    def _search(self, now: float) -> None:
        """End whoever holds the lock without being an orphan of this worker."""
        for pid in self._host.processes_of(self._markers, [self._lock_path]):
            self._escaped.add(pid)
            self._host.kill(pid, signal.SIGKILL)
        self._search_s = now + max(_OUTLIVES_KILL_S, now - self._ended_s)

    def _enforce(self, now: float) -> None:
        """Begin to end what has to end, and kill what was asked long enough ago."""
        if not self._ending:
            if self._asked:
                self._ending = self._asked
            elif self._timeout_s and now >= self._timeout_s:
                self._ending = "timeout"
            elif (
                self._limits.output_bytes and sum(self._output.sizes()) > self._limits.output_bytes
            ):
                self._ending = "output-limit"
            else:
                return
            self._kill_s = now if self._at_once else now + self._limits.grace_ms / 1000
            self._host.signal_group(self._pid, signal.SIGTERM)
        if now >= self._kill_s:
            self._host.signal_group(self._pid, signal.SIGKILL)

    def next_look_s(self, now: float) -> float:
        """When to look again even if nothing is heard of it (monotonic seconds)."""
        if self._status is not None:
            return _linger_s(self._ended_s, now)
        if self._asked and not self._ending:
            return now
        if self._ending:
            return max(self._kill_s, _linger_s(self._kill_s, now))
        deadline = self._timeout_s or float("inf")
        if self._limits.output_bytes:
            deadline = min(deadline, now + _OUTPUT_CHECK_S)
        return deadline

    # ---- what came of it

    def result(
        self, *, now: str, chance: float, backoff_base: float | None
    ) -> c.Finish | c.Release:
        """What to record once the run is over; also closes its files."""
        stdout_bytes, stderr_bytes = self._output.sizes()
        reason, error, exit_code = self._outcome()
        self._output.close()
        if self._ending and self._ending == self._asked:
            return c.Release(job=self.job.id, token=self.job.token, now=now, reason=self._ending)
        return c.Finish(
            job=self.job.id,
            token=self.job.token,
            now=now,
            reason=reason,
            error=error,
            exit_code=exit_code,
            run_ms=round((self._ended_s - self._started_s) * 1000),
            cpu_ms=self._cpu_ms,
            stdout_bytes=stdout_bytes,
            stderr_bytes=stderr_bytes,
            escaped=len(self._escaped),
            chance=chance,
            backoff_base=backoff_base,
        )

    def _outcome(self) -> tuple[str, str, int | None]:
        """(reason, error, exit code) of an ended run."""
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        exit_code = code if code >= 0 else None
        if self._ending == "timeout":
            return (
                "timeout",
                f"timed out after {format_duration(self._limits.timeout_ms)}",
                exit_code,
            )
        if self._ending == "output-limit":
            return (
                "output-limit",
                f"printed more than {format_size(self._limits.output_bytes)}",
                exit_code,
            )
        if code == 0:
            return "", "", 0
        last_line = self._output.last_error_line()
        if code > 0:
            return "exit", last_line or f"exit code {code}", code
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        return "signal", f"killed by {name}" + (f": {last_line}" if last_line else ""), None


def _linger_s(since_s: float, now: float) -> float:
    """When to look again for what was killed at `since_s` and has not gone."""
    return now + min(_LINGER_S_MAX, max(_LINGER_S, (now - since_s) / 8))


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
