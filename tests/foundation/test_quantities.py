"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.quantities import (
    DURATION_MS_MAX,
    format_duration,
    format_size,
    parse_duration_ms,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("1.5s", 1500),
        ("1H", 3_600_000),
        (" 3s ", 3000),
        ("2", 2000),
        ("0.25", 250),
        (7, 7000),
        (0.001, 1),
        (0, 0),
        ("0s", 0),
    ],
)
def test_durations(text: str | float, ms: int) -> None:
    assert parse_duration_ms(text) == ms


def test_what_a_bare_number_counts_is_the_callers_choice() -> None:
    assert parse_duration_ms("5", bare_ms=1) == 5
    assert parse_duration_ms("5s", bare_ms=1) == 5000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "5x",
        "5 s s",
        "-1",
        -1,
        "-5s",
        "1h-30m",
        "nan",
        "inf",
        float("inf"),
        float("nan"),
        "9" * 400,
        "9" * 400 + "s",
        10**400,
        "101000000000s",
        "5s,3s",
        "1e400",
    ],
)
def test_bad_durations(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_ms(text)


@given(st.integers(0, DURATION_MS_MAX))
def test_a_duration_is_read_as_it_is_written(ms: int) -> None:
    assert parse_duration_ms(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (350, "350ms"), (1000, "1s"), (1500, "1.5s"), (5_400_000, "1h30m")],
)
def test_durations_for_people(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        (12, 12),
        ("100k", 102_400),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("1GiB", 1 << 30),
        ("1.5 KiB", 1536),
        ("12B", 12),
        ("1024T", 1 << 50),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1 2", "1025T", "9" * 400, "nan", "1.5.2k"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (12, "12B"), (1536, "1.5KiB"), (16 << 20, "16MiB"), (1 << 40, "1TiB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text
