"""Batches of facts on their way into a log: the lines to append, and the events they become."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from queuectl.events import codec
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event


def lines(batches: Sequence[Sequence[bytes]], crc: int, offset: int, at: str) -> tuple[bytes, int]:
    """The bytes to append for batches of encoded facts, and the crc of their last line; `crc` is
    that of the line before, `offset` that of the first event."""
    found = []
    for payloads in batches:
        data, crc = codec.frame_batch(payloads, crc, offset, at)
        found.append(data)
        offset += len(payloads)
    return b"".join(found), crc


def stamped(batches: Sequence[Batch], offset: int, at: str) -> list[Event]:
    """The facts as the events they have become."""
    give = msgspec.structs.force_setattr
    events: list[Event] = []
    for batch in batches:
        more = len(batch.facts)
        for fact in batch.facts:
            more -= 1
            give(fact, "offset", offset)
            give(fact, "at", at)
            if more:
                give(fact, "more", True)
            events.append(fact)
            offset += 1
    return events
