"""What workers do for each other: taking over from the dead, and clearing up after them.

Whether a worker lives is asked of the lock file it holds, never of the wall clock: the kernel lets
go of it in the instant of death. Only a worker that lives but has not been heard of for a
lease's length by a clock nobody can set (it was stopped, say) loses its jobs by time.
"""

from __future__ import annotations

import signal

from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.errors import NotFound
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.ids import is_made
from queuectl.jobqueue import Queue
from queuectl.processes import Session
from queuectl.projections.workers import WorkerRow
from queuectl.runtime.presence import read_trace, remove_run_files, session_of

_KILLS_MAX = 20
_KILL_PAUSE_S = 0.002
_STOPPED = "its worker stopped renewing the lease"
_COPIED = "this queue is a copy, and the run goes on for the other one"
_OUT_OF_STEP_S = 5.0
"""A watcher that itself did not look for so long has no say in who was silent meanwhile."""


class Upkeep:
    """Watches the other workers of a queue on behalf of worker `own`."""

    def __init__(self, queue: Queue, own: str) -> None:
        self._queue = queue
        self._host = queue.host
        self._own = own
        self._boot = self._host.boot_id()
        self._looked_s = 0.0
        self._heard: dict[str, tuple[int, float]] = {}
        """Per worker the last event of it that was seen, and when it was seen (monotonic)."""
        self._watches: dict[str, int] = {}
        """Per worker a descriptor that tells of its end, at once and at no cost; -1 for none."""
        self.unfinished = False
        """Whether a worker that is gone still holds jobs, because processes of them still live."""

    def others_hold_jobs(self) -> bool:
        """Whether there is anybody to watch closely."""
        return any(row.holding and row.id != self._own for row in self._rows())

    def _rows(self) -> list[WorkerRow]:
        state = self._queue.known
        # What workers hold is known only once the indexes are made.
        state.ready  # noqa: B018
        return list(state.workers.rows.values())

    def take_over(self) -> list[v.Event]:
        """Give up the leases of workers that are gone, once their processes are; returns the
        events of it."""
        now = self._host.monotonic_s()
        if now > self._looked_s + _OUT_OF_STEP_S:
            self._heard.clear()
        self._looked_s = now
        events: list[v.Event] = []
        self.unfinished = False
        self._watch()
        for row in self._rows():
            reason = row.id != self._own and self._why_gone(row, now)
            if reason:
                events += self._expire(row, reason)
                self.unfinished |= bool(row.holding)
        self._clear_up()
        return events

    def watches(self) -> list[int]:
        """Descriptors that become readable when a worker's process has ended: then look."""
        return [fd for fd in self._watches.values() if fd >= 0]

    def close(self) -> None:
        """Watch nobody any more."""
        for fd in self.watches():
            self._host.close(fd)
        self._watches.clear()

    def _watch(self) -> None:
        """Watch exactly those who live. It is only a hint: what counts is the lock."""
        for row in self._rows():
            if row.id == self._own or row.boot != self._boot:
                continue
            fd = self._watches.get(row.id)
            if fd is None:
                self._watches[row.id] = self._host.watch_process(row.pid)
            elif fd >= 0 and self._host.wait([fd], 0):
                # Readable for ever now: it has been told once.
                self._host.close(fd)
                self._watches[row.id] = -1
        for id in self._watches.keys() - self._queue.known.workers.rows.keys():
            fd = self._watches.pop(id)
            if fd >= 0:
                self._host.close(fd)

    def _why_gone(self, row: WorkerRow, now: float) -> str:
        """Why the leases of that worker are void; empty while they are not."""
        if row.boot != self._boot and row.host == self._host.name():
            return "the machine restarted"
        if row.boot == self._boot and not self._queue.is_alive(row.id):
            return "its worker died"
        seen, since = self._heard.get(row.id, (-1, now))
        if seen != row.heard:
            self._heard[row.id] = row.heard, now
        elif row.holding and now - since > self._queue.known.settings.lease_ms / 1000:
            return _STOPPED
        return ""

    def _expire(self, row: WorkerRow, reason: str) -> list[v.Event]:
        queue = self._queue
        jobs = list(row.holding.values())
        if jobs and row.boot == self._boot:
            if self._host.is_open_elsewhere(queue.home.worker_lock(row.id)):
                # Its processes are not ours to end, nor have they failed.
                reason = _COPIED
            else:
                jobs = self._end_processes(row, jobs)
        now = queue.now()
        endings = [
            c.Expire(job=job.id, token=job.token, now=now, reason=reason)
            if row.boot != self._boot or (reason != _COPIED and self._has_begun(row, job))
            else c.Release(job=job.id, token=job.token, now=now, reason=reason)
            for job in jobs
        ]
        try:
            events = queue.submit(endings, essential=True)
        except NotFound:
            return []  # another was quicker, and one of them is purged already: next time
        if not row.holding and reason != _STOPPED:
            events += self._forget(row, reason)
        return events

    def _has_begun(self, row: WorkerRow, job: Job) -> bool:
        """Whether that claim was ever started: its worker writes the token down just before."""
        trace = read_trace(self._queue.home, self._host, row.id, job.slot)
        return trace is None or trace.token == job.token

    def _sessions(self, row: WorkerRow, jobs: list[Job]) -> list[Session]:
        """The sessions of those runs of a dead worker, as far as they are known."""
        home, host = self._queue.home, self._host
        traces = [(job, read_trace(home, host, row.id, job.slot)) for job in jobs]
        sessions = [
            session_of(home, host, row.id, trace)
            for job, trace in traces
            if trace and trace.token == job.token
        ]
        return [session for session in sessions if session]

    def _end_processes(self, row: WorkerRow, jobs: list[Job]) -> list[Job]:
        """End what is left of those runs of a worker; returns those of which nothing is.

        A worker that was stopped between claiming and starting holds the lock itself: then nobody
        may take the job until it goes on or dies.
        """
        host = self._host
        locks = {job.token: self._queue.home.slot_lock(row.id, job.slot) for job in jobs}
        markers = [f"QUEUECTL_WORKER={row.id}"]
        sessions = self._sessions(row, jobs)
        spared = {row.pid}
        """The worker itself, and what belongs to somebody else: their runs could not end that."""
        for _ in range(_KILLS_MAX):
            found = host.processes_of(markers, locks.values(), sessions)
            left = set(filter(host.is_stranger, found)) - spared
            spared |= {pid for pid in left if not host.kill(pid, signal.SIGKILL)}
            if not left and not any(map(host.is_held, locks.values())):
                break
            host.sleep(_KILL_PAUSE_S)
        return [] if left else [job for job in jobs if not host.is_held(locks[job.token])]

    def _clear_up(self) -> None:
        """Take away what nobody else will: files of workers that were killed before their start was
        recorded, or whose end was recorded by one that was killed before it could do this."""
        queue, home, host = self._queue, self._queue.home, self._host
        names = {name.partition(".")[0] for name in host.names(home.run)}
        for worker in filter(is_made, names - queue.known.workers.rows.keys()):
            lock = host.hold(home.worker_lock(worker))
            if lock is None:
                continue  # it is only just starting, or ending
            try:
                # From now on its start cannot be recorded any more; but it may have been.
                queue.catch_up()
                if worker not in queue.known.workers.rows:
                    remove_run_files(home, host, worker)
            finally:
                host.close(lock)

    def _forget(self, row: WorkerRow, reason: str) -> list[v.Event]:
        """Record that a dead worker is gone, and take its files away."""
        queue = self._queue

        def batches() -> list[Batch]:
            if row.id not in queue.known.workers.rows or row.holding:
                return []
            return [Batch([v.WorkerStopped(worker=row.id, reason=reason)], essential=True)]

        events = queue.transact(batches)
        self._heard.pop(row.id, None)
        remove_run_files(queue.home, self._host, row.id)
        return events
