"""The hash tree over the lines of a log as they were written, and what ties some of them to it.

It begins after the last event of which the original is not there any more, and has a leaf for each
event from there on: so the place of a leaf is told by the offset of its event. Knows no jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from queuectl.events import codec, merkle
from queuectl.events.vocabulary import Event, LogCompacted, LogRepaired


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
    behind `until` counts.
    """

    def __init__(
        self,
        wanted: Callable[[Event], bool] = lambda event: False,
        *,
        heads: Collection[int] = (),
        until: float = float("inf"),
    ) -> None:
        self.first = 1
        """The first event in the tree …"""
        self.last = 0
        """… and the last; lower where it is empty."""
        self.traced: list[Traced] = []
        """What was wanted of these."""
        self.roots: dict[int, Root] = {}
        """By its last event what stood for all of them."""
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
            is_lost = _stands_in(event)
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
            leaves.append(merkle.leaf(body))
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


def _stands_in(event: Event) -> bool:
    """Whether this is not what was written in that place once."""
    return isinstance(event, LogCompacted) or (
        isinstance(event, LogRepaired) and bool(event.lost_from)
    )
