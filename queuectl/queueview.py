"""What can be known of a queue: its log, folded, with the help of snapshots; changes nothing but
those. Knows neither terminal nor processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Self

from queuectl import instants
from queuectl.domain.job import Job
from queuectl.engines.file import FileLog
from queuectl.engines.file.pinning import Pinned, pin
from queuectl.engines.tables import Spoiled
from queuectl.errors import Compacted, Damaged, Invalid, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.log import LAST, Log, Missing, ignored
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import keeping, runs, snapshot
from queuectl.projections.past import NOW, START, Moment, Past, Progress, unseen
from queuectl.projections.redactions import Redactions
from queuectl.projections.runs import Run
from queuectl.projections.snapshot import Snapshot
from queuectl.projections.state import State
from queuectl.view import PastView, View

_MANY_EVENTS = 5_000
"""To fold so many takes longer than to keep a snapshot of what came of them."""
_ROWS_MAX = 100_000
"""Some 100 MB of jobs."""


class QueueView(View):
    """A job queue in one data directory, to look at.

    `create=False` refuses to make one where there is none (`NotFound`); None makes it with the
    first append, so that what is refused leaves nothing behind. With `salvage`, reading a damaged
    log goes as far as the damage, which `damage` then tells; nothing can be changed. With `log`,
    the events are kept there instead, and `place` only names where output goes.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] = "./data",
        *,
        create: bool | None = True,
        salvage: bool = False,
        host: Host | None = None,
        log: Log | None = None,
    ) -> None:
        self.host = host or Host()
        self.home = Home(os.fspath(place))
        self.damage = None
        self.heard: list[Callable[[Sequence[v.Event]], None]] = []
        """Who else is told of events once they are folded in. Where the fold has to begin anew,
        of some of them again."""
        self._salvage = salvage
        self._pid = self.host.pid()
        self._clock = (0, 0.0)
        self._is_made = True
        self._has_home = log is None
        if log is None:
            self._open_home(create)
            home = self.home
            log = FileLog(home.log, self.host, archive=home.archive, payloads=home.payloads)
        self.log = log
        self.known = self._first_look()
        self._read = 0
        """How many events had to be folded in."""

    def _open_home(self, create: bool | None) -> None:
        if create is False or self.host.exists(self.home.log):
            self.home.find(self.host)
        elif create:
            self.home.make(self.host)
        else:
            self._is_made = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back files; the queue itself stays."""
        if self._read >= _MANY_EVENTS:
            self.keep_snapshot()
        self.known.close()
        self.log.close()

    # ---- snapshots

    def _first_look(self) -> State:
        """What the newest snapshot knows, if it is one of this log."""
        found = self._newest_snapshot()
        if found is None or self.log.resume(found.head.bookmark):
            return State(found, self.log)
        found.close()
        return State(None, self.log, replaces=found.offset)

    def _newest_snapshot(self) -> Snapshot | None:
        return snapshot.load(self.home, self.host) if self._has_home else None

    def keep_snapshot(self) -> bool:
        """Save what is known, so that others need not fold it again; whether that was done.

        It is only a cache: where it cannot be, nothing is lost.
        """
        bookmark = self.log.bookmark() if self._has_home and self.damage is None else ""
        if not bookmark:
            return False
        try:
            return keeping.save(
                self.known, bookmark, self.home, self.host, outdated=self._is_outdated
            )
        except (OSError, Spoiled, QueuectlError):
            return False

    def _is_outdated(self) -> bool:
        """Whether values may be known here that were to be taken out."""
        redacted = self._redacted_by()
        return redacted is None or redacted > self.known.offset

    def _redacted_by(self) -> int | None:
        return self._redactions.done_by(self.log)

    @cached_property
    def _redactions(self) -> Redactions:
        return Redactions(self.known)

    def use_snapshot(self) -> None:
        """Leave finished jobs to the newest snapshot, where it is newer than what is known."""
        found = self._newest_snapshot()
        if found is None:
            return
        newer = self.known.since < found.offset <= self.known.offset
        if newer and self.log.holds(found.head.bookmark):
            self.known.evict(found)
        else:
            found.close()

    # ---- reading

    @property
    def state(self) -> State:
        """All projections, caught up with the log."""
        self.catch_up()
        return self.known

    def catch_up(self, *, sparing: bool = False) -> None:
        """Fold in what has been appended since the last look.

        `sparing` leaves what is over to snapshots on the way: then the memory for it does not grow
        with the log, but a long one takes half as long again, the first time. Raises `Damaged`
        where the log does not verify; what comes before is folded in.
        """
        if self.damage is not None:
            return
        try:
            self._follow(_ROWS_MAX if sparing else sys.maxsize)
        except Damaged as damage:
            if not self._salvage:
                raise
            self.damage = damage

    def _follow(self, rows_max: int) -> None:
        while True:
            if not self.known.offset:
                self.known.begin_anew()
            try:
                for events in self.log.read(self.known.offset):
                    self.known.apply(events)
                    self._tell(events)
                    self._read += len(events)
                    if len(self.known.jobs.rows) > rows_max and self.keep_snapshot():
                        self.use_snapshot()
                        rows_max = max(rows_max, 2 * len(self.known.jobs.rows))
                return
            except Compacted:
                self.known.begin_anew()

    def _tell(self, events: Sequence[v.Event]) -> None:
        for hear in self.heard:
            hear(events)

    def at(
        self, moment: Moment, progress: Progress = unseen, *, or_empty: bool = False
    ) -> PastView:
        """The queue as it was at that moment; what was purged since is there.

        `progress` hears (events folded, in all). Raises `Invalid` where the log has not got there
        yet, or had not begun: with `or_empty` there is nothing in it then, at the time when it did.
        """
        head = self.log.head()
        if moment.offset < LAST and moment.offset > head:
            raise Invalid(f"that has not happened yet: the last event is {head}")
        if self.now() < moment.at < instants.LATEST:
            # The clock may have been set back since the last event.
            last = [events[-1].at for events in self.log.read(max(0, head - 1))]
            if not last or last[0] < moment.at:
                raise Invalid(f"that is in the future: it is {self.now()} now")
        state, lost = self.past.state(moment, progress)
        at = moment.at if moment.at < instants.LATEST else state.statistics.last_at
        if not state.offset:
            first = next((events[0] for events in self.log.read_originals()), None)
            if not first or not or_empty:
                began = f"the log begins at {first.at}" if first else "the log is empty"
                raise Invalid(f"nothing had happened by then: {began}")
            at = first.at
        return PastView(self, state, at, lost)

    def between(
        self, after: Moment = START, until: Moment = NOW, missing: Missing = ignored
    ) -> Iterator[list[v.Event]]:
        """What happened after one moment and up to another, as `events` tells it."""
        for events in self.events(self.offset(after), missing):
            within = events
            if after.has(events[0]) or not until.has(events[-1]):
                within = [one for one in events if until.has(one) and not after.has(one)]
            if within:
                yield within
            if not until.has(events[-1]):
                return

    def offset(self, moment: Moment) -> int:
        """One that a moment has; not far from its last."""
        return moment.offset if moment.offset < LAST else self.log.before(moment.at)

    @cached_property
    def past(self) -> Past:
        """Where to look for what was."""
        directory = self.home.past if self._has_home else ""
        return Past(self.log, directory, self.host, self._redacted_by)

    def history(self, job: str, missing: Missing = ignored) -> list[v.Event]:
        """Every event about the job with exactly this id, oldest first; also a purged one's.
        `missing(first, last, why)` hears where the archive is not what it should be."""
        return list(self.log.read_about(job, missing))

    def events(self, after: int = 0, missing: Missing = ignored) -> Iterator[list[v.Event]]:
        """Every event with an offset above `after`, oldest first, in pieces; those included that
        compaction took out, as `Log.read_originals` says.

        Raises `Damaged` as `catch_up` does; `salvage` ends there instead.
        """
        try:
            yield from self.log.read_originals(after, missing)
        except Damaged as damage:
            if not self._salvage:
                raise
            self.damage = damage

    def identity(self) -> str:
        """What tells its log from every other; empty where that is not begun, or cannot say."""
        return self.log.segments.log_of_first() if isinstance(self.log, FileLog) else ""

    def pinned(self) -> Pinned | None:
        """The events as files for another program to read; None where they do not stand in files
        as they were, every one of them."""
        return pin(self.log) if isinstance(self.log, FileLog) else None

    def all_runs(
        self, events: Iterable[list[v.Event]] | None = None, begun: Iterable[Job] = ()
    ) -> Iterator[list[Run]]:
        """Every run of every job, as `projections.runs.of` tells them; of other events than all
        those that `events` gives, with the jobs that had `begun` before."""
        return runs.of(self.events() if events is None else events, self.find_spec, begun)

    def find_spec(self, job: str, offset: int) -> v.JobEnqueued | None:
        """What a job was as of an offset, though it was over then; None where nobody knows."""
        self.catch_up(sparing=True)
        now = self.known.jobs.get(job)
        if now is not None and now.spec.offset < offset:
            return now.spec
        # Purged since, or its name was used again.
        found = None
        for event in self.log.read_about(job):
            if event.offset >= offset:
                break
            if isinstance(event, v.JobEnqueued):
                found = event
        return found

    def is_alive(self, worker: str) -> bool:
        """Whether that worker's process lives on this machine: it holds its lock file."""
        return self.host.is_held(self.home.worker_lock(worker))

    def now(self) -> instants.Instant:
        """The time by which jobs are due. Never behind the log, and it never stands still: a wall
        clock that was set back must not keep waiting what has been due already."""
        at_us, since_s = self._clock
        elapsed_s = self.host.monotonic_s() - since_s
        # Rounded down, so that the two clocks do not overtake each other by turns.
        steady_us = at_us + int(elapsed_s * 1000) * 1000
        wall_us = self.host.now_us()
        last_at = self.known.statistics.last_at
        now = instants.from_us(max(wall_us, steady_us))
        if last_at > now:
            now, wall_us = last_at, instants.to_us(last_at)
        if wall_us >= steady_us:
            self._clock = (wall_us, since_s + elapsed_s)
        return now
