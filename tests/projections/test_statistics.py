"""Numbers about what the queue has done: right, and kept small."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.projections.statistics import Histogram

DURATIONS = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)


def histogram(durations: list[int]) -> Histogram:
    made = Histogram()
    for ms in durations:
        made.add(ms)
    return made


def test_without_durations_all_is_zero() -> None:
    empty = Histogram()
    assert (empty.percentile_ms(0.5), empty.average_ms, empty.max_ms) == (0, 0.0, 0)


@pytest.mark.parametrize(
    ("share", "ms"), [(0.0, 1), (0.01, 1), (0.5, 30), (0.95, 57), (0.99, 60), (1.0, 60)]
)
def test_percentiles_of_short_durations_are_exact(share: float, ms: int) -> None:
    assert histogram(list(range(1, 61))).percentile_ms(share) == ms


@given(DURATIONS, st.floats(0, 1))
def test_percentiles_are_within_two_percent(durations: list[int], share: float) -> None:
    rank = max(1, math.ceil(share * len(durations)))
    true = sorted(durations)[rank - 1]
    assert histogram(durations).percentile_ms(share) == pytest.approx(true, rel=0.017, abs=0.5)


@given(DURATIONS, st.integers(0, 200))
def test_it_does_not_matter_when_it_settles(durations: list[int], at: int) -> None:
    settled = histogram(durations[:at])
    settled.settle()
    for ms in durations[at:]:
        settled.add(ms)
    whole = histogram(durations)
    for share in (0.0, 0.5, 0.95, 1.0):
        assert settled.percentile_ms(share) == whole.percentile_ms(share)
    assert settled.average_ms == whole.average_ms == sum(durations) / len(durations)
    assert settled.max_ms == whole.max_ms == max(durations)
