"""In what form the lines of a log are read: decoded, or as they stand. Knows no files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from queuectl.events import codec
from queuectl.events.codec import Stretch
from queuectl.events.vocabulary import Event

Piece = TypeVar("Piece")


class Form(NamedTuple, Generic[Piece]):
    """How whole lines become what their reader wants."""

    decode: Callable[[bytes, int], tuple[Piece, int]]
    """(what whole lines hold, the crc of the last), from these lines and the crc before them."""
    last: Callable[[Piece], int]
    """The offset of its last event; 0 where there is none."""
    after: Callable[[Piece, int], Piece | None]
    """What of it comes after an offset, if anything does."""


def _events_after(events: list[Event], offset: int) -> list[Event] | None:
    if events and events[0].offset <= offset:
        events = [event for event in events if event.offset > offset]
    return events or None


def _stretch_after(found: Stretch, offset: int) -> Stretch | None:
    found = found.after(offset)
    return found if found.events else None


EVENTS = Form(codec.decode, lambda events: events[-1].offset if events else 0, _events_after)
STRETCHES = Form(codec.stretch, lambda found: found.last, _stretch_after)
