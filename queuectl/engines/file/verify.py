"""Checks every byte of a log that is supposed to be durable, and says what it has seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from queuectl.engines.file.log import FileLog
from queuectl.errors import Damaged


class Report(NamedTuple):
    """What was checked."""

    segments: int
    events: int
    size: int
    """Bytes read."""
    head: int
    """The last offset."""
    crc: str
    """The crc of the last line, which covers all lines before it."""


def verify(log: FileLog, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check segment by segment: the chain of lines, of headers and of whole-file hashes, that
    offsets rise by one, that time does not run backwards, and that no batch is cut short.

    `progress` hears (bytes read, bytes in all). Raises `Damaged` at the first thing wrong.
    """
    segments = log.segments
    firsts = segments.list()
    total = sum(log.durable_size(first) for first in firsts)
    done = events_seen = 0
    offset, at, crc, more = 0, "", "00000000", False
    for events, place in log.read_with_places():
        for event in events:
            if event.offset != offset + 1 or event.at < at:
                what = "time runs backwards" if event.at < at else f"event {offset + 1} is missing"
                file = segments.path(place.segment)
                raise Damaged(what, file=file, position=place.position, offset=offset)
            offset, at, more = event.offset, event.at, event.more
        events_seen += len(events)
        crc = f"{place.crc:08x}"
        done = sum(log.durable_size(first) for first in firsts if first < place.segment)
        done += place.position
        if progress is not None:
            progress(done, total)
    if more:
        last = firsts[-1]
        position = log.durable_size(last)
        file = segments.path(last)
        raise Damaged("the last batch is cut short", file=file, position=position, offset=offset)
    _verify_hashes(log, firsts)
    return Report(len(firsts), events_seen, total, offset, crc)


def _verify_hashes(log: FileLog, firsts: list[int]) -> None:
    """Check that each segment names its predecessor by the SHA-256 of the whole file."""
    segments = log.segments
    before = ""
    identity = ""
    for first in firsts:
        fd = segments.open(first)
        try:
            header, _, _ = segments.header(fd, first)
            wrong = ""
            if header.previous_sha256 != before:
                wrong = "it names another predecessor than the segment before it"
            elif identity and header.log != identity:
                wrong = "it belongs to another log"
            if wrong:
                raise Damaged(wrong, file=segments.path(first), position=0, offset=first - 1)
            before = segments.sha256(fd, log.durable_size(first))
            identity = header.log
        finally:
            segments.close(fd)
