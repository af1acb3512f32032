"""Ids: safe as names, and rising in the order they were made."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.ids import IdMaker, is_made, is_valid


@pytest.mark.parametrize("name", ["a", "job1", "A.b_c:d-9", "_", ":x", "x" * 128, "0.."])
def test_good_names(name: str) -> None:
    assert is_valid(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "--all", "a/b", "a b", "a\n", "a\0", "é", "x" * 129, "a\\b", "٣"],
)
def test_bad_names(name: str) -> None:
    assert not is_valid(name)


@given(st.lists(st.tuples(st.integers(0, 1 << 52), st.binary(min_size=10, max_size=10))))
def test_ids_of_one_maker_rise_whatever_clock_and_chance_do(
    moments: list[tuple[int, bytes]],
) -> None:
    maker = IdMaker()
    made = [maker.make(us, random) for us, random in [*moments, (5, b"\xff" * 10)]]
    assert all(low < high for low, high in pairwise(made))
    assert all(len(id) == 26 and is_valid(id) for id in made)


def test_ids_of_two_makers_sort_by_their_millisecond() -> None:
    early = IdMaker().make(1_000_999, b"\xff" * 10)
    late = IdMaker().make(1_001_000, bytes(10))
    assert early < late


def test_a_known_id() -> None:
    # From the ULID specification: 1469918176385 ms is 01ARYZ6S41.
    assert IdMaker().make(1469918176385 * 1000, bytes(10)) == "01aryz6s41" + "0" * 16


def test_what_is_made_here_is_known_for_it() -> None:
    assert is_made(IdMaker().make(1_700_000_000_000_000, bytes(10)))
    for name in ("job1", "0" * 25, "0" * 27, "0" * 25 + "u", "0" * 25 + "\n"):
        assert not is_made(name)
