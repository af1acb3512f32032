"""Repairing the log of a queue, and what depends on it: refuses beside a living worker, drops what
was derived from lost events, and lets jobs run again whose end is lost. Knows no formats."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple, Self

from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.engines.file.mending import Plan
from queuectl.engines.file.repair import repairing
from queuectl.errors import Rejected
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.host import Host
from queuectl.jobqueue import Queue

_FILES_TOLD = 100
_LOST = "its end was lost with damaged bytes"


class Done(NamedTuple):
    """What came of a repair."""

    aside: str
    """Where the files are as they were."""
    expired: int
    """How many jobs were held by workers that the log no longer knows."""


class Repairing:
    """A queue that nobody else uses meanwhile. Raises `Rejected` where a worker runs."""

    def __init__(self, place: str, host: Host | None = None) -> None:
        self._host = host or Host()
        self._home = Home(place)
        self._place = place
        self._held = ExitStack()
        self._home.find(self._host)
        self._log = FileLog(
            self._home.log, self._host, archive=self._home.archive, payloads=self._home.payloads
        )

    def __enter__(self) -> Self:
        self._repair = self._held.enter_context(repairing(self._log))
        try:
            self._refuse_workers()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        self._log.close()

    def _refuse_workers(self) -> None:
        for name in self._host.names(self._home.run):
            if "." not in name and self._host.is_held(self._home.worker_lock(name)):
                raise Rejected(f"worker {name} is running: stop it first (queuectl worker stop)")

    def plan(self) -> Plan:
        """What would be done."""
        return self._repair.plan(self._host.actor())

    def carry_out(self, plan: Plan) -> Done:
        """Do it. Afterwards the queue can be used by others again."""
        # They may know of events that are lost.
        self._host.remove_tree(self._home.snapshots)
        aside = self._repair.carry_out(plan)
        self._held.close()
        with Queue(self._place, create=False, host=self._host) as queue:
            return Done(aside, self._follow_up(queue, plan))

    def _follow_up(self, queue: Queue, plan: Plan) -> int:
        """Say in the log what was done, and give up runs whose worker it no longer knows."""
        names = [mending.file.rpartition("/")[2] for mending in plan.mendings]
        files = ", ".join(names[:_FILES_TOLD]) + (", …" if len(names) > _FILES_TOLD else "")
        told = v.LogRepaired(
            repaired_at=queue.now(), actor=queue.actor, reason=f"repaired: {files}"
        )
        queue.transact(lambda: [Batch([told])])
        workers = queue.state.workers.rows
        lost = [job for job in queue.jobs() if job.held and job.worker not in workers]
        now = queue.now()
        queue.submit([c.Expire(job=job.id, token=job.token, now=now, reason=_LOST) for job in lost])
        return len(lost)
