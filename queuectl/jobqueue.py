"""The queue as a whole, and its Python API: asks the domain what happens, and the log to keep it.

    from queuectl import Queue

    with Queue("./data") as queue:
        job = queue.enqueue("convert a.png a.webp", priority=5)

Knows neither terminal nor processes. A `Queue` belongs to one thread of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.domain import payloads
from queuectl.domain import settings as rules
from queuectl.domain.decide import decide
from queuectl.domain.job import Job
from queuectl.domain.submission import Submission, check_queue, check_reason
from queuectl.errors import Conflict, Invalid, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.codec import FORMAT
from queuectl.events.log import Batch
from queuectl.ids import IdMaker
from queuectl.projections.workers import WorkerRow
from queuectl.queueview import QueueView

_CONFLICTS_MAX = 100
_WAKES = (
    v.JobEnqueued,
    v.JobRetried,
    v.JobRequeued,
    v.JobReleased,
    v.JobCancelled,
    v.LeaseExpired,
    v.WorkerStopRequested,
    v.SettingChanged,
    v.QueueResumed,
)
"""Events after which a waiting worker may have something to do."""


class Queue(QueueView):
    """A job queue in one data directory, to look at and to change.

    Opened as `QueueView` says.
    """

    @cached_property
    def _ids(self) -> IdMaker:
        return IdMaker()

    @cached_property
    def actor(self) -> str:
        """Who acts through this process: user@host."""
        return self.host.actor()

    @contextmanager
    def acting_as(self, actor: str) -> Iterator[None]:
        """Act for somebody else meanwhile; for who acts in this process where that is empty."""
        before = self.actor
        self.actor = actor or before
        try:
            yield
        finally:
            self.actor = before

    # ---- enqueueing

    def enqueue(self, command: str | None = None, **fields: Any) -> Job:
        """Accept a job; when this returns, it is durable.

        `fields` are those of `queuectl.domain.submission.FIELDS`, with the types that JSON has.
        Raises `Invalid` for a bad field and `Rejected` where the id is taken.
        """
        if command is not None:
            fields["command"] = command
        return self.enqueue_many([fields])[0]

    def enqueue_many(self, jobs: Sequence[Mapping[str, Any]]) -> list[Job]:
        """Accept many jobs with one durable append: all of them, or none."""
        ids = self.enqueue_all(jobs)
        rows = self.known.jobs.rows
        return [rows[id] for id in ids]

    def enqueue_all(
        self,
        jobs: Sequence[Mapping[str, Any]],
        *,
        where: Callable[[int], str] = lambda index: "",
        progress: Callable[[int], None] | None = None,
    ) -> list[str]:
        """As `enqueue_many`, returning only the ids.

        `where(index)` names the origin of a job in errors; `progress(count)` hears how many have
        been looked at.
        """
        specs, given, kept = self._specify(jobs, where, progress)
        format = payloads.FORMAT if kept else FORMAT

        def batches() -> list[Batch]:
            for id, spec in given.items():
                decide(self.known.jobs.get(id), c.Enqueue(job=id, spec=spec))
            # Not 0: an id is free again once its job was purged, and that stays in the log.
            return [Batch(specs, dict.fromkeys(given, self.known.offset), format=format)]

        if kept:
            self._make_home()
        with self.log.keeping(kept.values()):
            self.transact(batches)
        return [spec.job for spec in specs]

    def _specify(
        self,
        jobs: Sequence[Mapping[str, Any]],
        where: Callable[[int], str],
        progress: Callable[[int], None] | None,
    ) -> tuple[list[v.JobEnqueued], dict[str, v.JobEnqueued], dict[str, bytes]]:
        """The jobs, by id those of them that came with one, and by its hash what is too long of
        them for the log."""
        now_us = self.host.now_us()
        submission = Submission(
            self.state.settings,
            now=self.now(),
            cwd=self.host.directory(),
            actor=self.actor,
        )
        ids = self._ids.make_many(len(jobs), now_us, self.host.random(10))
        new_id = iter(ids).__next__
        specs = []
        given: dict[str, v.JobEnqueued] = {}
        kept: dict[str, bytes] = {}
        for index, fields in enumerate(jobs):
            try:
                spec = submission.job(fields, new_id)
                if not payloads.is_short(spec):
                    spec, parts = payloads.parted(spec)
                    kept |= parts
            except Invalid as error:
                raise Invalid(f"{where(index)}{error}") from None
            if "id" in fields:
                if spec.job in given:
                    raise Invalid(f"{where(index)}id: {spec.job} stands here a second time")
                given[spec.job] = spec
            specs.append(spec)
            if progress is not None and index % 1000 == 0:
                progress(index)
        return specs, given, kept

    # ---- everything else that can be asked

    def submit(self, commands: Sequence[c.JobCommand], *, essential: bool = False) -> list[v.Event]:
        """Ask for several things with one durable append; returns what happened.

        Each command is all or none by itself. Raises `Rejected` or `NotFound` for the first that
        cannot be, and then nothing is appended.
        """
        return self.transact(
            lambda: [self._decided(command, essential=essential) for command in commands]
        )

    def transact(self, batches: Callable[[], list[Batch]]) -> list[v.Event]:
        """Append what `batches()` makes of the state caught up, again if the log moved on."""
        events = self._append(batches)
        if any(isinstance(event, _WAKES) for event in events):
            self.ring()
        return events

    def turn(
        self,
        ended: Sequence[c.JobCommand],
        *,
        worker: str,
        slots: Sequence[int],
        queues: Container[str] | None = None,
        renew: bool = False,
    ) -> list[v.Event]:
        """One turn of a worker: record what ended, claim a job for each free slot, keep leases.

        All of it is one append. `queues` None serves all. Returns what happened: a claim for each
        job to start, and nothing for an end that came too late.
        """

        def batches() -> list[Batch]:
            now = self.now()
            until = instants.later(now, self.known.settings.lease_ms)
            jobs = self.known.jobs.rows
            done = [
                self._decided(command, essential=True) for command in ended if command.job in jobs
            ]
            if renew:
                done.append(Batch([v.LeaseRenewed(worker=worker, until=until)], essential=True))
            due = self.known.ready.due(now, len(slots), queues, self.known.paused)
            for slot, job in zip(slots, due, strict=False):
                claim = c.Claim(job=job.id, now=now, worker=worker, slot=slot, until=until)
                done.append(self._decided(claim))
            return done

        return self.transact(batches)

    def _decided(self, command: c.JobCommand, *, essential: bool = False) -> Batch:
        job = self.known.jobs.get(command.job)
        return Batch(decide(job, command), {command.job: job.offset if job else 0}, essential)

    def cancel(self, *jobs: str, reason: str = "") -> list[v.Event]:
        """Call jobs off, by their whole ids; a running one is ended by its worker.

        Raises `Rejected` where one has ended already.
        """
        return self._ask(c.Cancel, jobs, reason)

    def retry(self, *jobs: str, reason: str = "") -> list[v.Event]:
        """Begin a new round of runs for each job, or run it at once instead of later."""
        return self._ask(c.Retry, jobs, reason)

    def prune(self, *jobs: str, reason: str = "") -> list[v.Event]:
        """Forget jobs that have ended; their history stays in the log."""
        return self._ask(c.Prune, jobs, reason)

    def _ask(self, kind: type[c.ByPeople], jobs: Sequence[str], reason: str) -> list[v.Event]:
        now, actor, reason = self.now(), self.actor, check_reason(reason)
        # One named twice is one: each command is decided by what is before all of them.
        once = dict.fromkeys(jobs)
        return self.submit([kind(job=job, now=now, actor=actor, reason=reason) for job in once])

    def set(self, key: str, value: str) -> None:
        """Change a setting for jobs enqueued from now on. Raises `Invalid`."""
        name = rules.canonical(key).key
        rules.changed(self.known.settings, key, value)  # a bad value, before anything is made

        def batches() -> list[Batch]:
            before = self.known.settings
            after = rules.changed(before, key, value)
            shown = rules.shown(after, name)
            fact = v.SettingChanged(key=name, value=shown, actor=self.actor)
            return [] if after == before else [Batch([fact])]

        self.transact(batches)

    def pause(self, queue: str, *, reason: str = "") -> None:
        """Let no more jobs of a queue be claimed."""
        queue = check_queue(queue)
        fact = v.QueuePaused(queue=queue, actor=self.actor, reason=check_reason(reason))
        self.transact(lambda: [] if queue in self.known.paused else [Batch([fact])])

    def resume(self, queue: str, *, reason: str = "") -> None:
        """Let jobs of a paused queue be claimed again."""
        queue = check_queue(queue)
        fact = v.QueueResumed(queue=queue, actor=self.actor, reason=check_reason(reason))
        self.transact(lambda: [Batch([fact])] if queue in self.known.paused else [])

    def stop_workers(self) -> list[WorkerRow]:
        """Ask every worker there is now to finish what it runs and stop; returns those asked."""
        asked: list[WorkerRow] = []

        def batches() -> list[Batch]:
            asked[:] = [row for row in self.known.workers.rows.values() if self.is_alive(row.id)]
            return [
                Batch([v.WorkerStopRequested(worker=row.id, actor=self.actor)])
                for row in asked
                if not row.stop_requested
            ]

        self.transact(batches)
        return asked

    # ---- the loop that everything goes through

    def _append(self, batches: Callable[[], list[Batch]]) -> list[v.Event]:
        if self.host.pid() != self._pid:
            raise QueuectlError("a Queue cannot be used after a fork: open another in the child")
        self._make_home()
        for _ in range(_CONFLICTS_MAX):
            with self.log.exclusive():
                self.catch_up()
                if self.damage is not None:
                    raise self.damage
                try:
                    events = self.log.append(batches())
                except Conflict:
                    continue
            self.known.apply(events)
            self._tell(events)
            return events
        raise Conflict("others keep changing the same job: try again")

    def _make_home(self) -> None:
        if not self._is_made:
            self.home.make(self.host)
            self._is_made = True

    def ring(self) -> None:
        """Wake every worker that waits: those that had started by the last look. Who starts later
        reads the log before it waits."""
        for worker in self.known.worker_ids:
            self.host.ring(self.home.worker_bell(worker))
