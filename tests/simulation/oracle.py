"""What must be true whatever happens: hears of every event that anybody has seen, and of every run.

It knows the rules of a job's life by itself, in a form so plain that it can be checked by reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from machine import Process
from msgspec.structs import replace

from queuectl.domain.job import Job
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.projections.state import State

_WAITING, _RUNNING, _ENDED = "waiting", "running", "ended"


class Violation(AssertionError):
    """A promise was broken."""


class _Job:
    """What the oracle knows about a job."""

    __slots__ = ("cancelled", "enqueued", "state", "token")

    def __init__(self, enqueued: int) -> None:
        self.enqueued = enqueued
        """The event that made it; an id may be used again once its job was pruned."""
        self.state = _WAITING
        self.token = 0
        """The claim under which it may run; 0 for none."""
        self.cancelled = False


class _Run:
    """The processes of one attempt."""

    __slots__ = ("job", "processes")

    def __init__(self, job: str, process: Process) -> None:
        self.job = job
        self.processes = [process]

    def lives(self) -> bool:
        return not all(process.dead for process in self.processes)


class Oracle:
    def __init__(self) -> None:
        self.history: list[v.Event] = []
        """Everything that anybody has ever seen."""
        self.jobs: dict[str, _Job] = {}
        self.acknowledged = 0
        """Events that whoever asked for them was told of."""
        self.refused: set[str] = set()
        """Ids of jobs of which somebody was told that they were not accepted."""
        self.known: dict[str, None] = {}
        """The ids of all jobs there ever were, in their order."""
        self.redacted: dict[int, set[str]] = {}
        """By offset the fields that somebody asked to be taken out."""
        self.redacting: set[str] = set()
        """The jobs that these are about."""
        self.compacted: set[int] = set()
        """Events that somebody has missed in the log."""
        self.deleted = 0
        """Files of output that were to be deleted."""
        self.cursor: int | None = None
        """How far somebody has read who needs all of it; None where there is nobody."""
        self._stopped: set[str] = set()
        """Workers that are gone."""
        self._runs: dict[int, _Run] = {}
        self._latest: dict[str, int] = {}
        """Per job the token of the run that began last."""
        self._at = ""

    # ---- events

    def saw(self, offset: int, events: Sequence[v.Event]) -> None:
        """Somebody who had seen everything up to `offset` now sees `events`."""
        history = self.history
        for event in events:
            if event.offset != offset + 1:
                self._left_out(offset, event)
            offset = event.offset
            if offset > len(history):
                self._check(event)
                history.append(event)
            elif event != history[offset - 1]:
                self._seen_otherwise(event)

    def stopped_after(self, event: v.Event) -> None:
        """Somebody has seen all that there is, and that was the last of it."""
        if event.more:
            raise Violation(f"half a batch was seen, up to {event}")

    def _left_out(self, offset: int, event: v.Event) -> None:
        """The log goes on from `offset` with `event`: what would be between was compacted away."""
        if not offset < event.offset <= len(self.history) + 1:
            raise Violation(f"after event {offset} comes {event}")
        for missing in self.history[offset : event.offset - 1]:
            self._compacted(missing)

    def _seen_otherwise(self, event: v.Event) -> None:
        known = self.history[event.offset - 1]
        if isinstance(event, v.LogCompacted):
            self._compacted(known)
        elif not self._is_same(event, known):
            raise Violation(f"{event} was seen as {known}")

    def _is_same(self, event: v.Event, known: v.Event) -> bool:
        """Whether this may stand for what was written."""
        # The last event that is left of a batch ends it.
        if event == replace(known, more=event.more):
            return True
        # Who asks later takes out more; what was asked first is out before.
        return self.redacted.get(event.offset) is not None and _blank(event) == _blank(known)

    def _compacted(self, event: v.Event) -> None:
        """That event has left the log: it was decided before that nobody needs it."""
        if event.offset in self.compacted:
            return
        self.compacted.add(event.offset)
        able = True
        match event:
            case v.JobRedacting() | v.JobRedacted():
                able = False
            case v.JobEvent():
                job = self.jobs.get(event.job)
                able = job is None or event.offset < job.enqueued
            case v.WorkerStarted() | v.WorkerStopRequested() | v.WorkerStopped():
                able = event.worker in self._stopped
            case v.LeaseRenewed():
                pass
            case _:
                able = False
        if not able or (self.cursor is not None and event.offset > self.cursor):
            raise Violation(f"compacted away, and still needed: {event}")

    def recalled(self, id: str, events: Sequence[v.Event]) -> None:
        """Somebody looked up the history of one job that there is."""
        job = self.jobs.get(id)
        if job is None:
            return
        known = [event for event in self.history if getattr(event, "job", "") == id]
        known = [event for event in known if event.offset >= job.enqueued]
        told = [event for event in events if event.offset >= job.enqueued]
        for event, same in zip(told, known, strict=False):
            if not self._is_same(event, same):
                raise Violation(f"the history of {id} has {event} and not {same}")

    def asked(self, state: State) -> None:
        """Somebody asks all there is to know, and gets the answers that the history gives."""
        plain = State()
        plain.apply(self.history[: state.offset])
        for what, told, right in (
            ("jobs", self._rows(state), self._rows(plain)),
            ("counts", state.counts, plain.counts),
            ("settings", state.settings, plain.settings),
            ("paused queues", state.paused, plain.paused),
            ("statistics", state.statistics.summary(), plain.statistics.summary()),
            ("workers", _told(state), _told(plain)),
        ):
            if told != right:
                raise Violation(f"at event {state.offset} the {what} are {right}, told was {told}")

    def _rows(self, state: State) -> list[Job]:
        """All jobs. Whether the event that made one was the last of its batch may change; and where
        values are being taken out, they may be there yet."""
        rows = [replace(job, spec=replace(job.spec, more=False)) for job in state.jobs.select()]
        return [
            replace(job, spec=_blank(job.spec), error="") if job.id in self.redacting else job
            for job in rows
        ]

    def found(self, archived: Sequence[v.Event], logged: Sequence[v.Event]) -> None:
        """All that is left, in the archive and in the log, when all is over."""
        known = {event.offset: event for event in archived}
        known |= {event.offset: event for event in logged if not isinstance(event, v.LogCompacted)}
        for event in self.history:
            left = known.get(event.offset)
            if left is None or not self._is_same(left, event):
                raise Violation(f"neither archived nor in the log: {event}")
        for event in (*archived, *logged):
            if isinstance(event, v.JobEvent) and event.offset in self.redacted:
                self._check_redacted(event)

    def redacted_words(self) -> list[str]:
        """What stands in commands that were to be taken out, and nowhere else."""
        events = [self.history[at - 1] for at in self.redacted if "command" in self.redacted[at]]
        commands = [event.command for event in events if isinstance(event, v.JobEnqueued)]
        return [word for text in commands for word in text.split() if word.startswith("word")]

    def _check_redacted(self, event: v.JobEvent) -> None:
        """What was to be taken out is."""
        for field in self.redacted[event.offset]:
            if getattr(event, field, "") not in ("", "[redacted]"):
                raise Violation(f"its {field} was to be taken out: {event}")

    def _check(self, event: v.Event) -> None:
        if event.at < self._at:
            raise Violation(f"time runs backwards to {event}")
        self._at = event.at
        if isinstance(event, v.WorkerStopped):
            self._stopped.add(event.worker)
        if not isinstance(event, v.JobEvent):
            return
        job = self.jobs.get(event.job)
        if isinstance(event, v.JobEnqueued):
            if event.job in self.refused:
                raise Violation(f"it was said that this was not accepted: {event}")
            if job is not None:
                raise Violation(f"there was such a job already: {event}")
            self.jobs[event.job] = _Job(event.offset)
            self.known[event.job] = None
            return
        if isinstance(event, v.JobRedacting | v.JobRedacted):
            if event.job not in self.known:
                raise Violation(f"there was no such job: {event}")
            if isinstance(event, v.JobRedacting):
                self.redacting.add(event.job)
                for offset in event.offsets or ():
                    self.redacted.setdefault(offset, set()).update(event.fields or ())
            return
        if job is None:
            raise Violation(f"there was no such job: {event}")
        if not self._happens(job, event):
            raise Violation(f"a job that was {job.state} under {job.token} cannot have {event}")

    def _happens(self, job: _Job, event: v.JobEvent) -> bool:
        """Move `job` on; whether that could be."""
        match event:
            case v.JobClaimed():
                able = job.state == _WAITING and not job.token
                job.state, job.token = _RUNNING, event.offset
            case v.JobCompleted() | v.JobFailed():
                able = job.state == _RUNNING and job.token == event.token
                self._outcome(event)
                job.state, job.token = _ENDED, 0
            case v.JobRetried():
                able = job.state == _ENDED and not job.cancelled
                job.state = _WAITING
            case v.JobDead():
                able = job.state in (_ENDED, _WAITING)
                job.state = _ENDED
            case v.JobReleased() | v.LeaseExpired():
                able = job.token == event.token
                self._gone(event)
                job.state, job.token = _ENDED if job.cancelled else _WAITING, 0
            case v.JobCancelled():
                able = job.state != _ENDED
                job.state, job.cancelled = _ENDED, True
            case v.JobRequeued():
                able = not job.token
                job.state, job.cancelled = _WAITING, False
            case v.JobPruned():
                able = job.state == _ENDED and not job.token
                del self.jobs[event.job]
            case _:
                raise Violation(f"unknown to the oracle: {event}")
        return able

    def _outcome(self, event: v.JobCompleted | v.JobFailed) -> None:
        """What is recorded is what happened."""
        run = self._gone(event)
        if isinstance(event, v.JobFailed) and event.reason == "start":
            if run is not None:
                raise Violation(f"it did run: {event}")
            return
        if run is None:
            raise Violation(f"it never ran: {event}")
        status = run.processes[0].status
        ended = isinstance(event, v.JobFailed) and event.reason in ("timeout", "output-limit")
        if not ended and (status == 0) is not isinstance(event, v.JobCompleted):
            raise Violation(f"it ended with {status}: {event}")

    def _gone(self, event: v.AttemptEvent) -> _Run | None:
        run = self._runs.get(event.token)
        if run is not None and run.lives():
            raise Violation(f"its processes still live: {event}")
        return run

    # ---- runs

    def began(self, id: str, token: int, process: Process) -> None:
        """A worker has started a run of the job under that token."""
        before = self._runs.get(self._latest.get(id, 0))
        if before is not None and before.lives():
            raise Violation(f"run {token} of {id} begins while {self._latest[id]} goes on")
        if token in self._runs:
            raise Violation(f"run {token} of {id} begins a second time")
        job = self.jobs.get(id)
        if job is None or job.token != token:
            raise Violation(f"run {token} of {id} begins without its lease")
        self._runs[token] = _Run(id, process)
        self._latest[id] = token

    def joined(self, token: int, process: Process) -> None:
        """Another process belongs to that run."""
        self._runs[token].processes.append(process)

    def deletes(self, id: str, token: int) -> None:
        """Somebody deletes what that run has printed: nobody can ask for it any more."""
        job = self.jobs.get(id)
        if token > len(self.history) or (job is not None and job.enqueued < token):
            raise Violation(f"the output of run {token} of {id} is deleted, and there is the job")
        self.deleted += 1

    @property
    def runs(self) -> int:
        return len(self._runs)

    def unfinished(self) -> list[str]:
        return [id for id, job in self.jobs.items() if job.state != _ENDED or job.token]


def _blank(event: v.Event) -> v.Event:
    """Without anything that may be taken out, and without what says so."""
    texts = {name: "" for name in ("command", "error", "reason", "actor") if hasattr(event, name)}
    lists = {name: None for name in ("redacted", "payloads") if hasattr(event, name)}
    return replace(event, more=False, original="", **texts, **lists)


def _told(state: State) -> dict[str, list[int]]:
    """What each worker holds."""
    return {id: sorted(row.holding) for id, row in state.workers.rows.items()}


class WatchedLog(FileLog):
    """The log as one process has it, which tells the oracle what that process gets to see."""

    def __init__(self, oracle: Oracle, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._oracle = oracle

    def read(self, after: int = 0) -> Iterator[list[v.Event]]:
        events: list[v.Event] = []
        for events in super().read(after):
            self._oracle.saw(after, events)
            after = events[-1].offset
            yield events
        if events:
            self._oracle.stopped_after(events[-1])

    def append(self, batches: Sequence[Batch]) -> list[v.Event]:
        events = super().append(batches)
        if events:
            self._oracle.saw(events[0].offset - 1, events)
            self._oracle.stopped_after(events[-1])
        return events
