"""Moments as text: text order is time order, whatever the zone they were given in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants

MICROSECONDS = st.integers(instants.to_us("0001-01-01T00:00:00.000000Z"), 250_000_000_000_000_000)


@given(MICROSECONDS)
def test_there_and_back(us: int) -> None:
    text = instants.from_us(us)
    assert instants.to_us(text) == us
    assert instants.parse(text) == text
    assert len(text) == 27


@given(MICROSECONDS, MICROSECONDS)
def test_text_order_is_time_order(one: int, two: int) -> None:
    assert (instants.from_us(one) < instants.from_us(two)) == (one < two)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2030-01-31T09:00:00Z", "2030-01-31T09:00:00.000000Z"),
        ("2030-01-31T09:00:00+02:00", "2030-01-31T07:00:00.000000Z"),
        ("2030-01-31 09:00:00.5-00:30", "2030-01-31T09:30:00.500000Z"),
        ("2030-01-31T09:00Z", "2030-01-31T09:00:00.000000Z"),
    ],
)
def test_any_zone_is_read(text: str, instant: str) -> None:
    assert instants.parse(text) == instant


@pytest.mark.parametrize(
    "text", ["2030-01-31T09:00:00", "2030-01-31", "tomorrow", "", "1893488400"]
)
def test_a_time_without_a_zone_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        instants.parse(text)


def test_later_and_between() -> None:
    start = "2026-12-31T23:59:59.999999Z"
    assert instants.later(start, 1) == "2027-01-01T00:00:00.000999Z"
    assert instants.later(start, -1000) == "2026-12-31T23:59:58.999999Z"
    assert instants.between_ms(start, instants.later(start, 12_345)) == 12_345
    assert instants.between_ms(instants.later(start, 5), start) == 0
    assert instants.between_ms(start, "2027-01-01T00:00:00.000998Z") == 0


@pytest.mark.parametrize("ms", [10**15, 10**30])
def test_later_ends_at_the_last_instant_that_can_be_written(ms: int) -> None:
    assert instants.later("2026-01-01T00:00:00.000000Z", ms) == instants.LATEST
