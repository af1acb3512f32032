"""Jobs come in the order they were enqueued, whatever was brought into memory before, and when."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_snapshot import IDS, Site, history

from queuectl import Queue
from queuectl.domain.evolve import evolve
from queuectl.domain.job import STATES, Job
from queuectl.engines.memory import MemoryLog
from queuectl.events import vocabulary as v
from queuectl.projections import snapshot
from queuectl.projections.state import State


def sorted_anew(events: Sequence[v.Event]) -> list[Job]:
    """All jobs there are after these events, as simply as that can be said."""
    jobs: dict[str, Job] = {}
    for event in events:
        if isinstance(event, v.JobEvent):
            job = evolve(jobs.pop(event.job, None), event)
            if job is not None:
                jobs[event.job] = job
    return sorted(jobs.values(), key=lambda job: job.spec.offset)


def check_a_page(state: State, expected: Sequence[Job], data: st.DataObject) -> None:
    """Compare one page with what it has to be."""
    states = data.draw(st.sets(st.sampled_from(STATES), max_size=2), label="in states")
    reverse = data.draw(st.booleans(), label="newest first")
    beyond = data.draw(st.none() | st.integers(0, state.offset + 1), label="beyond")
    wanted = [
        job.id
        for job in (reversed(expected) if reverse else expected)
        if (not states or job.state in states)
        and (beyond is None or (job.spec.offset < beyond if reverse else job.spec.offset > beyond))
    ]
    found = state.jobs.select(states, reverse=reverse, beyond=beyond)
    assert [job.id for job in found] == wanted


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_every_page_is_in_order_whatever_was_asked_before(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = history(seed)
    site = Site(tmp_path_factory.mktemp("snapshots"), events)
    state = site.load()
    for _ in range(data.draw(st.integers(5, 25), label="steps")):
        match data.draw(st.sampled_from(["on", "get", "page", "page", "stock", "keep", "leave"])):
            case "on":
                site.go_on(state, state.offset + data.draw(st.integers(1, 40)))
            case "get":
                state.jobs.get(data.draw(st.sampled_from(IDS)))
            case "page":
                check_a_page(state, sorted_anew(events[: state.offset]), data)
            case "stock":
                assert sum(state.counts.values()) == len(sorted_anew(events[: state.offset]))
            case "keep" if state.offset:
                other = site.load()
                site.go_on(other, max(other.offset, state.offset))
                site.keep(other)
                other.close()
                if data.draw(st.booleans(), label="begin with it"):
                    state.close()
                    state = site.load()
            case "leave":
                newer = snapshot.load(site.home, site.host)
                if newer is not None and state.since < newer.offset <= state.offset:
                    state.evict(newer)
                elif newer is not None:
                    newer.close()
    site.go_on(state, len(events))
    check_a_page(state, sorted_anew(events), data)
    state.close()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_they_are_in_order_where_the_end_of_one_was_lost_and_its_id_used_again(
    seed: int, data: st.DataObject
) -> None:
    events = history(seed)
    lost = data.draw(st.sets(st.integers(1, len(events)), max_size=30), label="lost")
    left = [event for event in events if event.offset not in lost]
    left = [event for event in left if not isinstance(event, v.JobPruned)] or left
    state = State()
    for start in range(0, len(left), 17):
        state.apply(left[start : start + 17])
        check_a_page(state, sorted_anew(left[: start + 17]), data)
        assert sum(state.counts.values()) == len(sorted_anew(left[: start + 17]))


def test_a_state_that_there_is_not_has_no_jobs() -> None:
    with Queue("/nowhere", log=MemoryLog()) as queue:
        queue.enqueue("true", id="a")
        assert list(queue.jobs(states=["bogus"])) == []
        assert [job.id for job in queue.jobs(states=["bogus", "pending"])] == ["a"]
