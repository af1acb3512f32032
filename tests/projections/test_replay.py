"""Derived is derived: replayed from zero, in any pieces, it is what lived."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hosts import SteadyHost
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import asdict, replace

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.domain.job import CANCELLED, PROCESSING, STATES, WAITING
from queuectl.engines.memory import MemoryLog
from queuectl.errors import QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch, Log
from queuectl.projections.state import State

IDS = st.sampled_from("abcdef")
QUEUES = st.sampled_from(["default", "mail"])
ENDS = ["finish", "fail", "release", "expire"]
WORKERS = ("w1", "w2")


def figures(state: State, now: str) -> dict[str, Any]:
    """Everything that a state knows, as plain values."""
    statistics = state.statistics
    ready = state.ready
    return {
        "offset": state.offset,
        "jobs": [
            # Whether it was enqueued in one batch with others is no part of what a job is.
            {**asdict(job), "spec": replace(job.spec, more=False)}
            for job in state.jobs.select()
        ],
        "newest first": [job.id for job in state.jobs.select(reverse=True)],
        "found": [state.jobs.named(id).id for id in [job.id for job in state.jobs.select()]],
        "settings": state.settings,
        "paused": state.paused,
        "counts": dict(state.counts),
        "queues": state.queues,
        "by state": {
            name: [
                [job.id for job in state.jobs.select(states=[name], reverse=reverse, beyond=offset)]
                for reverse in (True, False)
                for offset in (None, state.offset // 2)
            ]
            for name in STATES
        },
        "pages": [
            [job.id for job in state.jobs.select(reverse=reverse, beyond=offset)]
            for reverse in (True, False)
            for offset in (0, state.offset // 3, state.offset // 2, state.offset + 1)
        ],
        "due": [job.id for job in ready.due(now, 100, None, state.paused)],
        "next": ready.next_at(now),
        "workers": {
            row.id: (
                row.slots,
                row.stop_requested,
                row.lease,
                sorted(row.holding),
            )
            for row in state.workers.rows.values()
        },
        "heard": {row.id: (row.heard, row.heartbeat_at) for row in state.workers.rows.values()},
        "statistics": {
            name: value for name, value in vars(statistics).items() if isinstance(value, int | str)
        },
        "wait": [statistics.wait.percentile_ms(share) for share in (0.5, 0.95, 1)],
        "run": [statistics.run.percentile_ms(share) for share in (0.5, 0.95, 1)],
        "average": (statistics.wait.average_ms, statistics.run.average_ms),
    }


class TwoQueuesOnOneLog(RuleBasedStateMachine):
    """Two processes do as they like; a plain set of tokens says who may be running."""

    def __init__(self) -> None:
        super().__init__()
        self.host = self.make_host()
        self.log, *logs = self.make_logs()
        self.queues = [Queue("/nowhere", host=self.host, log=log) for log in (self.log, *logs)]
        self.queues[0].state.ready  # noqa: B018 - one keeps its indexes from the start
        self.running: dict[int, str] = {}
        for queue, worker in zip(self.queues, WORKERS, strict=True):
            queue.transact(lambda worker=worker: [Batch([v.WorkerStarted(worker=worker)])])

    def make_host(self) -> SteadyHost:
        return SteadyHost()

    def make_logs(self) -> list[Log]:
        """One log, as each of the two sees it."""
        return [MemoryLog(self.host)] * 2

    def attempt(self, who: int, name: str, *arguments: Any, **named: Any) -> Any:
        self.host.advance(0.5)
        try:
            return getattr(self.queues[who], name)(*arguments, **named)
        except QueuectlError:
            return []

    WHO = st.integers(0, 1)

    @rule(
        who=WHO,
        id=IDS,
        queue=QUEUES,
        priority=st.integers(-1, 1),
        delay=st.sampled_from([None, 3]),
        max_retries=st.integers(0, 3),
    )
    def enqueue(self, who: int, **fields: Any) -> None:
        self.attempt(who, "enqueue", "true", **fields)

    @rule(
        who=WHO,
        slots=st.integers(0, 3),
        ended=st.lists(st.sampled_from(ENDS), max_size=3),
        stale=st.booleans(),
        renew=st.booleans(),
    )
    def turn(self, who: int, slots: int, ended: list[str], stale: bool, renew: bool) -> None:
        commands: list[c.JobCommand] = []
        for (token, id), how in zip(list(self.running.items()), ended, strict=False):
            told: dict[str, Any] = {"job": id, "token": token, "now": self.queues[who].now()}
            if how == "finish":
                commands.append(c.Finish(**told, exit_code=0, run_ms=token * 7))
            elif how == "fail":
                commands.append(c.Finish(**told, reason="exit", error="oops", run_ms=3))
            elif how == "release":
                commands.append(c.Release(**told, reason="stopping"))
            else:
                commands.append(c.Expire(**told, reason="died"))
            del self.running[token]
            if stale:
                commands.append(c.Finish(job=id, token=token - 1, reason="exit"))
        events = self.attempt(
            who,
            "turn",
            commands,
            worker=WORKERS[who],
            slots=list(range(1, slots + 1)),
            renew=renew,
        )
        for event in events:
            if isinstance(event, v.JobClaimed):
                assert event.job not in self.running.values(), "two runners at a time"
                self.running[event.offset] = event.job

    @rule(who=WHO, id=IDS, verb=st.sampled_from(["cancel", "retry", "prune"]))
    def ask(self, who: int, id: str, verb: str) -> None:
        self.attempt(who, verb, id, reason="why not")

    @rule(who=WHO, queue=QUEUES, verb=st.sampled_from(["pause", "resume"]))
    def pause(self, who: int, queue: str, verb: str) -> None:
        self.attempt(who, verb, queue)

    @rule(
        who=WHO,
        change=st.sampled_from(
            [("max-retries", "2"), ("backoff", "linear"), ("delay-base", "1500"), ("lease", "9s")]
        ),
    )
    def set(self, who: int, change: tuple[str, str]) -> None:
        self.attempt(who, "set", *change)

    @rule(seconds=st.sampled_from([1, 5, 100, -50]))
    def time_passes(self, seconds: int) -> None:
        self.host.advance(seconds)

    @rule(who=WHO)
    def look(self, who: int) -> None:
        self.queues[who].catch_up()

    @invariant()
    def the_job_that_runs_is_held_and_no_other(self) -> None:
        rows = self.queues[0].state.jobs.rows
        held = {job.token: id for id, job in rows.items() if job.held}
        assert held == self.running

    @invariant()
    def counts_are_what_counting_gives(self) -> None:
        state = self.queues[0].state
        states = [job.state for job in state.jobs.rows.values()]
        assert state.counts == {name: states.count(name) for name in STATES}
        queues = Counter((job.queue, job.state) for job in state.jobs.rows.values())
        told = {
            (queue, name): count
            for queue, counts in state.queues.items()
            for name, count in counts.items()
            if count
        }
        assert told == queues
        assert all(
            job.state in (PROCESSING, CANCELLED) if job.held else job.state != PROCESSING
            for job in state.jobs.rows.values()
        )
        assert state.ready.waits(None, ()) == any(
            job.state in WAITING for job in state.jobs.rows.values()
        )

    def teardown(self) -> None:
        events = [event for piece in self.log.read() for event in piece]
        # Later than either has seen: an index is never asked about a time that was before.
        now = instants.later(max(queue.now() for queue in self.queues), 2000)
        whole, lazy, live = State(), State(), State()
        whole.apply(events)
        live.ready  # noqa: B018 - kept from the first event on
        for event in events:
            live.apply([event])
        for index in range(0, len(events), 7):
            lazy.apply(events[index : index + 7])
        expected = figures(whole, now)
        for state in (lazy, live, *(queue.state for queue in self.queues)):
            assert figures(state, now) == expected
            due = state.ready.due(instants.LATEST, 100, None, ())
            waiting = [id for id, job in state.jobs.rows.items() if job.state in WAITING]
            assert sorted(job.id for job in due) == sorted(waiting)


# Shrinking many steps takes minutes, and what failed is told in full without it.
TwoQueuesOnOneLog.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, phases=[Phase.generate]
)
TestTwoQueuesOnOneLog = TwoQueuesOnOneLog.TestCase
