"""What a log promises, whatever it is kept in; knows no job and no file.

Every engine in `queuectl/engines/` keeps these promises, and `tests/engines/conformance.py` is
their specification.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from queuectl.events.vocabulary import Event, Fact
from queuectl.instants import Instant

LAST = 1 << 62
"""No event has a higher offset."""
Missing = Callable[[int, int, str], None]
"""Told that the originals from one offset to another (inclusive) are not in the archive, and what
is wrong with it if it is there."""


def ignored(first: int, last: int, why: str) -> None:
    """Nobody wants to know."""


class Batch(NamedTuple):
    """Facts that are appended together: all of them, or none."""

    facts: Sequence[Fact]
    expected: Mapping[str, int] = {}
    """Per job the offset of its last event that the appender knew (0: it does not exist)."""
    essential: bool = False
    """Records the end of what runs already, so it may use the space kept back for that."""
    format: int = 1
    """The lowest format of a log in which they mean to every reader what they mean here."""


class Log(Protocol):
    """An append-only sequence of events."""

    lock_timeout_s: float
    """How long to wait for others who append, before `LockTimedOut`; whoever has more to do than to
    wait may set it."""

    def head(self) -> int:
        """The offset of the last durable event; 0 while there is none."""

    def read(self, after: int = 0) -> Iterator[list[Event]]:
        """The durable events with an offset above `after`, oldest first, in pieces.

        Raises `Damaged` after the last event before the damage.
        """

    def compactions(self) -> int:
        """How many rewritings the log has seen: asked by a fold before it begins.

        An event `log.compacted` with a higher number was put there later. What it stands for may
        belong to events that the fold has read before: it has to begin anew.
        """

    def bookmark(self) -> str:
        """Where reading has got, for `resume`; empty where that cannot be said."""

    def holds(self, bookmark: str) -> bool:
        """Whether this log holds what was read up to a bookmark."""

    def resume(self, bookmark: str) -> bool:
        """Let reading go on from a bookmark, so that `read` need not look for the place; False
        where this log does not hold it."""

    def read_originals(self, after: int = 0, missing: Missing = ignored) -> Iterator[list[Event]]:
        """As `read`, with the events that were taken out of the log, if they are archived.

        Where the archive is not what it should be, `missing` hears it, and what the log has left
        comes instead: with what stands there for what is gone.
        """

    def before(self, at: Instant) -> int:
        """An offset up to which no event is later than `at`; not far from the last such."""

    def imprint(self, offset: int) -> str:
        """What the events up to `offset` are known by: as long as this says the same,
        `read_originals` gives the same of them. Empty where that cannot be said."""

    def stretch(self, offset: int) -> int:
        """The last event of the part of the log that `offset` is in, where events were taken out of
        it: one event may stand for them all. Elsewhere `offset` itself."""

    def read_about(
        self, job: str, missing: Missing = ignored, *, after: int = 0, last: int = LAST
    ) -> Iterator[Event]:
        """The durable events about one job above `after` and up to `last`, oldest first, without
        decoding the others.

        Events that were taken out of the log are among them, if they are archived; `missing` hears
        where that archive is not what it should be.
        """

    def read_kind(self, kind: type[Event], after: int = 0) -> Iterator[Event]:
        """As `read_originals`, those of one kind alone, without decoding the others."""

    def read_kept(self, job: str, first: int, last: int) -> Iterator[Event]:
        """Those with an offset from `first` to `last` that were not taken out of the log: for who
        knows of a job that none was. It saves searching all that is older or newer."""

    def wait(self, timeout_s: float) -> None:
        """Return once something may have been appended since the last call, at the latest after so
        long. The first call need not wait at all."""

    def append(self, batches: Sequence[Batch]) -> list[Event]:
        """Write batches durably, in order and in one go; returns their events.

        The facts themselves become the events: they are given their offset and time. Raises
        `Conflict`, and appends nothing, when the log holds an event about a job in `expected`
        past the offset given there. When it returns, everything is durable.
        """

    def keeping(self, contents: Collection[bytes]) -> AbstractContextManager[None]:
        """Keep what is too long for a line, durably and by its SHA-256, as long as an event names
        it: one that is appended while the context lasts, at the latest."""

    def kept(self, sha256: str) -> bytes:
        """What was kept under this hash. Raises `PayloadLost` where it is not there, or not what
        it was."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep others from appending meanwhile, where that is cheap.

        It only saves retries: correctness rests on `expected`, and an engine may do nothing here.
        """

    def close(self) -> None:
        """Give back what is held; the log itself stays."""
