"""A segment in its new form, before it is put in place: the lines that stay, and one that stands
for all that were taken out. Knows no files and no jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from queuectl.engines.file.content import Content
from queuectl.events import codec
from queuectl.events.codec import Header
from queuectl.events.vocabulary import Event, LogCompacted

_FRAME_BYTES = codec.BODY + 1
"""What a line takes beside its body."""
_PIECE_LINES = 1 << 10
Summary = Callable[[Sequence[Event]], LogCompacted]


@dataclass(slots=True)
class Draft:
    """What is to stand in the place of some segments that follow each other."""

    firsts: list[int]
    """The segments whose place it takes."""
    header: Header
    """What its first line will say, but for `compaction`."""
    bodies: list[bytes]
    """The lines that stay, without what chains them."""
    stand_in: LogCompacted | None
    """What stands for those that were taken out, with the place and time of the last of them …"""
    index: int
    """… and before which of `bodies`."""

    def pieces(self, compaction: int) -> Iterator[bytes]:
        """The bytes of the whole segment."""
        line, crc = codec.frame_header(replace(self.header, compaction=compaction))
        yield line
        bodies = self.bodies
        if self.stand_in is not None:
            stand_in = codec.body_of_event(replace(self.stand_in, compaction=compaction))
            bodies = [*bodies[: self.index], stand_in, *bodies[self.index :]]
        for start in range(0, len(bodies), _PIECE_LINES):
            piece, crc = codec.rechain(bodies[start : start + _PIECE_LINES], crc)
            yield piece

    @property
    def size(self) -> int:
        """About how many bytes that will be."""
        bodies = sum(map(len, self.bodies)) + _FRAME_BYTES * len(self.bodies)
        stand_in = len(codec.body_of_event(self.stand_in)) + _FRAME_BYTES if self.stand_in else 0
        return len(codec.frame_header(self.header)[0]) + bodies + stand_in

    def joined(self, other: Draft, summary: Summary) -> Draft:
        """This one and the one that follows it as one."""
        header = replace(
            self.header,
            format=max(self.header.format, other.header.format),
            covers=other.header.covers,
            sealed_crc=other.header.sealed_crc,
            sealed_sha256=other.header.sealed_sha256,
        )
        parts = [draft.stand_in for draft in (self, other) if draft.stand_in is not None]
        return Draft(
            self.firsts + other.firsts,
            header,
            self.bodies + other.bodies,
            _stand_in(parts, summary) if parts else None,
            len(self.bodies) + other.index if other.stand_in is not None else self.index,
        )


def _stand_in(removed: Sequence[Event], summary: Summary) -> LogCompacted:
    # If the batch of the last one went on, it still does: all that follows has stayed.
    last = removed[-1]
    return replace(summary(removed), offset=last.offset, at=last.at, more=last.more)


def drafted(
    content: Content, going: Callable[[Sequence[Event]], list[bool]], summary: Summary
) -> tuple[Draft, list[Event]]:
    """A segment without the events of which `going` says so, and those events.

    What is left of a batch is a batch: only its last line does without `more`.
    """
    bodies: list[bytes] = []
    removed: list[Event] = []
    index = 0
    for piece, events in content:
        for event, line, goes in zip(events, piece.split(b"\n"), going(events), strict=False):
            if not goes and type(event) is not LogCompacted:
                bodies.append(line[codec.BODY :])
                continue
            removed.append(event)
            index = len(bodies)
            if index and not event.more:
                bodies[-1] = codec.ends_batch(bodies[-1])
    header = replace(
        content.header,
        covers=content.offset,
        sealed_crc=content.seam.crc,
        sealed_sha256=content.seam.sha256,
    )
    stand_in = _stand_in(removed, summary) if removed else None
    return Draft([content.first], header, bodies, stand_in, index), removed
