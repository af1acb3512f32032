"""Compaction: sealed segments are rewritten without the events that nobody needs any more.

Which those are is for the caller to say; here nobody knows what a job is. Before anything leaves
the log, the whole segment is in the archive. Segments are taken from the oldest on, each new one is
put in place before the next is looked at, and a crash at any point leaves a log that says the same.
Appends go on meanwhile: the log's own lock is not taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

from queuectl.engines.file.content import content_of
from queuectl.engines.file.draft import Draft, drafted
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.segments import counting
from queuectl.errors import LockTimedOut, QueuectlError
from queuectl.events.codec import Header
from queuectl.events.vocabulary import Event, LogCompacted
from queuectl.instants import Instant

_MAKING = "compact-"
"""Begins the names of files in the making: other than those that appends make and clear up."""
_NOTE_DIGITS = 20
Progress = Callable[[int, int], None]


class Forgetting(Protocol):
    """Knows which events may leave the log."""

    known: int
    """The last event that it knows of."""

    @property
    def forgotten(self) -> int:
        """How much is forgotten of what it was asked about, in a measure of its own. Noted down
        when a compaction is over: what is forgotten later is what the next one may find."""

    def going(self, events: Sequence[Event]) -> list[bool]:
        """Of each whether it may go; asked piece by piece, in the order of the log."""

    def stay(self, events: Iterable[Event]) -> None:
        """These may go, and stay: too little of their segment would go with them."""

    def summary(self, events: Sequence[Event]) -> LogCompacted:
        """The fact that stands for these from now on."""


class Rewriting(NamedTuple):
    """One file that was put in the place of some, or would be."""

    file: str
    first: int
    last: int
    """The events it stands for."""
    segments: int
    """How many files it takes the place of."""
    bytes_before: int
    bytes_after: int
    events_removed: int
    archives: int
    """How many files it added to the archive."""
    archive_bytes: int


def compact(
    log: FileLog,
    forgetting: Forgetting,
    *,
    until: int,
    least_share: float = 0.0,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Iterator[Rewriting]:
    """Rewrite what gains by it, and merge small neighbours; gives each as it is done.

    Only segments of which no event lies past `until` are touched, and only those of which
    `least_share` (0 to 1) of the bytes would go. Raises `LockTimedOut` where another compaction
    is at work, `Damaged` where a segment does not verify, and `NoSpace`: then what was put in
    place so far stays, and nothing else has changed.
    """
    run = _Compaction(log, forgetting, until, least_share, dry_run, progress)
    if dry_run:
        yield from run.rewritings()
        return
    with holding(log) as fd:
        clear_up(log)
        try:
            yield from run.rewritings()
        finally:
            run.settle()
        note = b"%0*d\n" % (_NOTE_DIGITS, forgetting.forgotten)
        with suppress(OSError):
            log.host.write_at(fd, note, 0)


def noted(log: FileLog) -> int:
    """How much was forgotten as of the last compaction; 0 where that is not known."""
    try:
        fd = log.host.open(_lock_path(log), os.O_RDONLY)
        try:
            note = log.host.read_at(fd, _NOTE_DIGITS + 1, 0)
        finally:
            log.host.close(fd)
    except OSError:
        return 0
    return int(note) if note[:-1].isdigit() and note.endswith(b"\n") else 0


def expire(log: FileLog, before: Instant) -> list[int]:
    """Take segments out of the archive whose last event is older; returns which.

    What was taken out of the log with them is gone for ever.
    """
    with holding(log):
        expired = expiring(log, before)
        log.archive.remove(expired)
        return expired


def expiring(log: FileLog, before: Instant) -> list[int]:
    """Which segments `expire` would take out of the archive; changes nothing."""
    headers = log.segments.headers()
    kept = log.archive.list()
    found = []
    for first, following in pairwise(sorted({*kept, *counting(headers)})):
        if first not in kept:
            continue
        header = headers.get(first)
        ends = headers.get(following) or log.archive.header(following)
        # The first line of each segment has the time of the last event before it.
        if ends is None or ends.at >= before or (header and not header.covers):
            break
        found.append(first)
    return found


@contextmanager
def holding(log: FileLog, patience_s: float = 0.0) -> Iterator[int]:
    """Keep others from rewriting sealed segments meanwhile, by a lock on the file that is given;
    waits at most so long for who does. Raises `LockTimedOut`."""
    fd = log.host.hold_within(_lock_path(log), patience_s)
    if fd is None:
        raise LockTimedOut(f"somebody else is compacting the log {log.directory}: let them finish")
    try:
        yield fd
    finally:
        log.host.close(fd)


def _lock_path(log: FileLog) -> str:
    return os.path.join(log.directory, "COMPACTING")


def clear_up(log: FileLog) -> None:
    """Take away what a rewriting that was interrupted has left; to be held meanwhile."""
    log.segments.remove_leftovers(_MAKING)
    log.archive.remove_leftovers()
    headers = log.segments.headers()
    firsts = counting(headers)
    covered = [first for first in headers if first not in firsts]
    for first in {max(one for one in firsts if one < other) for other in covered}:
        # Its name may be in memory only, after a sync that failed: it is made once more before
        # those are removed that it stands for.
        put(log, first, log.segments.whole(first))
    log.segments.remove(covered)


def put(log: FileLog, first: int, content: Iterable[bytes]) -> int:
    """Put a segment in the place of the one of that name; returns its bytes."""
    return log.segments.put(first, content, making=_MAKING)


class _Compaction:
    """One run over a log."""

    def __init__(
        self,
        log: FileLog,
        forgetting: Forgetting,
        until: int,
        least_share: float,
        dry_run: bool,
        progress: Progress | None,
    ) -> None:
        self._log = log
        self._segments = log.segments
        self._archive = log.archive
        self._forgetting = forgetting
        self._until = min(until, forgetting.known)
        self._least_share = least_share
        self._dry_run = dry_run
        self._progress = progress
        self._number = log.compactions()
        self._archived = log.archive.list()
        self._parts: list[_Part] = []
        """What is to become one file …"""
        self._draft: Draft | None = None
        """… and that file."""
        self._archiving: Callable[[], int] = int
        """Waits until what is put into the archive beside is there; one file at a time."""

    def settle(self) -> None:
        """Leave nothing at work that others could meet: before they may compact."""
        with suppress(QueuectlError, OSError):
            self._archiving()

    def rewritings(self) -> Iterator[Rewriting]:
        headers = self._segments.headers()
        active = self._log.active()
        seams = [
            (first, following)
            for first, following in pairwise(counting(headers))
            if first < active and following - 1 <= self._until
        ]
        total = sum(self._log.durable_size(first) for first, _ in seams)
        done = 0
        for first, following in seams:
            part = self._part(first, following, headers[following])
            if part is None or not self._takes(part):
                yield from self._flush()
            if part is not None and not self._parts:
                self._draft, self._parts = part.draft, [part]
            done += self._log.durable_size(first)
            if self._progress is not None:
                self._progress(done, total)
        yield from self._flush()

    def _part(self, first: int, following: int, header: Header | None) -> _Part | None:
        """What the segment becomes; None where it stays as it is."""
        content = content_of(self._log, first)
        draft, removed = drafted(content, self._forgetting.going, self._forgetting.summary)
        content.check_seam(following, header)
        # One that was never rewritten is archived again, whatever bears its name there already.
        rewritten = bool(content.header.sealed_sha256)
        is_archived = any(first <= kept <= content.offset for kept in self._archived)
        sha256 = "" if rewritten and is_archived else content.sha256
        gone = [event for event in removed if type(event) is not LogCompacted]
        gain = content.size - draft.size
        if gone and gain > 0 and gain >= self._least_share * content.size:
            # To compress it takes as long as to look through the next one.
            keeping = self._keep(first, sha256) if sha256 else None
            return _Part(draft, content.size, len(gone), sha256, keeping)
        self._forgetting.stay(gone)
        if not rewritten:
            return None
        # It may still become one with its neighbours.
        again = content_of(self._log, first)
        draft, _ = drafted(again, _none_going, self._forgetting.summary)
        return _Part(draft, content.size, 0, sha256, None)

    def _keep(self, first: int, sha256: str) -> Callable[[], int]:
        """Begin to put a segment into the archive; returns what waits for its size there."""
        if self._dry_run:
            return int
        self._archiving()
        pieces = self._segments.whole(first)
        self._archiving = self._log.host.beside(partial(self._archive.keep, first, pieces, sha256))
        return self._archiving

    def _takes(self, part: _Part) -> bool:
        """Make the segment one with those before it, if together they are not too big."""
        if self._draft is None:
            return False
        joined = self._draft.joined(part.draft, self._forgetting.summary)
        fits = joined.size <= self._log.segment_bytes_max
        if fits:
            self._draft = joined
            self._parts.append(part)
        return fits

    def _flush(self) -> Iterator[Rewriting]:
        """Put what was collected into one file."""
        draft, self._draft = self._draft, None
        parts, self._parts = self._parts, []
        if draft is None or (len(parts) < 2 and not parts[0].removed):
            return
        first, *others = draft.firsts
        to_archive = [part for part in parts if part.sha256]
        self._number += 1
        content = draft.pieces(self._number)
        archive_bytes = 0
        for part in to_archive:
            keeping = part.keeping or self._keep(part.draft.firsts[0], part.sha256)
            archive_bytes += keeping()
        if self._dry_run:
            size = sum(map(len, content))
        else:
            size = put(self._log, first, content)
            self._segments.remove(others)
        yield Rewriting(
            self._segments.path(first),
            first,
            draft.header.covers,
            len(parts),
            sum(part.size for part in parts),
            size,
            sum(part.removed for part in parts),
            len(to_archive),
            archive_bytes,
        )


def _none_going(events: Sequence[Event]) -> list[bool]:
    return [False] * len(events)


class _Part(NamedTuple):
    """One segment, on the way to becoming a file or a part of one."""

    draft: Draft
    size: int
    """Bytes it takes now."""
    removed: int
    """Events that leave it."""
    sha256: str
    """Of what has to go into the archive first; empty where that is there."""
    keeping: Callable[[], int] | None
    """Waits until it is there, where that was begun."""
