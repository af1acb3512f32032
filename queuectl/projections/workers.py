"""The workers that have started and not stopped, and what each of them holds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from queuectl.domain.job import Job
from queuectl.events import vocabulary as v


class WorkerRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One worker as the log knows it; whether it lives, only its lock file tells."""

    id: str
    host: str
    boot: str
    pid: int
    slots: int
    queues: list[str] | None
    started_at: str
    lease: int
    """The event that last said how long its leases hold: its start or a renewal."""
    heard: int
    """The last event that it wrote."""
    heartbeat_at: str
    """When it wrote it."""
    stop_requested: bool = False
    holding: dict[int, Job] = msgspec.field(default_factory=dict)
    """The jobs it runs, by the tokens of its claims."""

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs of that queue, as long as it lives."""
        return not self.stop_requested and (self.queues is None or queue in self.queues)


class Workers:
    def __init__(self) -> None:
        self.rows: dict[str, WorkerRow] = {}

    def apply(self, event: v.Event) -> None:
        match event:
            case v.WorkerStarted():
                self.rows[event.worker] = WorkerRow(
                    id=event.worker,
                    host=event.host,
                    boot=event.boot,
                    pid=event.pid,
                    slots=event.slots,
                    queues=event.queues,
                    started_at=event.at,
                    lease=event.offset,
                    heard=event.offset,
                    heartbeat_at=event.at,
                )
            case v.WorkerStopped():
                self.rows.pop(event.worker, None)
            case v.WorkerStopRequested() if event.worker in self.rows:
                self.rows[event.worker].stop_requested = True
            case v.LeaseRenewed() if event.worker in self.rows:
                self.rows[event.worker].lease = event.offset
                self.heard({event.worker: event})

    def holds(self, job: Job) -> None:
        """A worker has claimed `job`."""
        row = self.rows.get(job.worker)
        if row is not None:
            row.holding[job.token] = job

    def heard(self, last: Mapping[str, v.AttemptEvent | v.LeaseRenewed]) -> None:
        """Workers have written something; `last` has by worker the last of it."""
        for worker, event in last.items():
            row = self.rows.get(worker)
            if row is not None:
                row.heard = event.offset
                row.heartbeat_at = event.at

    def lets_go(self, event: v.AttemptEvent) -> None:
        """A worker has written about a run; all but a claim are the end of one."""
        row = self.rows.get(event.worker)
        if row is not None:
            row.holding.pop(event.token, None)
