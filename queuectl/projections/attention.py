"""What somebody should look at first: a reading of everything at one moment; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from queuectl import instants
from queuectl.domain.job import DEAD, WAITING
from queuectl.instants import Instant
from queuectl.projections.state import State
from queuectl.projections.workers import WorkerRow

UNSERVED, GONE, SILENT, DEAD_JOBS, PAUSED = "unserved", "gone", "silent", "dead", "paused"


class Concern(NamedTuple):
    """One thing that is not as it should be."""

    kind: str
    """`unserved`: jobs of a queue could run, and no worker takes them. `gone`: a worker whose
    process is there no more. `silent`: one that has not renewed its leases in time. `dead`: jobs in
    the dead-letter queue. `paused`: jobs wait in a queue that is paused."""
    name: str = ""
    """The queue or the worker."""
    jobs: int = 0
    """How many jobs it is about."""
    since: Instant = ""
    """When a worker was last heard of."""


def concerns(
    state: State, now: Instant, is_alive: Callable[[str], bool | None]
) -> Iterator[Concern]:
    """The gravest first."""
    rows = list(state.workers.rows.values())
    serving = [row for row in rows if is_alive(row.id) is not False]
    waiting = {queue: sum(counts[one] for one in WAITING) for queue, counts in state.queues.items()}
    for queue in sorted(waiting):
        if (
            waiting[queue]
            and queue not in state.paused
            and not any(row.serves(queue) for row in serving)
            and state.ready.is_due(queue, now)
        ):
            yield Concern(UNSERVED, queue, waiting[queue])
    for row in rows:
        held = len(row.holding)
        if is_alive(row.id) is False:
            yield Concern(GONE, row.id, held, row.heartbeat_at)
        elif held and _is_silent(row, now, state.settings.lease_ms):
            yield Concern(SILENT, row.id, held, row.heartbeat_at)
    if state.counts[DEAD]:
        yield Concern(DEAD_JOBS, "", state.counts[DEAD])
    for queue in sorted(state.paused):
        if waiting[queue]:
            yield Concern(PAUSED, queue, waiting[queue])


def _is_silent(row: WorkerRow, now: Instant, lease_ms: int) -> bool:
    """Whether its leases may have run out: it renews them several times as often."""
    return instants.between_ms(row.heartbeat_at, now) > lease_ms
