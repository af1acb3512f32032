"""The queue beside a plain model of it: whatever is asked, in whatever order, both say the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from hosts import SteadyHost
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from places import directory_in_memory
from plain import No, PlainQueue
from tallies import SEED, Tally

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.engines.file.verify import verify
from queuectl.engines.memory import MemoryLog
from queuectl.errors import NotFound, Rejected
from queuectl.events import vocabulary as v

IDS = st.sampled_from(["a", "b", "c", "d"])
QUEUES = st.sampled_from(["default", "other"])
DELAYS_MS = st.sampled_from([[0], [1000], [1000, 5000], [0, 3000, 60_000]])
WORKERS = st.sampled_from(["w1", "w2"])
FIRST, SECOND = 0, 1
HANDLES = st.sampled_from([FIRST, SECOND])


class Machine(RuleBasedStateMachine):
    """Two handles on one queue, and the model."""

    engine = "file"
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.host = SteadyHost()
        self.plain = PlainQueue()
        self.tokens: list[tuple[str, int]] = []
        """(job, token) of every claim ever made."""
        self.place = directory_in_memory()
        shared = MemoryLog(self.host)
        self.open: Callable[[], Queue] = lambda: Queue(
            self.place / "data",
            host=self.host,
            log=shared if self.engine == "memory" else self.file_log(),
        )
        Queue(self.place / "data", host=self.host).close()
        self.handles = [self.open(), self.open()]

    def file_log(self) -> FileLog:
        return FileLog(str(self.place / "data" / "log"), self.host, segment_bytes_max=2000)

    def teardown(self) -> None:
        type(self).steps += 1
        try:
            anew = self.open()
            self.compare(anew)
            for queue in self.handles:
                self.compare(queue)
                assert queue.known.jobs.rows == anew.known.jobs.rows
                assert queue.known.counts == anew.known.counts
                assert queue.known.settings == anew.known.settings
            if isinstance(anew.log, FileLog):
                assert verify(anew.log).events == anew.log.head()
            anew.close()
        finally:
            for queue in self.handles:
                queue.close()
            shutil.rmtree(self.place)

    # ---- what is asked

    def ask(self, real: Callable[[], object], plain: Callable[[], object]) -> None:
        """Both do it, or both refuse."""
        try:
            plain()
            refused = False
        except No:
            refused = True
        try:
            real()
            assert not refused, "the model refuses this"
        except (Rejected, NotFound):
            assert refused, "the model allows this"

    @rule(
        handle=HANDLES,
        id=IDS,
        queue=QUEUES,
        priority=st.integers(-1, 2),
        delay_ms=st.sampled_from([0, 0, 1000, 5000]),
        max_retries=st.sampled_from([None, 0, 1, 2]),
        delays_ms=DELAYS_MS,
    )
    def enqueue(self, handle: int, **fields: Any) -> None:
        given = {
            "id": fields["id"],
            "command": "true",
            "queue": fields["queue"],
            "priority": fields["priority"],
            "delay": f"{fields['delay_ms']}ms",
            "backoff": ",".join(f"{ms}ms" for ms in fields["delays_ms"]),
        }
        if fields["max_retries"] is not None:
            given["max_retries"] = fields["max_retries"]
        self.ask(
            lambda: self.handles[handle].enqueue(**given),
            lambda: self.plain.enqueue(self.host.us, **fields),
        )

    @rule(
        handle=HANDLES,
        worker=WORKERS,
        slots=st.integers(0, 3),
        queues=st.sampled_from([None, None, {"other"}]),
        ends=st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=3),
        renew=st.booleans(),
    )
    def turn(
        self,
        handle: int,
        worker: str,
        slots: int,
        queues: set[str] | None,
        ends: list[tuple[int, bool]],
        renew: bool,
    ) -> None:
        """Ends of some runs, stale ones too, and new claims, in one append."""
        queue = self.handles[handle]
        queue.catch_up()
        now = queue.now()
        ended = {self.tokens[n % len(self.tokens)]: well for n, well in ends if self.tokens}
        expected = [job.id for job in self.plain.next(self.host.us, slots, queues)]
        events = queue.turn(
            [
                c.Finish(job=id, token=token, now=now, reason="" if well else "exit")
                for (id, token), well in ended.items()
            ],
            worker=worker,
            slots=range(1, slots + 1),
            queues=queues,
            renew=renew,
        )
        for (id, token), well in ended.items():
            self.plain.finish(self.host.us, id, token, well)
        claims = [event for event in events if isinstance(event, v.JobClaimed)]
        assert [claim.job for claim in claims] == expected
        for claim in claims:
            self.plain.claim(self.plain.jobs[claim.job], claim.offset)
            self.tokens.append((claim.job, claim.offset))

    @rule(handle=HANDLES, n=st.integers(0, 200), expire=st.booleans())
    def lose_the_lease(self, handle: int, n: int, expire: bool) -> None:
        if not self.tokens:
            return
        id, token = self.tokens[n % len(self.tokens)]
        queue = self.handles[handle]
        queue.catch_up()
        kind = c.Expire if expire else c.Release
        command = kind(job=id, token=token, now=queue.now(), reason="gone")
        if id in self.plain.jobs:
            queue.submit([command])
            (self.plain.expire if expire else self.plain.release)(id, token)

    @rule(handle=HANDLES, ids=st.lists(IDS, min_size=1, max_size=3))
    def cancel(self, handle: int, ids: list[str]) -> None:
        self.ask(lambda: self.handles[handle].cancel(*ids), lambda: self.plain.cancel(ids))

    @rule(handle=HANDLES, ids=st.lists(IDS, min_size=1, max_size=3))
    def retry(self, handle: int, ids: list[str]) -> None:
        self.ask(
            lambda: self.handles[handle].retry(*ids), lambda: self.plain.retry(self.host.us, ids)
        )

    @rule(handle=HANDLES, ids=st.lists(IDS, min_size=1, max_size=3))
    def prune(self, handle: int, ids: list[str]) -> None:
        self.ask(lambda: self.handles[handle].prune(*ids), lambda: self.plain.prune(ids))

    @rule(handle=HANDLES, queue=QUEUES)
    def pause(self, handle: int, queue: str) -> None:
        self.handles[handle].pause(queue)
        self.plain.paused.add(queue)

    @rule(handle=HANDLES, queue=QUEUES)
    def resume(self, handle: int, queue: str) -> None:
        self.handles[handle].resume(queue)
        self.plain.paused.discard(queue)

    @rule(handle=HANDLES, number=st.integers(0, 4))
    def set_max_retries(self, handle: int, number: int) -> None:
        self.handles[handle].set("max-retries", str(number))
        self.plain.max_retries = number

    @rule(ms=st.sampled_from([1, 999, 1000, 5000, 60_000]))
    def wait(self, ms: int) -> None:
        self.host.advance(ms / 1000)

    @rule(handle=HANDLES)
    def reopen(self, handle: int) -> None:
        self.handles[handle].close()
        self.handles[handle] = self.open()

    # ---- what has become of it

    @initialize()
    def begin(self) -> None:
        self.both_say_the_same()

    @invariant()
    def both_say_the_same(self) -> None:
        self.compare(self.handles[FIRST])

    def compare(self, queue: Queue) -> None:
        rows = queue.state.jobs.rows
        assert list(rows) == list(self.plain.jobs)
        for id, job in self.plain.jobs.items():
            row = rows[id]
            assert (row.state, row.attempts, row.held) == (job.state, job.attempts, job.held)
            if job.held:
                assert row.token == job.token
            if row.state in ("pending", "failed"):
                assert row.runnable_at == instants.from_us(job.runnable_us)
        states = [job.state for job in self.plain.jobs.values()]
        assert queue.known.counts == {state: states.count(state) for state in queue.known.counts}
        due = queue.known.ready.due(queue.now(), 9, None, queue.known.paused)
        assert [job.id for job in due] == [job.id for job in self.plain.next(self.host.us, 9, None)]


def play(engine: str, examples: int, steps: int, tally: Tally) -> None:
    kind = type("Played", (Machine,), {"engine": engine, "steps": 0})
    health = list(HealthCheck)
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=health,
        deadline=None,
        database=None,
        derandomize=False,
    )
    run_state_machine_as_test(seed(SEED)(kind), settings=how)
    tally(f"examples of up to {steps} steps", kind.steps)


@pytest.mark.parametrize("engine", ["memory", "file"])
def test_a_little(engine: str, tally: Tally) -> None:
    play(engine, 30, 30, tally)


@pytest.mark.torture
@pytest.mark.parametrize("engine", ["memory", "file"])
def test_at_length(engine: str, tally: Tally) -> None:
    play(engine, 2000, 50, tally)
