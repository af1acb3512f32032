"""Which job is claimed next, and that the index never offers one that is not there to take."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants
from queuectl.domain.job import Job
from queuectl.events.vocabulary import JobEnqueued
from queuectl.projections.ready import ReadyIndex

T0 = instants.to_us("2026-01-01T00:00:00.000000Z")


def second(number: int) -> str:
    return instants.from_us(T0 + number * 1_000_000)


_orders = count(1)


def job(id: str, *, priority: int = 0, at: int = 0, queue: str = "default") -> Job:
    spec = JobEnqueued(offset=next(_orders), job=id, priority=priority, queue=queue)
    return Job(spec, spec.offset, second(at), second(at))


def index(*jobs: Job) -> ReadyIndex:
    ready = ReadyIndex()
    for waiting in jobs:
        ready.add(waiting)
    return ready


def due(
    ready: ReadyIndex,
    now: int = 100,
    limit: int = 100,
    queues: set[str] | None = None,
    paused: tuple[str, ...] = (),
) -> list[str]:
    return [found.id for found in ready.due(second(now), limit, queues, paused)]


@pytest.mark.parametrize("live", [False, True], ids=["made lazily", "kept live"])
def test_priority_then_the_time_it_could_run_then_the_order_of_enqueueing(live: bool) -> None:
    ready = ReadyIndex()
    if live:
        due(ready)
    for waiting in (
        job("late", at=9),
        job("first", at=5),
        job("second", at=5),
        job("early", at=1),
        job("urgent", at=10, priority=1),
        job("unimportant", at=0, priority=-1),
        job("most urgent", at=50, priority=1 << 53),
    ):
        ready.add(waiting)
    order = ["most urgent", "urgent", "early", "first", "second", "late", "unimportant"]
    assert due(ready) == order
    assert due(ready, limit=2) == order[:2]
    assert due(ready) == order, "looking takes nothing away"


def test_a_scheduled_job_is_due_at_its_time_and_not_before() -> None:
    ready = index(job("now", at=0), job("later", at=10, priority=9), job("last", at=20))
    assert due(ready, now=9) == ["now"]
    assert ready.next_at(second(9)) == second(10)
    assert due(ready, now=10) == ["later", "now"]
    assert ready.next_at(second(10)) == second(20)
    assert due(ready, now=20) == ["later", "now", "last"]
    assert ready.next_at(second(20)) is None


def test_next_at_passes_over_jobs_that_are_gone() -> None:
    ready = index(job("a", at=10), job("b", at=20))
    assert ready.next_at(second(0)) == second(10)
    ready.remove("a")
    assert ready.next_at(second(0)) == second(20)
    ready.remove("b")
    assert ready.next_at(second(0)) is None


def test_served_and_paused_queues() -> None:
    ready = index(job("a", queue="a"), job("b", queue="b", priority=1), job("c", queue="c"))
    assert due(ready) == ["b", "a", "c"]
    assert due(ready, queues={"a", "c"}) == ["a", "c"]
    assert due(ready, queues={"nowhere"}) == []
    assert due(ready, paused=("b",)) == ["a", "c"]
    assert due(ready, queues={"a", "b"}, paused=("b",)) == ["a"]
    assert due(ready) == ["b", "a", "c"]


def test_limit_zero_offers_nothing() -> None:
    assert due(index(job("a")), limit=0) == []


def test_a_job_handed_back_as_it_was_is_offered_once() -> None:
    # Its old place is still in the heap, as good as its new one. Offered twice it would be
    # claimed twice, and run twice at the same time.
    waiting = job("a")
    ready = index(waiting)
    assert due(ready) == ["a"]
    for _ in range(3):
        ready.remove("a")
        ready.add(waiting)
    assert due(ready) == ["a"]
    assert due(ready) == ["a"]


def test_a_job_with_a_new_time_is_not_offered_at_its_old_one() -> None:
    waiting = job("a", at=0)
    ready = index(waiting)
    assert due(ready) == ["a"]
    ready.remove("a")
    waiting.runnable_at = second(50)
    ready.add(waiting)
    assert due(ready, now=49) == []
    assert due(ready, now=50) == ["a"]


@given(
    jobs=st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5), st.sampled_from("abc"))),
    gone=st.sets(st.integers(0, 30)),
    back=st.sets(st.integers(0, 30)),
    live_from=st.integers(0, 30),
    now=st.integers(0, 6),
    limit=st.integers(0, 12),
    paused=st.sets(st.sampled_from("abc")),
)
def test_the_index_agrees_with_sorting(
    jobs: list[tuple[int, int, str]],
    gone: set[int],
    back: set[int],
    live_from: int,
    now: int,
    limit: int,
    paused: set[str],
) -> None:
    ready, waiting = ReadyIndex(), {}
    for number, (priority, at, queue) in enumerate(jobs):
        if number == live_from:
            due(ready, now)
        waiting[number] = job(str(number), priority=priority, at=at, queue=queue)
        ready.add(waiting[number])
    for number in gone & waiting.keys():
        ready.remove(str(number))
        if number in back:
            ready.add(waiting[number])
        else:
            del waiting[number]
    expected = sorted(
        (each for each in waiting.values() if each.queue not in paused),
        key=lambda each: (-each.spec.priority, each.runnable_at, each.spec.offset),
    )
    names = [each.id for each in expected if each.runnable_at <= second(now)]
    assert due(ready, now, limit, paused=tuple(paused)) == names[:limit]
