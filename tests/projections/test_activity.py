"""What a queue did over time: the same as counted run by run."""

from __future__ import annotations

import itertools

import pytest
from histories import Played, busy
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants
from queuectl.events import vocabulary as v
from queuectl.projections import runs
from queuectl.projections.activity import Activity
from queuectl.projections.reports import REPORTS, Report
from queuectl.projections.slices import Slices

HISTORIES = [busy(seed) for seed in range(6)]


def active(played: Played, since_s: float, until_s: float, width_s: float = 0) -> Activity:
    since, until = (
        instants.from_us(played.start_us + round(at_s * 1e6)) for at_s in (since_s, until_s)
    )
    activity = Activity(Slices(since, until, round(width_s * 1000)), played.queue.find_spec)
    for events in played.log.read():
        for event in events:
            activity.apply(event)
    activity.finish()
    return activity


def all_runs(played: Played) -> list[runs.Run]:
    return list(itertools.chain.from_iterable(played.queue.all_runs()))


@given(
    st.sampled_from(HISTORIES),
    st.floats(0, 200),
    st.floats(0.5, 400),
    st.sampled_from([0.0, 1.0, 7.0, 60.0]),
)
def test_slices_add_up(played: Played, since_s: float, span_s: float, width_s: float) -> None:
    activity = active(played, since_s, since_s + span_s, width_s)
    since_us, until_us = activity.slices.since_us, activity.slices.until_us
    inside = range(since_us, until_us + 1)
    begun = ended = failed = busy_us = 0
    spans = []
    for run in all_runs(played):
        assert run.claimed_at is not None
        began_us = instants.to_us(run.claimed_at)
        ended_us = instants.to_us(run.ended_at) if run.ended_at else until_us
        spans.append((began_us, ended_us if run.ended_at else until_us + 1))
        begun += began_us in inside
        busy_us += max(0, min(ended_us, until_us) - max(began_us, since_us))
        if run.outcome in (runs.COMPLETED, runs.FAILED, runs.LOST) and ended_us in inside:
            ended += 1
            failed += run.outcome != runs.COMPLETED
    assert sum(activity.begun) == begun
    assert sum(activity.busy_us) == busy_us
    kinds = activity.kinds.values()
    assert sum(kind.ended.total() for kind in kinds) == ended
    assert sum(kind.failed.total() for kind in kinds) == failed
    waited = sum(sum(histogram.figures()[1]) for histogram in activity.wait)
    assert waited == begun, "how long each had waited is known"
    for n, peak in enumerate(activity.peak):
        start_us = instants.to_us(activity.slices.starts[n])
        end_us = min(until_us + 1, start_us + activity.slices.width_ms * 1000)
        begin_us = max(since_us, start_us)
        moments = [begin_us, *(began for began, _ in spans if begin_us <= began < end_us)]
        # One that ends in the moment in which the next begins leaves its slot to it.
        assert peak == max(sum(began <= at < end for began, end in spans) for at in moments)


def test_slots_are_offered_while_their_workers_are_there() -> None:
    played = Played(1)
    played.host.advance(5)
    played.worker("w1", 3)
    played.until(15)
    played.worker("w2", 1)
    played.until(25)
    played.stop("w1")
    played.until(40)
    activity = active(played, 0, 40, 10)
    offered_s = [us / 1e6 for us in activity.offered_us]
    assert offered_s == [15.0, 35.0, 25.0, 10.0, 0.0]


def report(played: Played, name: str, width_s: float = 0) -> Report:
    return REPORTS[name](active(played, 0, played.at_s, width_s))


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_tells_of_every_slice(name: str) -> None:
    found = report(HISTORIES[0], name)
    assert found.name == name
    assert found.series and found.rows
    for series in found.series:
        assert len(series.values) == len(found.times)
    if "at" in found.rows[0]:
        assert [row["at"] for row in found.rows] == found.times
    assert len({tuple(row) for row in found.rows}) == 1


def test_a_storm_is_when_most_runs_are_retries() -> None:
    class Failing(Played):
        def took_us(self) -> int:
            return 1_000

        def how(self, claim: v.JobClaimed):  # type: ignore[no-untyped-def]
            from histories import ending

            return ending(claim, fails=claim.attempt == 1)

    played = Failing(1, settings={"backoff": "fixed", "backoff-base": "60"})
    played.worker("w1", 50)
    played.queue.enqueue_many([{"command": "true"}] * 12)
    played.until(30)
    played.queue.enqueue_many([{"command": "true"}] * 3)
    played.until(119)
    storms = report(played, "retries", 60).rows
    assert [(row["runs"], row["retries"], row["storm"]) for row in storms] == [
        (15, 0, False),
        (15, 15, True),
    ]
    (failing,) = report(played, "failures", 60).rows
    assert (failing["command"], failing["runs"], failing["failed"]) == ("true", 30, 15)
    assert failing["failure_rate"] == 0.5
    assert failing["worst_failed"] == 15
