"""What can still be believed of a damaged segment: each line that verifies by itself.

The crc of a line continues that of the line before, whose digits stand there to be read. So a line
can be checked although everything before it is lost, and one damaged line costs that line only.
Knows no files and no jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

from msgspec.structs import replace

from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.events.vocabulary import Event, LogRepaired

Range = tuple[int, int]
_HEX = frozenset(b"0123456789abcdef")
_START = b'{"crc":"'
_PREVIOUS_CRC = re.compile(rb'"previous_crc":"([0-9a-f]{8})"')


class Line(NamedTuple):
    """An event that can be believed."""

    event: Event
    body: bytes
    broken: bool
    """Bytes that cannot be believed stand between it and the one before."""


class Salvaged(NamedTuple):
    """What was found in a segment."""

    header: Header | None
    """None where the first line is not to be believed."""
    lines: list[Line]


def salvage(data: bytes, first: int, last: int, crc: str = "") -> Salvaged:
    """The lines to be believed in the bytes of a segment, of events from `first` to `last`.

    `crc` is that of the last line, where somebody else knows it.
    """
    lines = _lines(data)
    # The first line says itself what it goes on from.
    previous = _PREVIOUS_CRC.search(lines[0])
    seeds = [int(previous[1], 16)] if previous else []
    start, *bodies = _believed(lines, seeds, [int(crc, 16)] if crc else [])
    header = _header(start, seeds, first) if start else None
    found: list[Line] = []
    offset = first - 1
    broken = header is None
    for body in bodies:
        event = _event(body) if body else None
        if event is None or not offset < event.offset <= last:
            broken = True
            continue
        found.append(Line(event, body, broken))
        offset, broken = event.offset, False
    return Salvaged(header, found)


def _lines(data: bytes) -> list[bytes]:
    """The lines, also where the newline between two is gone: in the text of people, a quote has a
    backslash before it, so this is nowhere but at the start of one."""
    lines = data.replace(_START, b"\n" + _START).split(b"\n")
    return [line for line in lines if line] or [b""]


def _believed(lines: list[bytes], seeds: list[int], last: list[int]) -> Iterator[bytes]:
    """The body of each line that verifies; empty for one that does not."""
    for line, following in pairwise([*lines, b""]):
        body, written = line[codec.BODY :], _digits(line)
        crcs = [crc32(body, seed) for seed in seeds]
        if written and written[0] in crcs:
            yield body
            seeds = written
            continue
        # Its digits may be all that is damaged: then the next line knows the right ones.
        known = _digits(following)
        right = [
            crc
            for crc in crcs
            if (known == [crc32(following[codec.BODY :], crc)] if following else crc in last)
        ]
        yield body if right else b""
        seeds = right or written


def _digits(line: bytes) -> list[int]:
    """The crc that is written in a line, if there is one."""
    digits = line[codec.BODY - 8 : codec.BODY]
    return [int(digits, 16)] if len(digits) == 8 and _HEX.issuperset(digits) else []


def _header(body: bytes, seeds: list[int], first: int) -> Header | None:
    try:
        return codec.header_of(codec.rechain([body], seeds[0])[0], first)[0]
    except ValueError:
        return None


def _event(body: bytes) -> Event:
    """The event in a line whose crc was right. Raises `Newer` for one of a kind unknown."""
    return codec.decode(codec.rechain([body], 0)[0], 0)[0][0]


def with_holes(
    header: Header, lines: list[Line], taken_out: int, event: LogRepaired
) -> tuple[list[bytes], list[Range]]:
    """The bodies of these lines, with one more for each hole between them; and the holes.

    Where nothing is broken, events up to `taken_out` are missing because they may be: but for the
    last one, in whose place something always stands.
    """
    bodies: list[bytes] = []
    lost: list[Range] = []
    before, at = header.first - 1, header.at
    for line in (*lines, None):
        offset = line.event.offset if line is not None else header.covers + 1
        is_broken = line is None or line.broken
        if offset > before + 1 and (is_broken or offset - 1 > taken_out):
            hole = (before + 1, offset - 1)
            lost.append(hole)
            # What is left of a batch is one.
            bodies[-1:] = map(codec.ends_batch, bodies[-1:])
            bodies.append(codec.body(replace(event, lost_from=hole[0]), hole[1], at, more=False))
        if line is not None:
            bodies.append(line.body)
            before, at = offset, line.event.at
    bodies[-1:] = map(codec.ends_batch, bodies[-1:])
    return bodies, lost
