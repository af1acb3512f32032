"""The committed mark: how far the log is durable, in the first bytes of the lock file.

Written under the lock after each good sync and never synced itself: within one boot the page cache
keeps it for every process, and after a restart of the machine it does not count, because then what
is on disk and verifies is durable. Readers take no lock: the checksum tells them a torn read.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

OK = "ok"
DOUBT = "doubt"
"""A sync failed: nothing in that file past `position` may be believed, or written behind."""
ROTATING = "rotating"
"""A new segment is being made; whoever finds this looks which one is the last."""
UNSURE = "unsure"
"""What a restart has left is being synced. Whoever finds this, while nobody holds the lock, knows
that it may have failed: then the next sync succeeds, and has stored nothing. It says no more."""

SIZE = 256
_NEVER = b"-"


class Mark(NamedTuple):
    """Where the next event goes."""

    segment: int
    """Name of the active segment."""
    position: int
    """Bytes of it that are durable."""
    offset: int
    """The last durable event."""
    crc: int
    """Its crc, which the next line continues."""
    at: str
    """Its time, which the next one may not precede."""
    reserved: int
    """Up to which byte of the segment disk blocks are set aside."""
    generation: int
    """Rises whenever the segment was replaced by a mended copy under the same name."""
    state: str
    boot: str
    """The boot within which this counts."""

    def counts_in(self, boot: str) -> bool:
        """Whether it says within this boot how far the log is durable."""
        return self.boot == boot and self.state != UNSURE

    def vouches_for(self, end: Mark) -> bool:
        """Whether it was written once everything up to that end was durable, in whatever boot."""
        return self.state == OK and self[:4] == end[:4]

    def fits(self, data: bytes) -> bool:
        """Whether it stands at the end of a line in the bytes of its segment, and knows it."""
        line = data.rfind(b"\n", 0, self.position - 1) + 1
        end = data[self.position - 1 : self.position]
        return end == b"\n" and data[line + 8 : line + 16] == b"%08x" % self.crc

    def encode(self) -> bytes:
        text = b"%020d %020d %020d %08x %-27s %020d %010d %-8s %-36s" % (
            self.segment,
            self.position,
            self.offset,
            self.crc,
            self.at.encode() or _NEVER,
            self.reserved,
            self.generation,
            self.state.encode(),
            self.boot.encode(),
        )
        return b"%s %08x\n" % (text, crc32(text))


def decode(data: bytes) -> Mark | None:
    """The mark in the first bytes of a lock file; None where there is none that verifies."""
    text, _, checksum = data.rstrip(b"\n").rpartition(b" ")
    if not text or checksum != b"%08x" % crc32(text):
        return None
    try:
        segment, position, offset, crc, at, reserved, generation, state, boot = text.split()
        return Mark(
            int(segment),
            int(position),
            int(offset),
            int(crc, 16),
            "" if at == _NEVER else at.decode(),
            int(reserved),
            int(generation),
            state.decode(),
            boot.decode(),
        )
    except ValueError:  # right in itself, and nothing that this program has written
        return None
