"""What is said to need attention, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hosts import SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.memory import MemoryLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.projections.attention import DEAD_JOBS, GONE, PAUSED, SILENT, UNSERVED, concerns


class Watched:
    """A queue in memory, and the workers that are said to live."""

    def __init__(self) -> None:
        self.host = SteadyHost()
        self.queue = Queue("/nowhere", host=self.host, log=MemoryLog(self.host))
        self.alive = {"w"}

    def start(self, worker: str = "w", queues: list[str] | None = None) -> None:
        fact = v.WorkerStarted(worker=worker, slots=2, queues=queues)
        self.queue.transact(lambda: [Batch([fact])])

    def claim(self) -> v.JobClaimed:
        (claim,) = self.queue.turn([], worker="w", slots=[1])
        assert isinstance(claim, v.JobClaimed)
        return claim

    def die(self, claim: v.JobClaimed) -> None:
        end = c.Finish(
            job=claim.job,
            now=self.queue.now(),
            token=claim.offset,
            exit_code=1,
            reason="exit",
            error="exit code 1",
        )
        self.queue.turn([end], worker="w", slots=[])

    def told(self) -> list[tuple[str, str, int]]:
        found = concerns(self.queue.state, self.queue.now(), self.alive.__contains__)
        return [(one.kind, one.name, one.jobs) for one in found]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_needs_attention_while_a_worker_takes_what_there_is(watched: Watched) -> None:
    assert watched.told() == []
    watched.start()
    watched.queue.enqueue("true")
    watched.claim()
    assert watched.told() == []


def test_jobs_that_no_worker_takes(watched: Watched) -> None:
    watched.start(queues=["mail"])
    watched.queue.enqueue_many(
        [{"command": "true", "queue": queue} for queue in ("a", "a", "mail")]
    )
    assert watched.told() == [(UNSERVED, "a", 2)]
    watched.start("other")
    assert (UNSERVED, "a", 2) in watched.told(), "it is said to be dead"
    watched.alive.add("other")
    assert watched.told() == []


def test_a_job_whose_time_has_not_come_needs_no_worker(watched: Watched) -> None:
    watched.queue.enqueue("true", delay="1h")
    assert watched.told() == []


@pytest.mark.parametrize(("lives", "kind"), [(True, SILENT), (False, GONE)])
def test_a_worker_that_is_not_heard_of(watched: Watched, lives: bool, kind: str) -> None:
    watched.start()
    watched.queue.enqueue("sleep 600")
    watched.claim()
    watched.alive = {"w"} if lives else set()
    watched.host.us += 61_000_000
    assert (kind, "w", 1) in watched.told()


def test_dead_jobs_come_before_paused_queues_and_only_those_in_which_jobs_wait(
    watched: Watched,
) -> None:
    watched.start()
    watched.queue.enqueue("false", max_retries=1)
    watched.die(watched.claim())
    watched.queue.pause("empty")
    watched.queue.pause("full")
    waiting: dict[str, Any] = {"queue": "full"}
    watched.queue.enqueue("true", **waiting)
    assert watched.told() == [(DEAD_JOBS, "", 1), (PAUSED, "full", 1)]
