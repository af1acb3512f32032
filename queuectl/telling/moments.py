"""Moments as people name them: an event, a time, or how long ago."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from queuectl import instants
from queuectl.errors import Invalid
from queuectl.events.log import LAST
from queuectl.projections.past import Moment
from queuectl.quantities import parse_duration_ms


class Named(NamedTuple):
    """A moment as it was written."""

    text: str
    offset: int | None = None
    at: instants.Instant = ""
    ago_ms: int = 0

    def moment(self, queue: Any) -> Moment:
        """What it means now."""
        return Moment(self.offset) if self.offset is not None else Moment(at=self.time(queue))

    def time(self, queue: Any) -> instants.Instant:
        """The same, of one that was not named by an event."""
        return self.at or instants.later(queue.now(), -self.ago_ms)

    def begin(self, queue: Any) -> Moment:
        """The same, to go on from. Raises `Invalid` where the log has not got there yet."""
        head = queue.log.head()
        if self.offset is not None and self.offset > head:
            raise Invalid(f"{self.text}: that has not happened yet: the last event is {head}")
        if self.at > queue.now():
            raise Invalid(f"{self.text}: that is in the future: it is {queue.now()} now")
        return self.moment(queue)


def parsed(text: str) -> Named | None:
    """`8812`, `2026-11-22T09:00:00Z`, or `2h` for so long ago; None for anything else."""
    if text.isascii() and text.isdecimal():
        return Named(text, offset=int(text) if len(text) < 18 else LAST - 1)
    with suppress(ValueError, OverflowError):
        return Named(text, at=instants.parse(text))
    with suppress(ValueError):
        # Without a unit it would be an event that was mistyped.
        float(text)
        return None
    with suppress(ValueError):
        return Named(text, ago_ms=parse_duration_ms(text))
    return None
