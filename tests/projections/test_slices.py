"""Time in equal slices: nothing is lost between them, and they begin at round times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import instants
from queuectl.projections.slices import SLICES_MAX, Slices

START_US = instants.to_us("2026-11-22T02:31:07.250000Z")
SPANS = st.integers(0, 40 * 366 * 86_400_000_000)


def slices(span_us: int, width_ms: int = 0) -> Slices:
    return Slices(instants.from_us(START_US), instants.from_us(START_US + span_us), width_ms)


@given(SPANS)
def test_about_two_dozen_of_them_hold_all_of_the_time(span_us: int) -> None:
    found = slices(span_us)
    assert 1 <= len(found) <= 31
    width_us = found.width_ms * 1000
    assert span_us < 300_000 or len(found) >= 9
    starts = [instants.to_us(start) for start in found.starts]
    assert starts == [starts[0] + n * width_us for n in range(len(starts))]
    assert all(start % width_us == 0 for start in starts)
    assert starts[0] <= START_US < starts[0] + width_us
    assert found.index(START_US) == 0
    assert found.index(START_US + span_us) == len(found) - 1
    assert found.index(START_US - 1) is None
    assert found.index(START_US + span_us + 1) is None


@given(SPANS, st.integers(-(10**9), 10**12), st.integers(0, 10**12))
def test_the_parts_of_a_stretch_are_all_of_it(span_us: int, after_us: int, length_us: int) -> None:
    found = slices(span_us)
    begin_us = START_US + after_us
    parts = list(found.parts_us(begin_us, begin_us + length_us))
    within_us = min(begin_us + length_us, found.until_us) - max(begin_us, found.since_us)
    assert sum(us for _, us in parts) == max(0, within_us)
    assert [index for index, _ in parts] == sorted({index for index, _ in parts})
    assert all(0 < us <= found.width_ms * 1000 for _, us in parts)
    for index, us in parts:
        assert found.index(max(begin_us, found.since_us)) == parts[0][0]
        assert index < len(found) and us


def test_a_width_that_was_asked_for() -> None:
    found = slices(3600 * 1_000_000, 1_800_000)
    assert found.starts == [f"2026-11-22T{time}:00.000000Z" for time in ("02:30", "03:00", "03:30")]
    with pytest.raises(ValueError, match=f"at most {SLICES_MAX}"):
        slices(86_400 * 1_000_000, 1)
