"""Checks every byte of a log that is supposed to be durable, and says what it has seen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from queuectl.engines.file.content import content_of
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.segments import counting
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
    """Check segment by segment: the chain of lines, of headers and of whole-file hashes, that no
    event is missing, that time does not run backwards, and that no batch is cut short.

    `progress` hears (bytes read, bytes in all). Raises `Damaged` at the first thing wrong.
    """
    headers = log.segments.headers()
    firsts = counting(headers)
    if not headers and not log.active():
        return Report(0, 0, 0, 0, "00000000")
    _check_ends(log, firsts)
    total = sum(map(log.durable_size, firsts))
    done = events_seen = 0
    for first, following in pairwise([*firsts, 0]):
        content = content_of(log, first)
        for _, events in content:
            events_seen += len(events)
            if progress is not None:
                progress(done + content.size, total)
        if following:
            content.check_seam(following, headers[following])
        done += content.size
    if done < total:
        raise content.damage(f"{total - done} bytes that were acknowledged are gone")
    return Report(len(firsts), events_seen, total, content.through, f"{content.crc:08x}")


def _check_ends(log: FileLog, firsts: list[int]) -> None:
    """Check that the first segment and the active one are there."""
    for first in (1, log.active()):
        if first not in firsts:
            file = log.segments.path(first)
            raise Damaged("a file is gone", file=file, position=0, offset=first - 1)
