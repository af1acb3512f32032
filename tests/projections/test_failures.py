"""Failures by kind: what is counted, and how a trend is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants
from queuectl.domain.job import DEAD, Job
from queuectl.events.vocabulary import JobEnqueued
from queuectl.projections.failures import Group, direction, grouped, of_jobs
from queuectl.projections.runs import COMPLETED, FAILED, LOST, OUTCOMES, RELEASED, RUNNING, Run

START_US = instants.to_us("2026-11-22T02:31:00.000000Z")


def at(second: int) -> str:
    return instants.from_us(START_US + second * 1_000_000)


def run(second: int, outcome: str = FAILED, **fields: Any) -> Run:
    return Run(
        **{
            "job": "job1",
            "queue": "default",
            "command": "cat /a/1",
            "attempt": 1,
            "token": second + 1,
            "worker": "w",
            "ended_at": None if outcome == RUNNING else at(second),
            "outcome": outcome,
            "exit_code": 1,
            "error": "row 7",
            **fields,
        }
    )


def test_the_same_in_other_words_is_one_group() -> None:
    (group,) = grouped(
        [[run(1), run(2, job="job2", command="cat /b/22", error="row 8")], [run(3, job="job2")]]
    )
    assert (group.count, dict(group.jobs), group.last_job) == (3, {"job1": 1, "job2": 2}, "job2")
    assert (group.first_at, group.last_at) == (at(1), at(3))


def test_jobs_are_grouped_by_their_last_failure_whatever_their_order() -> None:
    def dead(id: str, second: int, error: str) -> Job:
        spec = JobEnqueued(job=id, command="cat /a/1")
        return Job(spec, 1, at(second), at(0), state=DEAD, exit_code=1, error=error)

    first, second = of_jobs([dead("c", 9, "row 7"), dead("b", 3, "no"), dead("a", 5, "row 8")])
    assert (dict(first.jobs), first.last_job, first.first_at) == ({"a": 1, "c": 1}, "c", at(5))
    assert dict(second.jobs) == {"b": 1}


def test_what_is_another_failure_is_another_group_and_the_largest_come_first() -> None:
    groups = grouped(
        [
            [
                run(1),
                run(2, exit_code=2),
                run(3, command="dd"),
                run(4, error="no"),
                run(5, error="no"),
            ]
        ]
    )
    assert [group.count for group in groups] == [2, 1, 1, 1]
    assert groups[0].fingerprint.error == "no"


def test_only_what_failed_or_was_lost_is_a_failure() -> None:
    pieces = [[run(1, outcome, reason="the worker died") for outcome in OUTCOMES]]
    found = {group.fingerprint.error: group.count for group in grouped(pieces)}
    assert found == {"row <n>": 1, "the worker died": 1}
    assert not grouped([[run(1, outcome) for outcome in (RUNNING, COMPLETED, RELEASED)]])


def test_since_is_about_the_end_of_a_run() -> None:
    pieces = [[run(1), run(2), run(3, LOST, reason="gone", error=None)]]
    assert [group.count for group in grouped(pieces, at(2))] == [1, 1]
    assert not grouped(pieces, at(4))


def test_a_run_whose_command_nobody_knows_any_more_is_counted() -> None:
    assert grouped([[run(1, command=None)]])[0].fingerprint.command == ""


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(1, 20), st.integers(0, 100))
def test_every_failure_is_in_one_part_of_a_trend(
    seconds: list[int], slices: int, more: int
) -> None:
    group = Group(grouped([[run(0)]])[0].fingerprint)
    for second in sorted(seconds):
        group.add("job1", at(second))
    trend = group.trend(at(min(seconds)), at(max(seconds) + more), slices)
    assert len(trend) == slices and sum(trend) == len(seconds)
    assert trend[0], "the first is in the first part"
    assert more or trend[-1], "and the last in the last"


def test_parts_of_a_trend_are_equal() -> None:
    group = Group(grouped([[run(0)]])[0].fingerprint)
    for second in (0, 9, 10, 20, 29, 39):
        group.add("job1", at(second))
    assert group.trend(at(0), at(40), 4) == [2, 1, 2, 1]


@pytest.mark.parametrize(
    ("trend", "word"),
    [
        ([0, 0, 1, 0], "new"),
        ([1, 0, 0, 0], "stopped"),
        ([2, 0, 2, 1], "rising"),
        ([2, 1, 2, 0], "falling"),
        ([4, 1, 4, 0], "steady"),
        ([1, 4, 2, 4], "steady"),
    ],
)
def test_a_trend_in_a_word(trend: list[int], word: str) -> None:
    assert direction(trend) == word
