"""What can be known of a queue: its log, folded, with the help of snapshots; changes nothing but
those. Knows neither terminal nor processes."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from queuectl import instants
from queuectl.domain import payloads
from queuectl.domain.job import Job
from queuectl.engines.file import FileLog
from queuectl.engines.file.pinning import Pinned, pin
from queuectl.engines.tables import Spoiled
from queuectl.errors import Compacted, Damaged, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.log import Log, Missing, ignored
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import runs, snapshot
from queuectl.projections.runs import Run
from queuectl.projections.snapshot import Snapshot
from queuectl.projections.state import State

_MANY_EVENTS = 5_000
"""To fold so many takes longer than to keep a snapshot of what came of them."""


_ROWS_MAX = 100_000
"""Some 100 MB of jobs."""


class QueueView:
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
        self.damage: Damaged | None = None
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
        """All projections as of the last look, for who looks often and knows when."""
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
            return snapshot.save(
                self.known, bookmark, self.home, self.host, outdated=self._is_redacted_since
            )
        except (OSError, Spoiled, QueuectlError):
            return False

    def _is_redacted_since(self) -> bool:
        """Whether values are to be taken out that are known here."""
        later = self.log.read(self.known.offset)
        return any(isinstance(event, v.JobRedacting) for events in later for event in events)

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
                    self._read += len(events)
                    if len(self.known.jobs.rows) > rows_max and self.keep_snapshot():
                        self.use_snapshot()
                        rows_max = max(rows_max, 2 * len(self.known.jobs.rows))
                return
            except Compacted:
                self.known.begin_anew()

    def get(self, job: str) -> Job:
        """The job with this id, or whose id alone starts so. Raises `NotFound` or `Invalid`."""
        return self.state.jobs.named(job)

    def jobs(
        self,
        *,
        states: Iterable[str] = (),
        queues: Iterable[str] = (),
        tags: Iterable[str] = (),
        where: Callable[[Job], bool] | None = None,
        newest_first: bool = False,
    ) -> Iterator[Job]:
        """Jobs in the order they were enqueued, or the newest first; an empty filter lets every
        job through, and `where` those for which it is true."""
        return self.state.jobs.select(
            states=states, queues=queues, tags=tags, where=where, reverse=newest_first
        )

    def history(self, job: str, missing: Missing = ignored) -> list[v.Event]:
        """Every event about the job with exactly this id, oldest first; also a purged one's.
        `missing(first, last, why)` hears where the archive is not what it should be."""
        return list(self.log.read_about(job, missing))

    def whole(self, spec: v.JobEnqueued) -> v.JobEnqueued:
        """A job as it was given, where the log has only the beginning of it. Raises `PayloadLost`
        and `OSError` where the rest cannot be read."""
        return payloads.whole(spec, self.log.kept)

    def runs(self, job: Job) -> list[Run]:
        """The runs of a job that there is, oldest first, over all its rounds."""
        # While there is a job, none of its events leaves the log.
        events = self.log.read_kept(job.id, job.spec.offset, job.offset)
        told = itertools.chain.from_iterable(runs.of([list(events)]))
        return sorted(told, key=lambda run: run.token)

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

    def all_runs(self, events: Iterable[list[v.Event]] | None = None) -> Iterator[list[Run]]:
        """Every run of every job, as `projections.runs.of` tells them; of other events than all
        those that `events` gives."""
        return runs.of(self.events() if events is None else events, self.find_spec)

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
