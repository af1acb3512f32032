"""What happened lately: minute by minute, and no more than is wanted."""

from __future__ import annotations

from queuectl import instants
from queuectl.events import vocabulary as v
from queuectl.projections.recent import EVENTS, MINUTES, Recent

START_US = instants.to_us("2026-11-22T02:31:00.000000Z")


def at(second: int) -> str:
    return instants.from_us(START_US + second * 1_000_000)


def completed(offset: int, second: int, wait_ms: int = 0) -> v.JobCompleted:
    return v.JobCompleted(offset=offset, at=at(second), wait_ms=wait_ms, run_ms=7)


def test_what_ended_is_told_by_the_minute_in_which_it_did() -> None:
    recent = Recent()
    recent.apply([v.JobEnqueued(offset=1, at=at(0)), completed(2, 59, wait_ms=40)])
    recent.apply([v.JobFailed(offset=3, at=at(60), run_ms=9), v.LeaseExpired(offset=4, at=at(61))])
    first, second, third = recent.points(at(130), 3)
    assert (first.at, first.enqueued, first.completed, first.failed) == (at(0), 1, 1, 0)
    assert (first.wait_p95_ms, first.run_p95_ms) == (40, 7)
    assert (second.completed, second.failed, second.run_p95_ms) == (0, 2, 9)
    assert third == (at(120), 0, 0, 0, None, None)
    assert recent.offset == 4


def test_what_was_long_ago_is_forgotten() -> None:
    recent = Recent()
    for n in range(3 * MINUTES):
        recent.apply([completed(n + 1, 60 * n)])
    assert len(recent._minutes) == MINUTES
    assert sum(point.completed for point in recent.points(at(60 * 3 * MINUTES - 1))) == MINUTES
    recent.apply([completed(1000 + n, 60 * 3 * MINUTES) for n in range(2 * EVENTS)])
    assert len(recent.events) == EVENTS


def test_what_is_heard_again_is_not_counted_again() -> None:
    recent = Recent()
    events = [completed(n, 1) for n in range(1, 5)]
    recent.hear(events[:3])
    recent.hear(events)
    recent.hear(events)
    assert recent.points(at(1), 1)[0].completed == 4
