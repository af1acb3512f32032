"""How far a reader has got in a log."""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = -1
"""A crc that nobody has computed."""


class Place(NamedTuple):
    """The byte after the event `offset`."""

    segment: int
    position: int
    """0: at the start of the segment, where events up to `offset` are to be skipped."""
    crc: int
    """Of the line before; `UNKNOWN` where that is so."""
    offset: int
