"""A worker: one process with N slots; claims jobs, runs them, records what came of it.

Each turn of its loop is one append: everything that ended and everything newly claimed. Between
turns it sleeps until a child ends, a bell rings or a deadline comes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import copy

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.domain.job import Job
from queuectl.errors import Invalid, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.ids import IdMaker
from queuectl.jobqueue import Queue
from queuectl.runtime.executor import Limits, Run
from queuectl.runtime.hindrance import Hindrance
from queuectl.runtime.housekeeping import Housekeeping
from queuectl.runtime.options import Listener as Listener
from queuectl.runtime.options import Options as Options
from queuectl.runtime.orphans import Orphans
from queuectl.runtime.presence import Presence
from queuectl.runtime.signals import StopSignals
from queuectl.runtime.start import Start, Starter
from queuectl.runtime.upkeep import Upkeep

_WATCH_OTHERS_S = 0.25
_LOCK_BUSY_S = 0.002
_LOCK_TIMEOUT_S = 1.0
_DESCRIPTORS = 40
"""What a worker may have open besides two files a slot."""
_FREE_BYTES_MIN = 1 << 20
"""On a fuller disk a job could not even say why it failed."""


class Worker:
    """Runs jobs of `queue` until it is told to stop. Belongs to the main thread of its process."""

    def __init__(self, queue: Queue, options: Options, listener: Listener | None = None) -> None:
        self._queue = queue
        self._host = queue.host
        self._options = options
        self._listener = listener or Listener()
        self.id = IdMaker().make(self._host.now_us(), self._host.random(10))
        self._environment = {
            os.fsencode(name): os.fsencode(value)
            for name, value in {
                **self._host.environment(),
                "QUEUECTL_DATA": queue.home.root,
            }.items()
        }
        self._left = options.limit
        self._runs: list[Run] = []
        self._ended: list[c.Finish | c.Release] = []
        """Ends that are not recorded yet."""
        self._upkeep = Upkeep(queue, self.id)
        self._orphans = Orphans(self._host)
        self._housekeeping = Housekeeping(queue, self._orphans)
        self._unseen = False
        """Nobody can know any more that it lives."""
        self._done = ""
        """Why it has stopped."""
        self._stopping_s = 0.0
        self._renew_s = 0.0
        self._watch_s = 0.0
        self._hindrance = Hindrance(self._host, self._listener.note)

    def run(self) -> str:
        """Work until there is a reason to stop; returns it. Raises what the log raises when it can
        no longer be trusted, and `Invalid` for more slots than it can have files open for; nothing
        runs on then."""
        host = self._host
        needed = _DESCRIPTORS + 2 * self._options.slots
        if needed > host.descriptors_max():
            raise Invalid(
                f"{self._options.slots} slots need {needed} open files, and this process may have"
                f" {host.descriptors_max()}: raise that with ulimit -n, or use fewer slots"
            )
        self._presence = Presence(self._queue.home, host, self.id)
        self._starter = Starter(host, self._options.slots, self._presence.ring)
        try:
            reason = self._run()
        finally:
            self._starter.close()
            self._presence.close()
        if self._unseen:
            raise QueuectlError(
                f"what this worker had in {self._queue.home.run} was deleted: its jobs were ended"
                " and handed back; start it again, and leave that directory alone meanwhile"
            )
        return reason

    def _run(self) -> str:
        host = self._host
        # Around everything, so that a signal at the very end does not leave files behind.
        with StopSignals(self._presence.bell) as self._signals:
            host.adopt_orphans(True)
            try:
                self._record_start()
                # From now on it has timeouts to keep, whoever sits on the lock.
                self._queue.log.lock_timeout_s = _LOCK_TIMEOUT_S
                while not self._done:
                    went_on = self._hindrance.attempt(self._step)
                    if went_on is None and self._signals.count > 1:
                        # Told twice, it leaves without a word: whoever comes next sees it is gone.
                        self._done = "stopped"
                    elif went_on is None:
                        self._hindrance.put_off()
                        self._wait()
                    elif not went_on:
                        self._wait()
                return self._done
            finally:
                self._end_everything()
                host.adopt_orphans(False)
                self._upkeep.close()
                self._presence.leave()

    def _record_start(self) -> None:
        queues = self._options.queues
        started = v.WorkerStarted(
            worker=self.id,
            host=self._host.name(),
            boot=self._host.boot_id(),
            pid=self._host.pid(),
            slots=self._options.slots,
            queues=sorted(queues) if queues else None,
        )
        self._tell(self._queue.transact(lambda: [Batch([started])]))

    def _step(self) -> bool:
        """Do what there is to do; whether there may be more at once."""
        self._collect()
        self._queue.catch_up()
        self._follow_the_log()
        self._watch_others()
        reason = self._why_stop()
        if not reason:
            self._housekeeping.look(idle=not self._runs)
        # Told twice to stop, it no longer waits until that can be recorded.
        given_up = self._hindrance.why and self._signals.count > 1
        if reason and not self._runs and (not self._ended or given_up):
            stopped = v.WorkerStopped(worker=self.id, reason=reason)
            # With ends unrecorded it holds jobs by the log, and others must see that it is gone.
            batches = [] if self._ended else [Batch([stopped], essential=True)]
            events = self._hindrance.attempt(lambda: self._queue.transact(lambda: batches))
            if events is not None or given_up:
                self._tell(events or [])
                self._done = reason
            return bool(self._done)
        # Without runs, that may have been the last of it.
        return self._turn(claim=not reason) and not self._runs

    # ---- one turn

    def _collect(self) -> None:
        """Take what came of the runs that are over."""
        for run in self._runs:
            run.watch()
        self._orphans.reap()
        self._see_whether_it_goes_on()
        for run in [run for run in self._runs if run.is_over()]:
            if run.shortage:
                self._hindrance.meet(run.shortage)
            self._ended.append(
                run.result(
                    now=self._queue.now(),
                    chance=self._host.random(1)[0] / 256,
                    backoff_base=self._options.backoff_base,
                )
            )
            # Only now: an end that could not be told this time is told the next.
            self._runs.remove(run)
            if run.shortage and self._left is not None:
                self._left += 1

    def _see_whether_it_goes_on(self) -> None:
        """Whether all that was claimed since something was short could be begun."""
        since = [run for run in self._runs if run.claimed_s >= self._hindrance.claim_s]
        if since and not any(run.is_starting or run.shortage for run in since):
            self._hindrance.end()

    def _follow_the_log(self) -> None:
        """End runs that were cancelled, or whose lease was lost."""
        for run in self._runs:
            job = self._queue.known.jobs.get(run.job.id)
            if job is None or job.token != run.job.token or not job.held:
                run.ask_to_end("lost", at_once=True)
            elif job.ending:
                run.ask_to_end("cancelled")

    def _watch_others(self) -> None:
        now = self._host.monotonic_s()
        if now >= self._watch_s:
            self._watch_s = now + _WATCH_OTHERS_S
            self._unseen = self._unseen or not self._presence.show()
            # Whose files are gone as well does not look alive, and may be.
            if not self._unseen:
                self._tell(self._hindrance.attempt(self._upkeep.take_over) or [])

    def _why_stop(self) -> str:
        """Why no more jobs are to be claimed; empty while they are."""
        if self._unseen:
            # Others take it for dead, and end its jobs before they run them.
            for run in self._runs:
                run.ask_to_end("stopping", at_once=True)
            return "its files were deleted"
        row = self._queue.known.workers.rows.get(self.id)
        if self._signals.count or row is None or row.stop_requested:
            self._wind_down()
            return "stopped"
        if self._left == 0:
            return "limit reached"
        if self._options.burst and not (self._runs or self._ended or self._left_to_run()):
            return "nothing left to run"
        return ""

    def _left_to_run(self) -> bool:
        if self._options.burst == "now":
            return self._due(self._queue.now())
        state = self._queue.known
        return self._upkeep.unfinished or state.ready.waits(self._options.queues, state.paused)

    def _wind_down(self) -> None:
        """Give running jobs the grace period to end by themselves, then end them."""
        now = self._host.monotonic_s()
        grace_s = self._grace_ms() / 1000
        if not self._stopping_s:
            self._stopping_s = now
            if self._runs:
                self._listener.note(
                    f"stopping: waiting up to {grace_s:g}s for {len(self._runs)} running"
                    f" job{'s' if len(self._runs) > 1 else ''}; a second signal ends them at once"
                )
        for run in self._runs:
            if self._signals.count > 1:
                run.ask_to_end("stopping", at_once=True)
            elif now >= self._stopping_s + grace_s:
                run.ask_to_end("stopping")

    def _turn(self, *, claim: bool) -> bool:
        """Record what ended and claim what may run; whether anything was appended."""
        now_s = self._host.monotonic_s()
        if now_s < self._hindrance.append_s:
            return False
        slots = self._claimable() if claim and now_s >= self._hindrance.claim_s else []
        renew = bool(self._runs) and now_s >= self._renew_s
        ended = self._ended
        if not (ended or renew or slots):
            return False
        events = self._hindrance.attempt(lambda: self._append(ended, slots, renew))
        if events is None and slots and (ended or renew):
            # What ended has space kept back for it; only new jobs have to wait.
            self._hindrance.append_s = 0.0
            events = self._hindrance.attempt(lambda: self._append(ended, [], renew))
        if events is None:
            self._hindrance.put_off()
            return False
        self._ended = []
        claims = [event for event in events if isinstance(event, v.JobClaimed)]
        if renew or claims:
            self._renew_s = now_s + self._queue.known.settings.lease_ms / 3000
        for event in claims:
            self._start(self._queue.known.jobs.rows[event.job])
        self._tell(events)
        self._report_late(ended, events)
        return bool(events)

    def _append(
        self, ended: list[c.Finish | c.Release], slots: list[int], renew: bool
    ) -> list[v.Event]:
        return self._queue.turn(
            ended, worker=self.id, slots=slots, queues=self._options.queues, renew=renew
        )

    def _report_late(self, ended: list[c.Finish | c.Release], events: list[v.Event]) -> None:
        recorded = {event.token for event in events if isinstance(event, v.AttemptEvent)}
        for command in ended:
            if command.token not in recorded:
                self._listener.note(
                    f"the result of job {command.job} came too late and was refused:"
                    " its lease had been lost"
                )

    def _claimable(self) -> list[int]:
        """Free slots for jobs that are due, with their locks held; at most as many as may still be
        started."""
        if not self._due(self._queue.now()):
            return []
        if self._host.free_bytes(self._queue.home.root) < _FREE_BYTES_MIN:
            self._hindrance.meet(f"no space left for the output of jobs in {self._queue.home.root}")
            return []
        free = self._presence.free
        taken = {run.job.slot for run in self._runs} | free.keys()
        self._presence.hold_slots([n for n in range(1, self._options.slots + 1) if n not in taken])
        return sorted(free)[: self._left]

    def _start(self, job: Job) -> None:
        """Begin a claimed job."""
        timeout_ms = job.spec.timeout_ms
        if self._options.timeout_ms is not None and not job.spec.timeout_own:
            timeout_ms = self._options.timeout_ms
        limits = Limits(self._grace_ms(), timeout_ms, self._queue.known.settings.output_limit_bytes)
        home, host = self._queue.home, self._host
        job = copy(job)  # because the table goes on changing its own
        lock = self._presence.free.pop(job.slot)
        start = Start(job, home, host, lock, self._environment, self._queue.log.kept)
        self._runs.append(Run(job, home, host, start, limits, self._orphans))
        self._starter.begin(start)
        if self._left is not None:
            self._left -= 1

    # ---- waiting

    def _wait(self) -> None:
        bell = self._presence.bell
        now_s = self._host.monotonic_s()
        poll_ms = self._options.poll_ms or self._queue.known.settings.worker_poll_interval_ms
        until_s = now_s + poll_ms / 1000
        for run in self._runs:
            until_s = min(until_s, run.next_look_s(now_s))
        if self._runs:
            until_s = min(until_s, max(self._renew_s, self._hindrance.append_s))
        if self._ended:
            until_s = min(until_s, self._hindrance.append_s)
        if self._stopping_s:
            until_s = min(until_s, max(now_s + 0.01, self._stopping_s + self._grace_ms() / 1000))
        elif self._left != 0:
            until_s = min(until_s, max(self._next_claim_s(now_s), self._hindrance.claim_s))
        if self._upkeep.others_hold_jobs():
            until_s = min(until_s, self._watch_s)
        heard = self._host.wait([bell, *self._upkeep.watches()], until_s - now_s)
        if bell in heard:
            self._host.silence(bell)
        if heard - {bell}:
            self._watch_s = 0.0  # one of the others has ended

    def _next_claim_s(self, now_s: float) -> float:
        """When a free slot may find a job (monotonic seconds)."""
        if len(self._runs) >= self._options.slots:
            return float("inf")
        now = self._queue.now()
        if self._due(now):
            return now_s + _LOCK_BUSY_S
        due_at = self._queue.known.ready.next_at(now)
        return now_s + instants.between_ms(now, due_at) / 1000 + 0.001 if due_at else float("inf")

    def _due(self, now: instants.Instant) -> bool:
        """Whether there is a job for this worker at `now`."""
        state = self._queue.known
        return bool(state.ready.due(now, 1, self._options.queues, state.paused))

    def _end_everything(self) -> None:
        """Let nothing run on; after a failure, nothing that could not be recorded."""
        for run in self._runs:
            run.ask_to_end("stopping", at_once=True)
        while self._runs:
            with suppress(OSError):
                self._orphans.reap()
            self._runs = [run for run in self._runs if not _is_over(run)]
            self._host.sleep(_LOCK_BUSY_S)

    def _grace_ms(self) -> int:
        given = self._options.grace_ms
        return self._queue.known.settings.grace_ms if given is None else given

    def _tell(self, events: list[v.Event]) -> None:
        for event in events:
            self._listener.happened(event)


def _is_over(run: Run) -> bool:
    """Whether a killed run is over, or the disk does not tell: then its slot lock tells others."""
    try:
        run.watch()
        return run.is_over()
    except OSError:
        return True
