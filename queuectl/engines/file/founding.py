"""Segments made of lines that were written elsewhere, offsets and times as they were there. Knows
no mark, no lock and no jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise

from queuectl.engines.file.log import SEGMENT_BYTES_MAX
from queuectl.engines.file.segments import Segments
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.events.exchange import Line
from queuectl.events.vocabulary import Event, LogCompacted
from queuectl.host import Host


def found(
    directory: str, lines: Iterable[Line], host: Host, *, bytes_max: int = SEGMENT_BYTES_MAX
) -> int:
    """Make the segments of a new log in an empty directory, durably; returns the last offset.

    Raises what `lines` does, `NoSpace`, and `SyncFailed`; then some may be there.
    """
    segments = Segments(directory, host)
    header = Header(log=host.random(16).hex())
    offset = 0
    for part in _parts(lines, bytes_max):
        events = [line.event for line in part]
        header = _follow(header, events, offset, max(line.format for line in part))
        line, crc = codec.frame_header(header)
        data, crc = codec.rechain([line.body for line in part], crc)
        data = line + data
        host.close(segments.publish(header.first, [data]))
        offset = events[-1].offset
        header = Header(
            log=header.log,
            first=offset + 1,
            at=events[-1].at,
            previous_crc=f"{crc:08x}",
            previous_sha256=hashlib.sha256(data).hexdigest(),
        )
    return offset


def _parts(lines: Iterable[Line], bytes_max: int) -> Iterator[list[Line]]:
    """What goes into one segment each: whole batches."""
    part: list[Line] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line.body)
        if size > bytes_max and not line.event.more:
            yield part
            part, size = [], 0
    if part:
        yield part


def _follow(header: Header, events: list[Event], before: int, format: int) -> Header:
    """The header, with what there is to say of the events under it."""
    offsets = [before, *(event.offset for event in events)]
    folded = max((one.compaction for one in events if isinstance(one, LogCompacted)), default=0)
    missing = any(after != one + 1 for one, after in pairwise(offsets))
    return Header(
        at=header.at or events[0].at,
        format=format,
        log=header.log,
        first=header.first,
        previous_crc=header.previous_crc,
        previous_sha256=header.previous_sha256,
        covers=offsets[-1] if missing or folded else 0,
        compaction=folded,
    )
