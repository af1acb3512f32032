"""Taking values out of lines of a log, in its segments and in the archive.

The lines that are changed say so themselves, and have the hash of what they were; so does the first
line of each file that is changed. Everything that names the original goes on to fit. Segments are
replaced whole, as compaction does it, and a crash leaves each file as it was or as it is to be.
Knows no jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from hashlib import sha256

from msgspec.structs import replace

from queuectl.engines.file import compaction
from queuectl.engines.file.content import Content, archived_content, content_of
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.segments import counting
from queuectl.events import codec, merkle
from queuectl.events.vocabulary import Event, JobEvent

Change = Callable[[JobEvent], JobEvent]
"""Gives an event without what is to be taken out, or the same one."""


class Redaction:
    """Of the events at some offsets; nobody else may rewrite the log meanwhile."""

    def __init__(self, log: FileLog, offsets: Collection[int], change: Change) -> None:
        self._log = log
        self._offsets = frozenset(offsets)
        self._change = change
        self._segments = _holding(counting(log.segments.headers()), self._offsets)
        self._archives = _holding(log.archive.list(), self._offsets)

    def bodies(self) -> dict[int, bytes]:
        """By offset the body of each line as it is to be. Raises `Damaged` where it is to be found
        in a file that does not verify."""
        found: dict[int, bytes] = {}
        # What the archive has is the original, also where something is left in the log.
        for content in (*self._in_log(), *self._in_archive()):
            for event, body in _lines(content):
                if event.offset in self._offsets and isinstance(event, JobEvent):
                    found[event.offset] = self._changed(event, body)
        return found

    def _in_log(self) -> Iterator[Content]:
        return (content_of(self._log, first) for first in self._segments)

    def _in_archive(self) -> Iterator[Content]:
        return (archived_content(self._log.archive, first) for first in self._archives)

    def _changed(self, event: JobEvent, body: bytes) -> bytes:
        changed = self._change(event)
        if changed is event:
            return body
        original = event.original or merkle.leaf(body).hex()
        fact = replace(changed, offset=0, at="", more=False, original=original)
        return codec.body(fact, event.offset, event.at, event.more)

    def carry_out(self) -> list[str]:
        """Do it, file by file; returns the paths of those that were changed.

        The lines must not be in the active segment. Raises `Damaged`, `NoSpace` and `SyncFailed`;
        it can be done again then.
        """
        log = self._log
        compaction.clear_up(log)
        bodies = self.bodies()
        number = log.compactions()
        changed = []
        for content in self._in_log():
            data = _rewritten(content, bodies, number + 1)
            if not data:
                continue
            if not content.header.sealed_sha256:
                # From now on the archive has its original, as that of any segment that was changed.
                log.archive.keep(content.first, [data], sha256(data).hexdigest())
            number += 1
            compaction.put(log, content.first, [data])
            changed.append(log.segments.path(content.first))
        for content in self._in_archive():
            data = _rewritten(content, bodies, 0)
            if data:
                log.archive.keep(content.first, [data], sha256(data).hexdigest())
                changed.append(log.archive.path(content.first))
        return changed


def _holding(firsts: Iterable[int], offsets: Iterable[int]) -> list[int]:
    """Of files with these first events those in which the offsets can be found."""
    firsts = sorted(firsts)
    found = {max((first for first in firsts if first <= one), default=0) for one in offsets}
    return sorted(found - {0})


def _lines(content: Content) -> Iterator[tuple[Event, bytes]]:
    for piece, events in content:
        for event, line in zip(events, piece.split(b"\n"), strict=False):
            yield event, line[codec.BODY :]


def _rewritten(content: Content, bodies: dict[int, bytes], number: int) -> bytes:
    """The bytes of a file with these lines in their places; none where that changes nothing."""
    lines: list[bytes] = []
    is_changed = False
    for event, body in _lines(content):
        new = bodies.get(event.offset, body) if isinstance(event, JobEvent) else body
        if not event.more:
            # Compaction may have made it the end of its batch.
            new = codec.ends_batch(new)
        is_changed |= new != body
        lines.append(new)
    if not is_changed:
        return b""
    header = replace(
        content.header,
        covers=content.offset,
        sealed_crc=content.seam.crc,
        sealed_sha256=content.seam.sha256,
        compaction=number or content.header.compaction,
    )
    start, crc = codec.frame_header(header)
    return start + codec.rechain(lines, crc)[0]
