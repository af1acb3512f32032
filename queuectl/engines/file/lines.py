"""What happened, line by line as it was written: for those who copy it elsewhere. Knows no jobs."""

from __future__ import annotations

from collections.abc import Iterator

from queuectl.engines.file.form import STRETCHES
from queuectl.engines.file.log import FileLog
from queuectl.events import codec
from queuectl.events.codec import Stretch, TakenOut
from queuectl.events.log import Missing, ignored
from queuectl.instants import Instant

_AT = b'"at":"'


def read(log: FileLog, after: int, missing: Missing = ignored) -> Iterator[Stretch]:
    """The durable lines above offset `after`, oldest first, in stretches without a gap.

    Lines that were taken out of the log come from the archive; where they are not there, `missing`
    hears it, and what the log has left comes instead. Raises `Damaged` after the last line before
    the damage.
    """
    try:
        for found in log.read_as(STRETCHES, after):
            if found.first != after + 1:
                raise TakenOut
            yield found
            after = found.last
    except TakenOut:
        for events in log.read_originals(after, missing):
            yield from codec.stretches(events)


def left(log: FileLog, after: int) -> tuple[int, Instant]:
    """(bytes, time of the first event) of what the log holds above offset `after`; unverified."""
    if after >= log.head():
        return 0, ""
    firsts = log.segments.list()
    segment = max((first for first in firsts if first <= after + 1), default=firsts[0])
    size = sum(log.durable_size(first) for first in firsts if first > segment)
    data = b"".join(log.pieces(segment))
    # Within a string there would be a backslash before each quote.
    found = data.find(b'","offset":%d,"at":"' % (after + 1))
    # Where that event was taken out, all of its segment is still to be gone through.
    start = data.rfind(b"\n", 0, max(0, found)) + 1
    at = data.find(_AT, start) + len(_AT)
    return size + len(data) - start, data[at : data.find(b'"', at)].decode()
