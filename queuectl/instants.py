"""Moments as text: fixed-width RFC 3339 UTC with microseconds, so text order is time order.

Knows no clock: a moment always comes in as an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

Instant = str
"""`2026-11-22T02:31:00.000214Z`: always 27 characters, always UTC."""

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST: Instant = "0001-01-01T00:00:00.000000Z"
LATEST: Instant = "9999-12-31T23:59:59.999999Z"


def from_us(us: int) -> Instant:
    """The instant `us` microseconds after the Unix epoch."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"


def to_us(instant: Instant) -> int:
    """Microseconds since the Unix epoch."""
    return (datetime.fromisoformat(instant[:-1]) - _EPOCH) // _MICROSECOND


def later(instant: Instant, ms: int) -> Instant:
    """`instant` moved by `ms` milliseconds; ends at the last instant that can be written."""
    try:
        moved = datetime.fromisoformat(instant[:-1]) + timedelta(milliseconds=ms)
    except OverflowError:
        return LATEST
    return moved.isoformat(timespec="microseconds") + "Z"


def between_ms(start: Instant, end: Instant) -> int:
    """Whole milliseconds from `start` to `end`; never negative."""
    return max(0, (to_us(end) - to_us(start)) // 1000)


def parse(text: str) -> Instant:
    """An RFC 3339 time, any zone, as an `Instant`.

    Raises `ValueError` when it is not a time, or has no zone: a bare local time would mean
    another moment on another machine.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
