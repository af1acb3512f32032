"""How long a failed job waits: the numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.domain import backoff
from queuectl.quantities import DURATION_MS_MAX


def delays(shape: str, base: float, count: int = 4, *, longest: int = 0) -> list[int]:
    return [backoff.delay_ms(shape, base, longest, run, 0.0, 0.0) for run in range(1, count + 1)]


@pytest.mark.parametrize(
    ("shape", "base", "seconds"),
    [
        ("exponential", 2.0, [2, 4, 8, 16]),
        ("exponential", 3.0, [3, 9, 27, 81]),
        ("exponential", 1.5, [1.5, 2.25, 3.375, 5.0625]),
        ("exponential", 1.0, [1, 1, 1, 1]),
        ("exponential", 0.0, [0, 0, 0, 0]),
        ("doubling", 5.0, [5, 10, 20, 40]),
        ("linear", 5.0, [5, 10, 15, 20]),
        ("fixed", 5.0, [5, 5, 5, 5]),
        ("5s,30s,5m", 2.0, [5, 30, 300, 300]),
        ("500ms", 2.0, [0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_shapes(shape: str, base: float, seconds: list[float]) -> None:
    # Milliseconds are whole: half of one is rounded.
    assert delays(shape, base) == [round(delay * 1000) for delay in seconds]


def test_the_longest_delay_bounds_all() -> None:
    assert delays("exponential", 2.0, longest=5000) == [2000, 4000, 5000, 5000]
    assert delays("9s,1s", 2.0, longest=5000) == [5000, 1000, 1000, 1000]


@pytest.mark.parametrize("shape", backoff.SHAPES)
@pytest.mark.parametrize("base", [1e6, 2.0])
def test_no_number_of_runs_is_too_many(shape: str, base: float) -> None:
    for run in (100, 2000, 1_000_000):
        assert 0 <= backoff.delay_ms(shape, base, 0, run, 0.0, 0.0) <= DURATION_MS_MAX
        assert backoff.delay_ms(shape, base, 1000, run, 0.0, 0.0) == 1000


def test_jitter_adds_a_share_by_chance() -> None:
    def delay(jitter: float, chance: float) -> int:
        return backoff.delay_ms("fixed", 10.0, 0, 1, jitter, chance)

    assert delay(0.5, 0.0) == 10_000
    assert delay(0.5, 1.0) == 15_000
    assert delay(0.5, 0.5) == 12_500
    assert delay(0.0, 1.0) == 10_000


@given(
    st.sampled_from(("exponential", "doubling", "linear", "fixed")),
    st.floats(1, 1e6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_delays_never_shrink_from_run_to_run(
    shape: str, base: float, jitter: float, chance: float
) -> None:
    all_delays = [backoff.delay_ms(shape, base, 0, run, jitter, chance) for run in range(1, 40)]
    assert all(low <= high for low, high in pairwise(all_delays))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("exponential", "exponential"),
        (" Linear ", "linear"),
        ("5s,30s,5m", "5s,30s,5m"),
        ("5, 60 ,90m", "5s,1m,1h30m"),
        ("7", "7s"),
    ],
)
def test_shapes_as_they_are_stored(given: str, stored: str) -> None:
    assert backoff.check(given) == stored
    assert backoff.check(stored) == stored


@pytest.mark.parametrize("shape", ["", "quadratic", "5s,", ",", "-5s", "5s;30s", "exponential,5s"])
def test_bad_shapes(shape: str) -> None:
    with pytest.raises(ValueError, match="backoff is"):
        backoff.check(shape)


def test_the_first_delays_for_people() -> None:
    assert backoff.describe("exponential", 2.0, 0, 0.0) == "2s, 4s, 8s, 16s …"
    assert backoff.describe("fixed", 90.0, 60_000, 0.5) == "1m, 1m, 1m, 1m … (and up to 50% more)"
