"""The recorded jobs scheduled anew: the rules of the queue in virtual time; knows no storage.

What comes from outside comes when it came. Everything else is decided again: by `decide`, by the
ready index, and by what each run was recorded to take and to end with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from heapq import heappop, heappush
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import force_setattr, replace

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.domain.decide import decide
from queuectl.domain.evolve import ADVANCE
from queuectl.domain.job import WAITING, Job
from queuectl.errors import Rejected
from queuectl.events import vocabulary as v
from queuectl.instants import Instant
from queuectl.projections.ready import ReadyIndex
from queuectl.whatif.figures import Figures
from queuectl.whatif.likely import Likely
from queuectl.whatif.recording import CUT, LOST, RELEASED, Recording, Run

NOTHING_LEFT = "nothing left to run"
"""Why a worker stops that was told to run all there is: in another course there may be more."""
_ABOVE_ALL_OFFSETS = 1 << 53
_OWN = {"timeout_ms": "timeout_own", "backoff_base": "backoff_base_own"}
_PROGRESS_EVERY = 1000


class Plan(NamedTuple):
    """What is to be otherwise than it was."""

    workers: int | None = None
    """So many, all the time and for all queues; None for those that there were."""
    slots: int | None = None
    """How many each of them has; None for as many as they had."""
    settings: Mapping[str, Any] = {}
    """By field of `Settings` what jobs get that were not given it themselves."""


class _Worker(msgspec.Struct):
    slots: int
    queues: frozenset[str] | None
    running: int = 0
    claims: bool = True
    stops: v.WorkerStopped | None = None
    """It has been told to, and waits for what it runs."""


class _Ahead(NamedTuple):
    """The end of a run that goes on; sorted by when it comes."""

    at_us: int
    token: int
    key: str
    run: Run
    drawn: bool


class _Place(msgspec.Struct):
    """Which of its recorded runs a job has had."""

    round: int = 0
    number: int = 0


class Simulation:
    """One course that things could have taken."""

    def __init__(self, recording: Recording, plan: Plan, seed: int) -> None:
        self.drawn = 0
        """How many runs ended as it was drawn, because nothing is recorded of them."""
        self.refused = 0
        """How many requests of people came when the job did not allow them."""
        self._recording = recording
        self._plan = plan
        self._likely = Likely(recording, seed)
        self._figures = Figures(recording.begin, backlog=bool(recording.backlog))
        self._now: Instant = recording.begin
        self._now_us = instants.to_us(recording.begin)
        self._offset = _ABOVE_ALL_OFFSETS
        self._jobs: dict[str, Job] = {}
        """But for those that are over, and of which nobody will ask anything."""
        self._ready = ReadyIndex()
        self._paused: set[str] = set()
        self._workers: dict[str, _Worker] = {}
        self._ahead: list[_Ahead] = []
        self._runs: dict[int, str] = {}
        """By token the worker of each run that goes on."""
        self._places: dict[str, _Place] = {}
        self._owed = set(recording.over)
        """The jobs that were over at the end, and are not yet."""

    def run(self, progress: Callable[[int, int], object] = lambda done, total: None) -> Figures:
        """Go through all of it: to the end of what is recorded, and on until all is over that was
        over then. `progress` hears how many of the doings have come, and how many there are."""
        recording = self._recording
        doings = recording.doings
        for number in range(self._plan.workers or 0):
            self._come(v.WorkerStarted(worker=str(number), slots=self._plan.slots or 1))
        for event in recording.standing:
            self._do(event)
        for job in recording.backlog:
            self._begin_with(copy(job))
        self._claim()
        end_us = instants.to_us(recording.end)
        done = 0
        while True:
            next_us = self._next_us(doings[done] if done < len(doings) else None)
            if next_us is None or (next_us > end_us and not self._owed):
                break
            self._now_us, self._now = next_us, instants.from_us(next_us)
            while done < len(doings) and doings[done].at <= self._now:
                self._do(doings[done])
                done += 1
                if done % _PROGRESS_EVERY == 0:
                    progress(done, len(doings))
            self._turn()
        self._figures.finish(max(recording.end, self._now), self._jobs.values())
        return self._figures

    def _next_us(self, doing: v.Event | None) -> int | None:
        """When something happens next; None where nothing does."""
        times = [self._ahead[0].at_us] if self._ahead else []
        if doing is not None:
            times.append(max(self._now_us, instants.to_us(doing.at)))
        if any(map(_takes, self._workers.values())):
            due_at = self._ready.next_at(self._now)
            if due_at is not None:
                times.append(instants.to_us(due_at))
        return min(times, default=None)

    # ---- what comes from outside

    def _do(self, event: v.Event) -> None:
        match event:
            case v.JobEnqueued():
                self._happens(self._as_planned(event))
            case v.JobCancelled():
                self._ask(c.Cancel(job=event.job, now=self._now))
            case v.JobRequeued():
                self._ask(c.Retry(job=event.job, now=self._now))
            case v.QueuePaused():
                self._paused.add(event.queue)
            case v.QueueResumed():
                self._paused.discard(event.queue)
            case v.WorkerStarted() if self._plan.workers is None:
                self._come(replace(event, slots=self._plan.slots or event.slots))
            case v.WorkerStopRequested() if event.worker in self._workers:
                self._workers[event.worker].claims = False
            case v.WorkerStopped() if event.worker in self._workers:
                self._go(event)

    def _as_planned(self, spec: v.JobEnqueued) -> v.JobEnqueued:
        """With other settings, but for what it was given itself."""
        if not self._plan.settings:
            return spec
        before = self._recording.jobs[spec.job].settings
        fields = {
            name: value
            for name, value in self._plan.settings.items()
            if getattr(spec, name) == getattr(before, name)
            and not getattr(spec, _OWN.get(name, ""), False)
        }
        return replace(spec, **fields)

    def _ask(self, command: c.JobCommand) -> None:
        """People ask for it, whatever the job is now."""
        job = self._jobs[command.job]
        try:
            self._decided(command)
        except Rejected:
            self.refused += 1
            return
        if isinstance(command, c.Retry):
            place = self._places.setdefault(command.job, _Place())
            place.round, place.number = place.round + 1, 0
        elif job.ending:
            self._let_go(job.token)
            self._decided(c.Release(job=command.job, now=self._now, token=job.token, reason=""))

    def _come(self, event: v.WorkerStarted) -> None:
        queues = frozenset(event.queues) if event.queues else None
        self._workers[event.worker] = _Worker(event.slots, queues)
        self._figures.apply(replace(event, at=self._now), None)

    def _go(self, event: v.WorkerStopped) -> None:
        worker = self._workers[event.worker]
        if event.reason == NOTHING_LEFT:
            return
        worker.claims = False
        worker.stops = event
        self._leave(worker)

    def _leave(self, worker: _Worker) -> None:
        """It stops, once nothing of it runs."""
        if worker.stops is not None and not worker.running:
            self._figures.apply(replace(worker.stops, at=self._now), None)

    def _begin_with(self, job: Job) -> None:
        """A job that was there at the beginning."""
        job.spec = self._as_planned(job.spec)
        self._jobs[job.spec.job] = job
        if job.held:
            # Where its worker is not there, another one has a slot less until it has ended.
            least = min(self._workers, key=lambda id: self._workers[id].running, default="")
            self._start(job, job.worker if job.worker in self._workers else least)
        elif job.state in WAITING:
            self._ready.add(job)

    # ---- what follows

    def _claim(self) -> None:
        """Let every free slot take a job."""
        for id, worker in self._workers.items():
            if not _takes(worker):
                continue
            free = worker.slots - worker.running
            for job in self._ready.due(self._now, free, worker.queues, self._paused):
                self._decided(
                    c.Claim(job=job.id, now=self._now, worker=id, slot=1, until=self._now)
                )
                self._start(job, id)

    def _start(self, job: Job, worker: str) -> None:
        if worker:
            self._workers[worker].running += 1
        self._runs[job.token] = worker
        run, drawn = self._next_run(job)
        end = _Ahead(self._now_us + run.took_us, job.token, job.id, run, drawn)
        heappush(self._ahead, end)

    def _let_go(self, token: int) -> bool:
        """A run is over; whether it was not before."""
        id = self._runs.pop(token, None)
        if id:
            worker = self._workers[id]
            worker.running -= 1
            self._leave(worker)
        return id is not None

    def _turn(self) -> None:
        """What a worker does with one append: it records ends, and fills the slots that are free by
        them with what waited before."""
        over = []
        while self._ahead and self._ahead[0].at_us <= self._now_us:
            end = heappop(self._ahead)
            if self._let_go(end.token):
                over.append(end)
        if over:
            self._claim()
        for end in over:
            self._end(end)
        self._claim()

    def _end(self, end: _Ahead) -> None:
        self.drawn += end.drawn
        about: dict[str, Any] = {"job": end.key, "token": end.token, "now": self._now}
        how = end.run.how
        if how == RELEASED:
            self._decided(c.Release(reason=how, **about))
        elif how == LOST:
            self._decided(c.Expire(reason=how, **about))
        else:
            self._decided(c.Finish(reason=how, chance=self._chance(end.key), **about))

    def _chance(self, key: str) -> float:
        job = self._jobs[key]
        if not job.spec.jitter:
            return 0.0
        return self._likely.chance(key, self._places[key].round, job.attempts, "jitter").random()

    def _next_run(self, job: Job) -> tuple[Run, bool]:
        """How the run of a job goes that begins now, and whether that had to be drawn."""
        key = job.id
        recorded = self._recording.jobs[key]
        place = self._places.setdefault(key, _Place())
        runs = recorded.rounds[place.round] if place.round < len(recorded.rounds) else []
        known = runs[place.number] if place.number < len(runs) else None
        place.number += 1
        if known is not None and known.how != CUT:
            return _in_time(known, job.spec, recorded.spec), False
        chance = self._likely.chance(key, place.round, place.number, "run")
        drawn = self._likely.draw(recorded.spec.command, chance, retry=job.attempts > 1)
        if known is not None:
            drawn = drawn._replace(took_us=max(drawn.took_us, known.took_us + 1))
        return _in_time(drawn, job.spec, recorded.spec), True

    def _decided(self, command: c.JobCommand) -> None:
        """What the rules make of a command, here and now."""
        for fact in decide(self._jobs[command.job], command):
            self._offset += 1
            force_setattr(fact, "offset", self._offset)
            force_setattr(fact, "at", self._now)
            self._happens(fact)

    def _happens(self, event: v.Event) -> None:
        """Every event about a job goes through here."""
        key: str = event.job  # type: ignore[attr-defined]
        job = self._jobs.get(key)
        self._figures.apply(event, job)
        if job is not None and job.state in WAITING:
            self._ready.remove(key)
        after = ADVANCE[type(event)](job, event)
        assert after is not None, "nothing is pruned here"
        self._jobs[key] = after
        if after.state in WAITING:
            self._ready.add(after)
        if after.live:
            if key in self._recording.over:
                self._owed.add(key)
        else:
            self._owed.discard(key)
            if key not in self._recording.requested:
                del self._jobs[key], self._places[key]


def _takes(worker: _Worker) -> bool:
    """Whether it would take a job."""
    return worker.claims and worker.running < worker.slots


def _in_time(run: Run, spec: v.JobEnqueued, recorded: v.JobEnqueued) -> Run:
    """The same under the timeout that the job has now."""
    limit_us = spec.timeout_ms * 1000
    if not limit_us or spec.timeout_ms == recorded.timeout_ms or run.how in (RELEASED, LOST):
        return run
    is_late = run.took_us > limit_us or run.how == "timeout"
    return Run(run.attempt, limit_us, "timeout") if is_late else run
