"""What a queue was at an earlier moment: its log folded as it was, up to there.

Snapshots are kept along the log, so that only some events before the moment have to be folded. They
are caches like the one of the newest state: deleted, spoiled or of another log, they change no
answer. Knows not how events are stored.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple, TypeVar

from queuectl.domain.job import FINISHED
from queuectl.engines.tables import Spoiled
from queuectl.errors import Compacted, QueuectlError
from queuectl.events.log import LAST, Log
from queuectl.events.vocabulary import Event
from queuectl.host import Host
from queuectl.instants import LATEST, Instant
from queuectl.projections import keeping, snapshot
from queuectl.projections.snapshot import PAST, Head, Snapshot
from queuectl.projections.state import State

_SPAN = 200_000
"""From one snapshot to the next so many events: to fold them takes a second …"""
_SPAN_LIVE = 4
"""… or so many times as many as there are jobs that are not over, which each of them writes …"""
_SPAN_SHARE = 64
"""… or this part of all events so far: so there are never many, however long the log."""
_LOCK = "LOCK"
Progress = Callable[[int, int], None]
T = TypeVar("T")


def unseen(done: int, total: int) -> None:
    """Nobody wants to know."""


class Moment(NamedTuple):
    """What is no further than both."""

    offset: int = LAST
    at: Instant = LATEST

    def has(self, event: Event) -> bool:
        return event.offset <= self.offset and event.at <= self.at


START = Moment(0)
"""Before the first event."""
NOW = Moment()
"""After all there are."""


class Originals:
    """A log as it was, to be folded from its beginning.

    Where originals are lost, a job may have its beginning before them and its end in them. So up to
    there the log is read as it stands, from which such a job is gone altogether; to the end of what
    was compacted together, since what stands there for what is gone stands for all of it.
    """

    def __init__(self, log: Log, lost: int = 0) -> None:
        self._log = log
        self.lost = lost
        """Up to there the log is read as it stands."""

    def compactions(self) -> int:
        return self._log.compactions()

    def read(self, after: int = 0) -> Iterator[list[Event]]:
        """The events above `after`. Raises `Compacted` where some that were read before should not
        have been: then begin anew."""
        gaps: list[int] = []

        def missing(first: int, last: int, why: str) -> None:
            gaps.append(last)

        while True:
            for events in self._log.read(after) if after < self.lost else ():
                events = [event for event in events if event.offset <= self.lost]
                if not events:
                    break
                after = events[-1].offset
                yield events
            begun = after = max(after, self.lost)
            for events in self._log.read_originals(after, missing):
                if gaps:
                    break
                after = events[-1].offset
                yield events
            if not gaps:
                return
            is_beginning = after == begun == self.lost
            self.lost = self._log.stretch(gaps[-1])
            gaps.clear()
            if not is_beginning:
                raise Compacted("originals are lost after some that are not")


class Past:
    """Looks into the past of a log, with snapshots in `directory`; "" keeps none.

    `redacted` tells by which event all was taken out of the log that was to be; None while it is
    not, or where nobody knows.
    """

    def __init__(
        self, log: Log, directory: str, host: Host, redacted: Callable[[], int | None] = int
    ) -> None:
        self._log = log
        self._redacted = redacted
        self._begun = 0
        """The last event there was when the last fold began."""
        self._directory = directory
        self._host = host

    def state(self, moment: Moment, progress: Progress = unseen) -> tuple[State, int]:
        """(all projections as of that moment, the last event of which the original is lost: what
        was forgotten since, and had begun before it, is not there).

        `progress` hears (events folded, in all). Raises `Damaged`, if that comes before it.
        """
        self._begun = self._log.head()
        head = min(self._begun, moment.offset)
        base = self._newest(moment)
        source = Originals(self._log, base.head.lost if base is not None else 0)
        state = self._on(base, source)
        while True:
            try:
                since = state.offset
                is_whole = False
                for events in _up_to(moment, source.read(state.offset)):
                    if is_whole:
                        state = self._rest(state, source)
                    state.apply(events)
                    progress(state.offset - since, head - since)
                    is_whole = not events[-1].more
                if base is not None and not state.since:
                    self.drop()
                return state, source.lost
            except Compacted:
                self.drop()
                state.begin_anew()

    def keep(self) -> None:
        """Have snapshots all along the log."""
        newest = self._newest(Moment(self._log.head()))
        if self._log.head() < _next(newest):
            if newest is not None:
                newest.close()
            return
        state, _ = self.state(Moment(self._log.head()))
        state.close()

    def drop(self) -> None:
        """Remove all snapshots; who reads them still has them open."""
        if self._heads():
            self._locked(self._remove_others)

    def _on(self, base: Snapshot | None, source: Originals) -> State:
        state = State(base, source)
        if base is None:
            state.begin_anew()
        # There are fewer than events up to the next snapshot, and most of those are about them.
        state.jobs.load_live()
        return state

    # ---- snapshots

    def _newest(self, moment: Moment) -> Snapshot | None:
        """The newest one that is not past the moment; None if that is not to be believed."""
        names = self._heads()
        names = names[: bisect_right(names, moment.offset, key=_offset)]
        if moment.at < LATEST:
            names = names[: bisect_right(names, moment.at, key=self._at)]
        return self._load(names[-1]) if names else None

    def _heads(self) -> list[str]:
        if not self._directory:
            return []
        return sorted(name for name in self._host.names(self._directory) if name.startswith(PAST))

    def _head(self, name: str) -> Head | None:
        return snapshot.read_head(os.path.join(self._directory, name), self._host)

    def _at(self, name: str) -> Instant:
        head = self._head(name)
        return head.statistics.at if head is not None else ""

    def _load(self, name: str) -> Snapshot | None:
        head = self._head(name)
        if head is None or head.bookmark != self._log.imprint(head.offset):
            return None
        try:
            return Snapshot(head, self._directory, self._host)
        except Spoiled:
            return None

    def _rest(self, state: State, source: Originals) -> State:
        """Stand on a new snapshot if one is due and can be kept."""
        if not self._directory or state.offset < _next(state.jobs.base):
            return state
        kept = self._locked(lambda: self._save(state, source.lost))
        if kept is None:
            return state
        state.close()
        # It refers to itself, and a command collects no garbage.
        state.jobs.rows.clear()
        return self._on(kept, source)

    def _save(self, state: State, lost: int) -> Snapshot | None:
        """Keep a snapshot of `state`, if it stands on the newest one there is."""
        names = self._heads()
        newest = self._load(names[-1]) if names else None
        since = 0
        if newest is not None:
            since = newest.offset
            newest.close()
        imprint = self._log.imprint(state.offset)
        redacted = self._redacted()
        # What was folded may be what was to be taken out meanwhile.
        is_clean = redacted is not None and redacted <= self._begun
        if not imprint or since != state.since or not is_clean:
            return None
        # What is not to be believed, and what a crash has left of one that was never finished.
        self._remove_others(names if newest is not None else ())
        head = keeping.write(state, imprint, self._directory, self._host, lost=lost)
        return Snapshot(head, self._directory, self._host)

    def _remove_others(self, heads: Collection[str] = ()) -> None:
        """Remove what was not written together with one of these heads."""
        marks = {name.removeprefix(PAST) for name in heads}
        keeping.remove(
            self._directory,
            self._host,
            lambda name: name != _LOCK and name.partition("-")[2] not in marks,
        )

    def _locked(self, act: Callable[[], T]) -> T | None:
        """What `act` returns; None where somebody else is at it, or it cannot be: nothing here is
        more than a cache."""
        host = self._host
        try:
            for directory in (os.path.dirname(self._directory), self._directory):
                if host.make_directory(directory):
                    host.sync_directory(os.path.dirname(directory))
            lock = host.hold(os.path.join(self._directory, _LOCK))
            if lock is None:
                return None
            try:
                return act()
            finally:
                host.close(lock)
        except (OSError, Spoiled, QueuectlError):
            return None


def _up_to(moment: Moment, pieces: Iterable[list[Event]]) -> Iterator[list[Event]]:
    """Events up to a moment, and to the end of the batch that it is in: nobody ever saw a part."""
    more = False
    for events in pieces:
        count = len(events)
        if not moment.has(events[-1]):
            count = sum(map(moment.has, events))
            while count < len(events) and (events[count - 1].more if count else more):
                count += 1
        if count:
            yield events[:count]
        more = events[-1].more
        if count < len(events) or (moment.offset <= events[-1].offset and not more):
            return


def _offset(name: str) -> int:
    return int(name.removeprefix(PAST).partition("-")[0])


def _next(base: Snapshot | None) -> int:
    """Where the next snapshot is due."""
    if base is None:
        return _SPAN
    live = sum(count for state, count in base.head.counts.items() if state not in FINISHED)
    return base.offset + max(_SPAN, _SPAN_LIVE * live, base.offset // _SPAN_SHARE)
