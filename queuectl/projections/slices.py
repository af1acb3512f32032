"""A stretch of time in equal slices, so that what happened can be told over time; pure."""

from __future__ import annotations

from collections.abc import Iterator

from queuectl import instants
from queuectl.instants import Instant

SLICES_MAX = 10_000
_MANY = 30
_WIDTHS_MS = [
    *(10, 20, 50, 100, 200, 500),
    *(seconds * 1000 for seconds in (1, 2, 5, 10, 20, 30)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 3, 6, 12)),
    *(days * 86_400_000 for days in (1, 2, 5, 10, 30, 100, 365, 1000, 3650, 36500)),
]
"""Such that their ends are round times."""


class Slices:
    """From `since` to `until`, in slices of `width_ms`, or of a round width that makes about two
    dozen of them. They begin at whole multiples of it, so the first and the last reach over."""

    def __init__(self, since: Instant, until: Instant, width_ms: int = 0) -> None:
        """Raises `ValueError` where they would be too many."""
        since_us, until_us = instants.to_us(since), instants.to_us(until)
        self.width_ms = width_ms or _round_width_ms(max(0, until_us - since_us) // 1000)
        width_us = self.width_ms * 1000
        begin_us = since_us // width_us * width_us
        number = max(0, until_us - begin_us) // width_us + 1
        if number > SLICES_MAX:
            raise ValueError(f"that would be {number} slices of time, and at most {SLICES_MAX} are")
        self._width_us = width_us
        self._begin_us = begin_us
        self.since_us, self.until_us = since_us, until_us
        self.starts = [instants.from_us(begin_us + width_us * n) for n in range(number)]

    def __len__(self) -> int:
        return len(self.starts)

    def index(self, us: int) -> int | None:
        """The slice that a time is in; None for one before or behind all."""
        if not self.since_us <= us <= self.until_us:
            return None
        return (us - self._begin_us) // self._width_us

    def parts_us(self, begin_us: int, end_us: int) -> Iterator[tuple[int, int]]:
        """How much of a stretch of time is in which slice: (index, microseconds)."""
        at_us = max(begin_us, self.since_us)
        end_us = min(end_us, self.until_us)
        while at_us < end_us:
            index = (at_us - self._begin_us) // self._width_us
            next_us = min(end_us, self._begin_us + (index + 1) * self._width_us)
            yield index, next_us - at_us
            at_us = next_us


def _round_width_ms(span_ms: int) -> int:
    for width_ms in _WIDTHS_MS:
        if span_ms // width_ms < _MANY:
            return width_ms
    return _WIDTHS_MS[-1]
