"""Which events may leave the log, because nobody will ask for them again: those of jobs that were
forgotten, of workers that are gone, and renewals that later ones replaced. Knows no storage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from queuectl.events import vocabulary as v
from queuectl.projections import statistics
from queuectl.projections.state import State


class Obsolescence:
    """Judges events by what has become of their jobs and workers as of `state`.

    The jobs that were enqueued at the offsets in `without` are taken for forgotten.
    """

    summary = staticmethod(statistics.summary)
    """The event that stands for those that were taken out."""

    def __init__(self, state: State, without: Collection[int] = ()) -> None:
        self._workers = state.workers.rows
        self.known = state.offset
        """The last event that it knows of; later ones stay."""
        self._begins = bytearray(self.known + 1)
        """By offset 1 where a job was enqueued that there is: a byte an event, beside which to look
        each job up would take most of the time of a compaction."""
        for offset in state.jobs.offsets():
            self._begins[offset] = 1
        for offset in without:
            self._begins[offset] = 0
        self._enqueued = 0
        """How many jobs have their beginning in what has been passed, taken out of it or not."""
        self._there: set[str] = set()
        """The jobs that there are, of those whose beginning has been passed."""
        self._heard = {row.heard for row in self._workers.values()}
        """What the workers that are there wrote last: it tells how long they have been silent."""
        self._staying_jobs: set[str] = set()
        self._staying_workers: set[str] = set()

    @property
    def forgotten(self) -> int:
        """How many jobs that are forgotten began in what has been passed."""
        return self._enqueued - len(self._there)

    def going(self, events: Sequence[v.Event]) -> list[bool]:
        """Of each whether nothing will be missing without it.

        To be asked of the whole log in its order: the last event of a job goes only if all before
        went.
        """
        begins, there, heard = self._begins, self._there, self._heard
        staying, known = self._staying_jobs, self.known
        self._enqueued += [*map(type, events)].count(v.JobEnqueued)
        flags = []
        for event in events:
            offset = event.offset
            if offset > known:
                flags.append(False)
            elif isinstance(event, v.JobRedacting | v.JobRedacted):
                # Whoever verifies has to know of them before what they are about.
                flags.append(False)
            elif isinstance(event, v.JobEvent):
                id = event.job
                if begins[offset]:
                    there.add(id)
                # One that was enqueued again under the same id needs only its later events. One
                # whose beginning is not in the log any more was forgotten before.
                if id in there:
                    flags.append(False)
                    continue
                if offset in heard:
                    staying.add(id)
                flags.append(id not in staying)
            else:
                flags.append(self._is_over(event))
        return flags

    def _is_over(self, event: v.Event) -> bool:
        """Whether something about a worker is of no interest any more."""
        match event:
            case v.LogCompacted():
                self._enqueued += event.enqueued
            case v.LeaseRenewed():
                row = self._workers.get(event.worker)
                return row is None or event.offset < row.lease
            case v.WorkerStarted() | v.WorkerStopRequested() | v.WorkerStopped():
                gone = event.worker not in self._workers
                return gone and event.worker not in self._staying_workers
        return False

    def stay(self, events: Iterable[v.Event]) -> None:
        """These may go, and are left where they are.

        So what ends their job or worker has to stay too: it would come to life again.
        """
        for event in events:
            match event:
                case v.JobEvent():
                    self._staying_jobs.add(event.job)
                case v.WorkerStarted() | v.WorkerStopRequested():
                    self._staying_workers.add(event.worker)
