"""After a crash: which bytes at the end of a log count, and how it goes on behind the others.

Tear or damage, never confused. A *tear* is what an interrupted append leaves at the very end: the
start of a line without its newline, or sectors that were never written. Anything else that does
not verify is *damage*, and is refused. Doubtful bytes are never appended to, cut off or
written over in place, because a failed sync may have left them in memory only: what is accepted
goes into a new file, and the rest is kept aside.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from queuectl.engines.file.segments import Segments
from queuectl.errors import Damaged
from queuectl.events.codec import BadLine, decode

_SECTOR = 512
_AT = b'"at":"'
_AT_LENGTH = 27


class Accepted(NamedTuple):
    """The end of the last whole batch."""

    position: int
    crc: int
    offset: int
    at: str


def accept(data: bytes, start: Accepted, file: str) -> Accepted:
    """How much of `data`, which lies from `start` to the end of the last segment, counts.

    Only whole batches do. Raises `Damaged` where it ends in anything but a tear.
    """
    whole = data.rfind(b"\n") + 1
    rest_at = whole
    try:
        events, _ = decode(data[:whole], start.crc)
    except BadLine as bad:
        if not _is_tear(data[bad.position :], start.position + bad.position):
            last = bad.events[-1].offset if bad.events else start.offset
            raise Damaged(
                bad.why, file=file, position=start.position + bad.position, offset=last
            ) from None
        events, rest_at = bad.events, bad.position
    else:
        if not _is_tear(data[whole:], start.position + whole):
            last = events[-1].offset if events else start.offset
            raise Damaged(
                "the end is not the start of a line",
                file=file,
                position=start.position + whole,
                offset=last,
            )
    while events and events[-1].more:
        events.pop()
    if not events:
        return start
    lines = data[:rest_at].split(b"\n")[: len(events)]
    length = sum(map(len, lines)) + len(lines)
    crc = int(lines[-1][8:16], 16)
    return Accepted(start.position + length, crc, events[-1].offset, events[-1].at)


def _is_tear(rest: bytes, position: int) -> bool:
    """Whether an interrupted append can have left `rest`, which starts where a line would.

    `position` is where in the file that is.
    """
    zeros = rest.find(b"\0")
    if zeros < 0:
        start = b'{"crc":"'
        return b"\n" not in rest and rest[: len(start)] == start[: len(rest)]
    # Sectors that were never written, and nothing behind them that came with another append. The
    # first may have been written in part before: then what was lost begins here, inside it.
    end = len(rest) - len(rest[zeros:].lstrip(b"\0"))
    whole = -(-(position + zeros) // _SECTOR) + 1 if zeros else position // _SECTOR + 1
    unwritten = end == len(rest) or whole * _SECTOR <= position + end
    return unwritten and b"\n" not in rest[:zeros] and not _holds_other_appends(rest)


def _holds_other_appends(data: bytes) -> bool:
    """Whether lines in `data` that verify against the line before were written at other times than
    that: then more than the last append is hurt."""
    times = set()
    for before, line in pairwise(data.split(b"\n")):
        try:
            (event,), _ = decode(line + b"\n", int(before[8:16], 16))
        except (BadLine, ValueError):
            continue
        times.add(event.at.encode())
        _, known, rest = before.partition(_AT)
        if known and b"\0" not in rest[:_AT_LENGTH]:
            times.add(rest[:_AT_LENGTH])
    return len(times) > 1


def mend(segments: Segments, first: int, fd: int, end: int, size: int, reserve: int) -> int:
    """Put a copy of the first `end` of a segment's `size` bytes in its place, the rest aside.

    Returns a descriptor to append to the copy with. The old file is never written again.
    """
    if size > end:
        segments.keep_aside(f"cut-{first}-{end}", segments.read(fd, end, size))
    return segments.publish(first, [segments.read(fd, 0, end)], reserve=end + reserve)
