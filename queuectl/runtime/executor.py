"""One run of a job: watching it, ending it with everything it started.

A run is over when its main process has ended *and* nothing of it lives any more: what it left in
its process group is killed, and so is what left the group, found among the orphans that the worker
adopts and by the lock that every process of the run has inherited.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.home import Home
from queuectl.host import Host
from queuectl.quantities import format_duration, format_size
from queuectl.runtime.orphans import Orphans
from queuectl.runtime.output import ERROR_CHARACTERS_MAX
from queuectl.runtime.start import NotStarted, Start

_OUTLIVES_KILL_S = 0.02
"""How long a killed process may take to vanish before its run is searched for escaped ones."""
_LINGER_S = 0.001
_LINGER_S_MAX = 0.5
"""How often to look whether killed processes have vanished: less and less often."""
_OUTPUT_CHECK_S = 0.5
_START_CHECK_S = 0.05


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
        self, job: Job, home: Home, host: Host, start: Start, limits: Limits, orphans: Orphans
    ) -> None:
        """`start` is how it is begun; `orphans` is where what it leaves behind turns up."""
        self.job = job
        self.claimed_s = host.monotonic_s()
        self._asked = ""
        self._at_once = False
        self._ending = ""
        """Why it is being ended: what was asked, `timeout` or `output-limit`."""
        self._escaped: set[int] = set()
        self._host = host
        self._start = start
        self._limits = limits
        self._status: int | None = None
        self._cpu_ms = 0
        self._ended_s = self._search_s = self._kill_s = 0.0
        self._lock_path = home.slot_lock(job.worker, job.slot)
        self._markers = [f"QUEUECTL_WORKER={job.worker}", f"QUEUECTL_TOKEN={job.token}"]
        self._orphans = orphans
        orphans.begin(job.token, start, self._markers, self._lock_path)

    @property
    def is_starting(self) -> bool:
        """Whether it is not known yet whether it could begin."""
        return not self._start.is_over

    @property
    def shortage(self) -> str:
        """Why the machine could not begin it; empty where that was not the machine's fault."""
        failure = self._start.failure
        return failure.why if isinstance(failure, NotStarted) and not failure.fault else ""

    # ---- ending it

    def ask_to_end(self, why: str, *, at_once: bool = False) -> None:
        """Have the whole group end, by force after the grace period.

        `why` is `cancelled`, `stopping` or `lost`; the first one stays.
        """
        self._asked = self._asked or why
        if at_once:
            self._at_once = True
            self._kill_s = self._host.monotonic_s()

    def watch(self) -> None:
        """See whether its main process has ended, and end it where a deadline has passed. Raises,
        once, what nobody has foreseen of its start."""
        failure = self._start.failure
        if failure is not None and not isinstance(failure, NotStarted):
            self._start.failure = NotStarted(f"{type(failure).__name__}: {failure}", fault=True)
            raise failure
        # Read once: it is set at any moment, and 0 would mean this very group.
        host, pid = self._host, self._start.pid
        if not pid or self._status is not None:
            return
        now = host.monotonic_s()
        # Asked first, so that an end before the deadline counts however late it is seen.
        if not host.has_ended(pid):
            self._enforce(pid, now)
            return
        # Before reaping: until then no other group can come to have its id.
        host.signal_group(pid, signal.SIGKILL)
        self._status, usage = host.reap(pid)
        self._cpu_ms = round((usage.ru_utime + usage.ru_stime) * 1000)
        self._ended_s = now
        self._search_s = now + _OUTLIVES_KILL_S

    def is_over(self) -> bool:
        """Whether nothing of it lives, or it could not begin; to be asked after `Orphans.reap`, so
        that what the main process has left is known of."""
        if self._start.failure is None:
            if self._status is None:
                return False
            left = self._orphans.of(self.job.token)
            for pid in left:
                self._end_orphan(pid)
            if left or self._host.is_held(self._lock_path):
                now = self._host.monotonic_s()
                if now > self._search_s:
                    self._search(now)
                return False
        self._orphans.end(self.job.token)
        return True

    def _end_orphan(self, pid: int) -> None:
        group, _ = self._host.group_and_session(pid)
        if group != self._start.pid:
            self._escaped.add(pid)
        if not self._host.kill(pid, signal.SIGKILL):
            self._orphans.leave(pid)

    def _search(self, now: float) -> None:
        """End whoever holds the lock without being an orphan of this worker."""
        host = self._host
        for pid in filter(host.is_stranger, host.processes_of(self._markers, [self._lock_path])):
            self._escaped.add(pid)
            host.kill(pid, signal.SIGKILL)
        self._search_s = now + max(_OUTLIVES_KILL_S, now - self._ended_s)

    def _enforce(self, pid: int, now: float) -> None:
        """Begin to end what has to end, and kill what was asked long enough ago."""
        if not self._ending:
            if self._asked:
                self._ending = self._asked
            elif now >= self._timeout_s():
                self._ending = "timeout"
            elif (
                self._limits.output_bytes
                and sum(self._start.output.sizes()) > self._limits.output_bytes
            ):
                self._ending = "output-limit"
            else:
                return
            self._kill_s = now if self._at_once else now + self._limits.grace_ms / 1000
            self._host.signal_group(pid, signal.SIGTERM)
        if now >= self._kill_s:
            self._host.signal_group(pid, signal.SIGKILL)

    def _timeout_s(self) -> float:
        limit_ms = self._limits.timeout_ms
        return self._start.started_s + limit_ms / 1000 if limit_ms else float("inf")

    def next_look_s(self, now: float) -> float:
        """When to look again even if nothing is heard of it (monotonic seconds)."""
        if not self._start.pid:
            return now if self._start.failure else now + _START_CHECK_S
        if self._status is not None:
            return _linger_s(self._ended_s, now)
        if self._asked and not self._ending:
            return now
        if self._ending:
            return max(self._kill_s, _linger_s(self._kill_s, now))
        deadline = self._timeout_s()
        if self._limits.output_bytes:
            deadline = min(deadline, now + _OUTPUT_CHECK_S)
        return deadline

    # ---- what came of it

    def result(
        self, *, now: str, chance: float, backoff_base: float | None
    ) -> c.Finish | c.Release:
        """What to record once the run is over; also closes its files."""
        failure = self._start.failure
        if isinstance(failure, NotStarted):
            return self._not_begun(failure, now, chance, backoff_base)
        stdout_bytes, stderr_bytes = self._start.output.sizes()
        reason, error, exit_code = self._outcome()
        self._start.output.close()
        if self._ending and self._ending == self._asked:
            return c.Release(job=self.job.id, token=self.job.token, now=now, reason=self._ending)
        return c.Finish(
            job=self.job.id,
            token=self.job.token,
            now=now,
            reason=reason,
            error=error,
            exit_code=exit_code,
            run_ms=round((self._ended_s - self._start.started_s) * 1000),
            cpu_ms=self._cpu_ms,
            stdout_bytes=stdout_bytes,
            stderr_bytes=stderr_bytes,
            escaped=len(self._escaped),
            chance=chance,
            backoff_base=backoff_base,
        )

    def _not_begun(
        self, failure: NotStarted, now: str, chance: float, backoff_base: float | None
    ) -> c.Finish | c.Release:
        job, why = self.job, failure.why[:ERROR_CHARACTERS_MAX]
        if not failure.fault:
            return c.Release(job=job.id, token=job.token, now=now, reason=why)
        return c.Finish(
            job=job.id,
            token=job.token,
            now=now,
            reason="start",
            error=why,
            exit_code=failure.exit_code,
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
        last_line = self._start.output.last_error_line()
        if code > 0:
            return "exit", last_line or f"exit code {code}", code
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        return "signal", f"killed by {name}" + (f": {last_line}" if last_line else ""), None


def _linger_s(since_s: float, now: float) -> float:
    """When to look again for what was killed at `since_s` and has not gone."""
    return now + min(_LINGER_S_MAX, max(_LINGER_S, (now - since_s) / 8))
