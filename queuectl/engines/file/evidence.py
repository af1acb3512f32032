"""The hash tree over the lines of a log as they were written, and what ties some of them to it.

It begins after the last event of which the original is not there any more, and has a leaf for each
event from there on: so the place of a leaf is told by the offset of its event. A line of which
values were taken out says itself what its leaf was. Knows no jobs.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from queuectl.errors import Illegal
from queuectl.events import codec, merkle
from queuectl.events.vocabulary import Event, JobEvent, JobRedacting, LogCompacted, LogRepaired

# Within a string there would be a backslash before each quote.
_ORIGINAL = b'"original":"'
_REPAIRED = b'"type":"log.repaired"'
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Root(NamedTuple):
    """What stands for the original lines of all events from `first` to some other."""

    first: int
    hash: str


class Traced(NamedTuple):
    """An event that was wanted."""

    event: Event
    body: bytes
    """Of its line, as it was written."""
    path: merkle.Path
    """From there to the root; whole once that was asked for."""


class Evidence:
    """Sees the originals of a log in their order, as far as they are there.

    `wanted` says which events are to be traced. At each of `heads` the root is noted. Nothing
    behind `until` counts. `asked` are the redactions that the log knows of.
    """

    def __init__(
        self,
        wanted: Callable[[Event], bool] = lambda event: False,
        *,
        heads: Collection[int] = (),
        until: float = float("inf"),
        asked: Iterable[JobRedacting] = (),
    ) -> None:
        self.first = 1
        """The first event in the tree …"""
        self.last = 0
        """… and the last; lower where it is empty."""
        self.traced: list[Traced] = []
        """What was wanted of these."""
        self.roots: dict[int, Root] = {}
        """By its last event what stood for all of them."""
        self.redactions = Redactions(asked)
        self._wanted = wanted
        self._heads = frozenset(heads)
        self._until = until
        self._tree = merkle.Tree()

    def see(self, piece: bytes, events: Sequence[Event]) -> None:
        """These events, and their lines, come next."""
        leaves: list[bytes] = []
        followed: dict[int, merkle.Path] = {}
        for event, line in zip(events, piece.split(b"\n"), strict=False):
            offset = event.offset
            if offset > self._until:
                break
            is_lost = stands_in(event)
            if is_lost or offset != self.last + 1:
                leaves, followed = [], {}
                self._begin(offset + is_lost)
            self.last = offset
            if is_lost:
                continue
            body = line[codec.BODY :]
            if self._wanted(event):
                self.traced.append(Traced(event, body, []))
                followed[len(leaves)] = self.traced[-1].path
            original = event.original if isinstance(event, JobEvent) else ""
            leaves.append(leaf_of(original, body))
            if offset in self._heads:
                self._tree.extend(leaves, followed)
                leaves, followed = [], {}
                self.roots[offset] = Root(self.first, self._tree.root().hex())
        self._tree.extend(leaves, followed)

    def _begin(self, first: int) -> None:
        self.first = first
        self.traced.clear()
        self._tree = merkle.Tree()

    def root(self) -> Root | None:
        """What stands for all of it; None where there is nothing. The last thing to ask for."""
        if self.last < self.first:
            return None
        return Root(self.first, self._tree.root(final=True).hex())


def leaf_of(original: str, body: bytes) -> bytes:
    """The leaf of an event: the hash of its line as it was written, which it says itself as its
    `original` where it was redacted since."""
    return bytes.fromhex(original) if _SHA256.fullmatch(original) else merkle.leaf(body)


class Redactions:
    """Looks whether values were taken out where the log says that they were to be, and there
    only."""

    def __init__(self, asked: Iterable[JobRedacting]) -> None:
        self._lines: dict[int, list[str]] = {}
        """By offset what the line was to become; more than once, it may be."""
        for event in asked:
            for offset, line in zip(event.offsets or (), event.lines or (), strict=False):
                self._lines.setdefault(offset, []).append(line)
        self._offsets = sorted(self._lines)
        self.unfinished: set[int] = set()
        """Events of which some line still has what was to be taken out."""
        self.untold: set[int] = set()
        """Events that say that values were taken out of them, and nothing else says so."""
        self._is_torn = False

    def look(self, piece: bytes, events: Sequence[Event]) -> None:
        """At lines of the log or of its archive. Raises `Illegal`."""
        self._is_torn |= _REPAIRED in piece
        start = bisect_left(self._offsets, events[0].offset)
        end = bisect_right(self._offsets, events[-1].offset)
        if start == end and _ORIGINAL not in piece:
            return
        for event, line in zip(events, piece.split(b"\n"), strict=False):
            if isinstance(event, JobEvent):
                self.look_at(event, line[codec.BODY :])

    def look_at(self, event: JobEvent, body: bytes) -> None:
        """At one of these lines. Raises `Illegal`."""
        wanted = self._lines.get(event.offset)
        if wanted is None:
            if event.original:
                self.untold.add(event.offset)
            return
        if not event.original:
            self.unfinished.add(event.offset)
            return
        # Compaction may have made it the last of its batch.
        there = {merkle.leaf(body).hex(), merkle.leaf(codec.goes_on(body)).hex()}
        if there.isdisjoint(wanted):
            raise Illegal("values were taken out of it, and it is not what was left", event.offset)
        if wanted[-1] not in there:
            self.unfinished.add(event.offset)

    def finish(self) -> None:
        """All was seen. Raises `Illegal`."""
        if self.untold and not self._is_torn:
            why = "it says that values were taken out of it, and no event says who asked for that"
            raise Illegal(why, min(self.untold))


def stands_in(event: Event) -> bool:
    """Whether this is not what was written in that place once."""
    return isinstance(event, LogCompacted) or (
        isinstance(event, LogRepaired) and bool(event.lost_from)
    )
