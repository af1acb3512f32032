"""A worker: one process, one thread, N slots; claims jobs, runs them, records what came of it.

Each turn of its loop is one append: everything that ended and everything newly claimed. Between
turns it sleeps until a child ends, a bell rings or a deadline comes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.errors import LockTimedOut, NoSpace
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.ids import IdMaker
from queuectl.jobqueue import Queue
from queuectl.runtime.executor import NotStarted, Run
from queuectl.runtime.upkeep import Upkeep, remove_run_files

_WATCH_OTHERS_S = 0.25
_SLOT_BUSY_S = 0.005


class Listener:
    """Hears what a worker does; does nothing with it."""

    def note(self, text: str) -> None:
        """Something that people should know, once."""

    def happened(self, event: v.Event) -> None:
        """An event that this worker has recorded."""


class Worker:
    """Runs jobs of `queue` until it is told to stop.

    `queues` None serves all. `limit` is how many jobs it starts at most. `burst` ends it when
    nothing is left to run: `wait` counts jobs that wait for their time, `now` does not.
    `timeout_ms` and `backoff_base` are for jobs that were given none themselves.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        slots: int = 1,
        queues: frozenset[str] | None = None,
        poll_ms: int | None = None,
        limit: int | None = None,
        burst: str = "",
        grace_ms: int | None = None,
        timeout_ms: int | None = None,
        backoff_base: float | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._queue = queue
        self._host = queue.host
        self._queues = queues
        self._poll_ms = poll_ms
        self._left = limit
        self._burst = burst
        self._grace_ms = grace_ms
        self._timeout_ms = timeout_ms
        self._backoff_base = backoff_base
        self._listener = listener or Listener()
        self.id = IdMaker().make(self._host.now_us(), self._host.random(10))
        self._slots = slots
        self._locks: dict[int, int] = {}
        """Slot locks that are held and free to be given to a run."""
        self._runs: dict[int, Run] = {}
        """Runs by slot."""
        self._ended: list[c.JobCommand] = []
        """Ends that are not recorded yet."""
        self._upkeep = Upkeep(queue, self.id)
        self._stop_signals = 0
        self._stopping_s = 0.0
        self._renew_s = 0.0
        self._watch_s = 0.0
        self._hindered = ""

    def run(self) -> str:
        """Work until there is a reason to stop; returns it. Raises what the log raises when it can
        no longer be trusted; nothing runs on then."""
        lock = self._host.hold(self._queue.home.worker_lock(self.id))
        assert lock is not None
        bell = self._host.make_bell(self._queue.home.worker_bell(self.id))
        try:
            with self._signals():
                self._record_start()
                return self._work(bell)
        except BaseException:
            self._abandon()
            raise
        finally:
            for descriptor in (bell, lock, *self._locks.values()):
                self._host.close(descriptor)
            remove_run_files(self._queue, self.id)

    def _record_start(self) -> None:
        started = v.WorkerStarted(
            worker=self.id,
            host=self._host.name(),
            boot=self._host.boot_id(),
            pid=self._host.pid(),
            slots=self._slots,
            queues=sorted(self._queues) if self._queues else None,
        )
        self._tell(self._queue.transact(lambda: [Batch([started])]))

    def _work(self, bell: int) -> str:
        while True:
            self._collect()
            self._queue.catch_up()
            self._follow_the_log()
            self._watch_others()
            reason = self._why_stop()
            if reason and not self._runs and not self._ended:
                break
            self._turn(claim=not reason)
            self._wait(bell)
        stopped = v.WorkerStopped(worker=self.id, reason=reason)
        self._tell(self._queue.transact(lambda: [Batch([stopped], essential=True)]))
        return reason

    # ---- one turn

    def _collect(self) -> None:
        """Take the runs that are over out of their slots."""
        for slot, run in list(self._runs.items()):
            if run.look():
                del self._runs[slot]
                self._ended.append(
                    run.result(
                        now=self._queue.now(),
                        chance=self._host.random(1)[0] / 256,
                        backoff_base=self._backoff_base,
                    )
                )

    def _follow_the_log(self) -> None:
        """End runs that were cancelled, or whose lease was lost."""
        for run in self._runs.values():
            job = self._queue.state.jobs.get(run.id)
            if job is None or job.token != run.token or not job.held:
                if run.ending != "lost":
                    self._listener.note(f"lost the lease of job {run.id}: ending its processes")
                run.end("lost", at_once=True)
            elif job.ending:
                run.end("cancelled")

    def _watch_others(self) -> None:
        now = self._host.monotonic_s()
        if now >= self._watch_s:
            self._watch_s = now + _WATCH_OTHERS_S
            self._try(lambda: self._tell(self._upkeep.take_over()))

    def _why_stop(self) -> str:
        """Why no more jobs are to be claimed; empty while they are."""
        row = self._queue.state.workers.rows.get(self.id)
        asked = self._stop_signals or row is None or row.stop_requested
        if asked:
            self._wind_down()
            return "stopped"
        if self._left == 0:
            return "limit reached"
        if self._burst and not self._runs and not self._ended and self._is_drained():
            return "nothing left to run"
        return ""

    def _is_drained(self) -> bool:
        state = self._queue.state
        now = self._queue.now() if self._burst == "now" else instants.LATEST
        return not state.ready.due(now, 1, self._queues, state.paused)

    def _wind_down(self) -> None:
        """Give running jobs the grace period to end by themselves, then end them."""
        now = self._host.monotonic_s()
        grace_s = self._grace() / 1000
        if not self._stopping_s:
            self._stopping_s = now
            if self._runs:
                self._listener.note(
                    f"stopping: waiting up to {grace_s:g}s for {len(self._runs)} running"
                    f" job{'s' if len(self._runs) > 1 else ''}; a second signal ends them at once"
                )
        for run in self._runs.values():
            if self._stop_signals > 1:
                run.end("stopping", at_once=True)
            elif now >= self._stopping_s + grace_s:
                run.end("stopping")

    def _turn(self, *, claim: bool) -> None:
        slots = self._free_slots() if claim else []
        now_s = self._host.monotonic_s()
        renew = bool(self._runs) and now_s >= self._renew_s
        state = self._queue.state
        due = slots and state.ready.due(self._queue.now(), 1, self._queues, state.paused)
        if not (self._ended or renew or due):
            return
        ended = self._ended
        events = self._try(lambda: self._append(ended, slots if due else [], renew))
        if events is None:
            # What ended has space kept back for it; new jobs have to wait.
            events = self._try(lambda: self._append(ended, [], renew)) if ended or renew else None
            if events is None:
                return
        else:
            self._unhindered()
        self._ended = []
        if renew or any(isinstance(event, v.JobClaimed) for event in events):
            self._renew_s = now_s + state.settings.lease_ms / 3000
        self._tell(events)
        self._report_late(ended, events)
        for event in events:
            if isinstance(event, v.JobClaimed):
                self._start(self._queue.state.jobs.rows[event.job])

    def _append(self, ended: list[c.JobCommand], slots: list[int], renew: bool) -> list[v.Event]:
        return self._queue.turn(
            ended, worker=self.id, slots=slots, queues=self._queues, renew=renew
        )

    def _report_late(self, ended: list[c.JobCommand], events: list[v.Event]) -> None:
        recorded = {event.job for event in events if isinstance(event, v.AttemptEvent)}
        for command in ended:
            if command.job not in recorded:
                self._listener.note(
                    f"the result of job {command.job} came too late and was refused:"
                    " its lease had been lost"
                )

    def _free_slots(self) -> list[int]:
        """Slots that hold their lock and run nothing, at most as many as may still be started."""
        for slot in range(1, self._slots + 1):
            if slot not in self._runs and slot not in self._locks:
                lock = self._host.hold(self._queue.home.slot_lock(self.id, slot))
                if lock is not None:
                    self._locks[slot] = lock
        free = sorted(self._locks)
        return free if self._left is None else free[: self._left]

    def _start(self, job: Job) -> None:
        lock = self._locks.pop(job.slot)
        settings = self._queue.state.settings
        timeout_ms = job.spec.timeout_ms
        if self._timeout_ms is not None and not job.spec.timeout_own:
            timeout_ms = self._timeout_ms
        try:
            self._runs[job.slot] = Run(
                job,
                self._queue.home,
                self._host,
                lock=lock,
                grace_ms=self._grace(),
                timeout_ms=timeout_ms,
                output_limit_bytes=settings.output_limit_bytes,
            )
        except NotStarted as error:
            self._ended.append(self._not_started(job, error))
            return
        finally:
            # From now on only the run's own processes hold it.
            self._host.close(lock)
        if self._left is not None:
            self._left -= 1

    def _not_started(self, job: Job, error: NotStarted) -> c.JobCommand:
        now = self._queue.now()
        if not error.fault:
            self._hinder(error.why)
            return c.Release(job=job.id, token=job.token, now=now, reason=error.why)
        return c.Finish(
            job=job.id,
            token=job.token,
            now=now,
            reason="start",
            error=error.why,
            exit_code=error.exit_code,
            chance=self._host.random(1)[0] / 256,
            backoff_base=self._backoff_base,
        )

    # ---- waiting

    def _wait(self, bell: int) -> None:
        now_s = self._host.monotonic_s()
        poll_ms = self._poll_ms or self._queue.state.settings.worker_poll_interval_ms
        until_s = now_s + poll_ms / 1000
        if self._ended and not self._hindered:
            return
        for run in self._runs.values():
            until_s = min(until_s, run.next_look_s())
        if self._runs:
            until_s = min(until_s, self._renew_s)
            if self._stopping_s:
                until_s = min(until_s, max(now_s + 0.01, self._stopping_s + self._grace() / 1000))
        if self._upkeep.others_hold_jobs():
            until_s = min(until_s, self._watch_s)
        if not self._hindered and not self._stopping_s:
            until_s = min(until_s, self._next_claim_s(now_s))
        descriptors = [run.watch for run in self._runs.values() if run.watch is not None]
        ready = self._host.wait([bell, *descriptors], until_s - now_s)
        if bell in ready:
            self._host.silence(bell)

    def _next_claim_s(self, now_s: float) -> float:
        """When a free slot may find a job (monotonic seconds)."""
        if len(self._runs) >= self._slots or self._left == 0:
            return float("inf")
        if len(self._locks) + len(self._runs) < self._slots:
            return now_s + _SLOT_BUSY_S
        now = self._queue.now()
        state = self._queue.state
        if state.ready.due(now, 1, self._queues, state.paused):
            return now_s
        due_at = state.ready.next_at(now)
        return now_s + instants.between_ms(now, due_at) / 1000 + 0.001 if due_at else float("inf")

    # ---- trouble

    def _try(self, action: Any) -> Any:
        """What `action` returns; None where the disk or another process hinders it for now."""
        try:
            return action()
        except (NoSpace, LockTimedOut) as error:
            self._hinder(str(error))
            return None

    def _hinder(self, why: str) -> None:
        if not self._hindered:
            self._listener.note(f"{why} (running jobs go on; this worker will try again)")
        self._hindered = why

    def _unhindered(self) -> None:
        if self._hindered:
            self._hindered = ""
            self._listener.note("going on: what hindered this worker is over")

    def _abandon(self) -> None:
        """Let nothing run that could not be recorded."""
        for run in self._runs.values():
            run.end("stopping", at_once=True)

    # ---- signals, telling

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop gracefully, a second one at once; either way they wake."""
        bell = self._queue.home.worker_bell(self.id)

        def stop(*_: object) -> None:
            self._stop_signals += 1
            self._host.ring(bell)

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _grace(self) -> int:
        return self._queue.state.settings.grace_ms if self._grace_ms is None else self._grace_ms

    def _tell(self, events: list[v.Event]) -> None:
        for event in events:
            self._listener.happened(event)
