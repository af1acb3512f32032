"""Runs as flat rows: one for each claim, told when it ends, with what its job was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from hosts import SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.projections import runs
from queuectl.projections.runs import Run, Runs

WORKER = "w1"


@pytest.fixture
def host() -> SteadyHost:
    return SteadyHost()


@pytest.fixture
def queue(host: SteadyHost) -> Iterator[Queue]:
    with tempfile.TemporaryDirectory() as place, Queue(place, host=host) as queue:
        queue.set("backoff-base", "0")
        started = v.WorkerStarted(worker=WORKER, host="lovelace", pid=1, slots=4)
        queue.transact(lambda: [Batch([started])])
        yield queue


def claim(queue: Queue) -> v.JobClaimed:
    (claimed,) = queue.turn([], worker=WORKER, slots=[3])
    assert isinstance(claimed, v.JobClaimed)
    return claimed


def finish(queue: Queue, claimed: v.JobClaimed, exit_code: int = 0, **more: object) -> None:
    reason = "exit" if exit_code else ""
    error = "no such file" if exit_code else ""
    queue.submit(
        [
            c.Finish(
                job=claimed.job,
                now=queue.now(),
                token=claimed.offset,
                exit_code=exit_code,
                reason=reason,
                error=error,
                run_ms=1200,
                cpu_ms=30,
                stdout_bytes=5,
                stderr_bytes=6,
                **more,  # type: ignore[arg-type]
            )
        ]
    )


def told(queue: Queue) -> list[Run]:
    return [run for piece in queue.all_runs() for run in piece]


def test_a_run_has_what_its_job_was_and_what_became_of_it(queue: Queue, host: SteadyHost) -> None:
    job = queue.enqueue("make report", id="a", tags=["x", "y"], priority=7, queue="mail")
    enqueued_at = queue.now()
    host.advance(2.5)
    claimed = claim(queue)
    host.advance(1.2)
    finish(queue, claimed)
    assert told(queue) == [
        Run(
            job="a",
            queue="mail",
            command="make report",
            tags=["x", "y"],
            priority=7,
            round=1,
            attempt=1,
            token=claimed.offset,
            worker=WORKER,
            host="lovelace",
            slot=3,
            enqueued=job.spec.offset,
            enqueued_at=enqueued_at,
            runnable_at=enqueued_at,
            claimed_at=claimed.at,
            ended_at=queue.now(),
            outcome="completed",
            exit_code=0,
            wait_ms=2500,
            run_ms=1200,
            cpu_ms=30,
            stdout_bytes=5,
            stderr_bytes=6,
            escaped=0,
        )
    ]


def test_each_end_has_its_outcome_and_its_reason(queue: Queue) -> None:
    queue.enqueue("false", id="a", max_retries=3)
    finish(queue, claim(queue), exit_code=3)
    released = claim(queue)
    queue.submit([c.Release(job="a", token=released.offset, reason="the worker stops")])
    lost = claim(queue)
    queue.submit([c.Expire(job="a", token=lost.offset, reason="the worker died")])
    called_off = claim(queue)
    queue.cancel("a", reason="not needed")
    queue.submit([c.Release(job="a", token=called_off.offset, reason="cancelled")])
    queue.enqueue("true", id="b")
    claim(queue)
    assert [
        (run.attempt, run.outcome, run.reason, run.error, run.run_ms) for run in told(queue)
    ] == [
        (1, "failed", "exit", "no such file", 1200),
        (2, "released", "the worker stops", None, None),
        (2, "lost", "the worker died", None, None),
        (3, "cancelled", "not needed", None, None),
        (1, "running", None, None, None),
    ]


def test_runs_come_in_the_order_of_their_ends_and_what_runs_comes_last(queue: Queue) -> None:
    queue.enqueue_many([{"id": id, "command": "true"} for id in "abc"])
    first, second, _third = (claim(queue) for _ in range(3))
    finish(queue, second)
    finish(queue, first)
    assert [run.job for run in told(queue)] == ["b", "a", "c"]


def test_a_job_that_was_over_and_goes_on_is_still_known(queue: Queue) -> None:
    queue.enqueue("false", id="a", max_retries=1, tags=["x"])
    finish(queue, claim(queue), exit_code=1)
    queue.retry("a")
    finish(queue, claim(queue), exit_code=1)
    queue.retry("a")
    finish(queue, claim(queue))
    rows = [(run.round, run.attempt, run.command, run.tags) for run in told(queue)]
    assert rows == [(1, 1, "false", ["x"]), (2, 1, "false", ["x"]), (3, 1, "false", ["x"])]


def test_a_name_that_was_used_twice_is_two_jobs(queue: Queue) -> None:
    for command in ("false", "true"):
        queue.enqueue(command, id="a", max_retries=1)
        finish(queue, claim(queue), exit_code=1)
        queue.retry("a")
        finish(queue, claim(queue))
        queue.prune("a")
    rows = [(run.command, run.round, run.outcome) for run in told(queue)]
    assert rows == [
        ("false", 1, "failed"),
        ("false", 2, "completed"),
        ("true", 1, "failed"),
        ("true", 2, "completed"),
    ]


def test_of_a_job_whose_beginning_is_gone_is_told_what_is_left() -> None:
    place = {"job": "a", "queue": "default", "attempt": 2, "worker": WORKER, "token": 9}
    left = [
        v.JobCompleted(
            offset=10, at="2026-01-01T00:00:02.000000Z", exit_code=0, wait_ms=4, **place
        ),
        v.JobClaimed(offset=11, at="2026-01-01T00:00:03.000000Z", job="b", queue="q", attempt=1),
    ]
    ((ended,), (running,)) = runs.of([left])
    assert (ended.command, ended.claimed_at, ended.token, ended.wait_ms) == (None, None, 9, 4)
    assert (ended.ended_at, ended.outcome) == ("2026-01-01T00:00:02.000000Z", "completed")
    assert (running.command, running.wait_ms, running.outcome) == (None, None, "running")


def test_who_is_dead_is_kept_and_who_is_completed_is_looked_up(queue: Queue) -> None:
    queue.enqueue_many([{"id": id, "command": id, "max_retries": 1} for id in ("ill", "well")])
    for exit_code in (1, 0):
        finish(queue, claim(queue), exit_code=exit_code)
    queue.retry("ill", "well")
    for _ in range(2):
        finish(queue, claim(queue))
    asked = []
    events = [event for events in queue.events() for event in events]
    ((*rows,),) = runs.of([events], lambda job, offset: asked.append(job))
    assert asked == ["well"]
    assert [(run.job, run.round, run.command) for run in rows[2:]] == [
        ("ill", 2, "ill"),
        ("well", 2, None),
    ]


def test_only_so_many_of_the_dead_are_kept(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_RESTING_MAX", 2)
    queue.enqueue_many([{"id": id, "command": id, "max_retries": 1} for id in "abcd"])
    for _ in "abcd":
        finish(queue, claim(queue), exit_code=1)
    queue.prune("d")
    fold = Runs()
    for events in queue.events():
        for event in events:
            fold.apply(event)
    assert list(fold._resting) == ["c"]
    queue.retry("a")
    finish(queue, claim(queue))
    assert [run.command for run in told(queue)] == ["a", "b", "c", "d", "a"]


def test_nothing_is_kept_of_what_is_completed(queue: Queue) -> None:
    queue.enqueue_many([{"id": f"job{n}", "command": "true", "max_retries": 1} for n in range(51)])
    for _ in range(50):
        finish(queue, claim(queue))
    fold = Runs()
    ended = [fold.apply(event) for events in queue.events() for event in events]
    assert len([run for run in ended if run]) == 50
    kept = (fold._open, fold._rounds, fold._resting)
    assert (list(fold._jobs), *kept) == (["job50"], {}, {}, {})
