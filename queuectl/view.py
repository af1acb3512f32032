"""What can be asked of a queue as of one moment, wherever its projections come from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from queuectl import instants
from queuectl.domain import payloads
from queuectl.domain.job import Job
from queuectl.errors import Damaged
from queuectl.events import vocabulary as v
from queuectl.events.log import Log, Missing, ignored
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import runs
from queuectl.projections.runs import Run
from queuectl.projections.state import State


class View:
    """What can be asked of all projections, as of one moment or another."""

    host: Host
    home: Home
    log: Log
    known: State
    """All projections as of the last look, for who looks often and knows when."""
    damage: Damaged | None
    """Where reading ended with `salvage`, because the log does not verify."""

    @property
    def state(self) -> State:
        """All projections as of the moment that is looked at."""
        return self.known

    def get(self, job: str) -> Job:
        """The job with this id, or whose id alone starts so. Raises `NotFound` or `Invalid`."""
        return self.state.jobs.named(job)

    def whole(self, spec: v.JobEnqueued) -> v.JobEnqueued:
        """A job as it was given, where the log has only the beginning of it. Raises `PayloadLost`
        and `OSError` where the rest cannot be read."""
        return payloads.whole(spec, self.log.kept)

    def jobs(
        self,
        *,
        states: Iterable[str] = (),
        queues: Iterable[str] = (),
        tags: Iterable[str] = (),
        where: Callable[[Job], bool] | None = None,
        newest_first: bool = False,
        beyond: int | None = None,
    ) -> Iterator[Job]:
        """Jobs in the order they were enqueued, or the newest first; an empty filter lets every
        job through, and `where` those for which it is true. With `beyond`, only those that come
        after the one which that event enqueued."""
        state, states = self.state, frozenset(states)
        if states and not any(state.counts.get(name) for name in states):
            # To find that out by looking would take going through all there are.
            return iter(())
        return state.jobs.select(states, queues, tags, where, newest_first, beyond)

    def life(self, job: Job) -> Iterator[v.Event]:
        """The events of a job that there is, since it was enqueued."""
        # While there is a job, none of its events leaves the log.
        return self.log.read_kept(job.id, job.spec.offset, job.offset)

    def runs(self, job: Job) -> list[Run]:
        """Its runs, oldest first, over all its rounds."""
        told = itertools.chain.from_iterable(runs.of([list(self.life(job))]))
        return sorted(told, key=lambda run: run.token)

    def history(self, job: str, missing: Missing = ignored) -> list[v.Event]:
        """Every event about the job with exactly this id, oldest first; also a purged one's.
        `missing(first, last, why)` hears where the archive is not what it should be."""
        raise NotImplementedError

    def now(self) -> instants.Instant:
        """The time by which jobs are due."""
        raise NotImplementedError

    def time(self) -> instants.Instant:
        """The time it is, whatever moment is looked at."""
        return instants.from_us(self.host.now_us())

    def is_alive(self, worker: str) -> bool | None:
        """Whether that worker's process lives; None where nobody can know."""
        raise NotImplementedError


class PastView(View):
    """A job queue as it was at an earlier moment."""

    def __init__(self, queue: View, state: State, at: instants.Instant, lost: int) -> None:
        self.host = queue.host
        self.home = queue.home
        self.log = queue.log
        self.known = state
        self.damage = queue.damage
        self._at = at
        self.lost = lost
        """The last event of which the original is lost: jobs that had begun before it and were
        forgotten since are missing."""

    def now(self) -> instants.Instant:
        """The moment that is looked at."""
        return self._at

    def is_alive(self, worker: str) -> bool | None:
        """Nobody knows: a log does not say when a process was killed."""
        return None

    def history(self, job: str, missing: Missing = ignored) -> list[v.Event]:
        """As above, up to the moment that is looked at."""
        return list(self.log.read_about(job, missing, last=self.known.offset))

    def life(self, job: Job) -> Iterator[v.Event]:
        """As above; there need not be that job any more."""
        return self.log.read_about(job.id, after=job.spec.offset - 1, last=job.offset)

    def close(self) -> None:
        """Give back files."""
        self.known.close()
