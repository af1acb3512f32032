"""Tidying a queue up, as its settings say: forgets old jobs, deletes what jobs printed that are
gone, keeps a snapshot, compacts the log, lets the archive expire, and finishes what a redaction
left undone. Workers have it done now and then, people whenever they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from queuectl.domain.retention import Overdue, retentions
from queuectl.engines.file.compaction import Rewriting
from queuectl.errors import NotFound, Rejected
from queuectl.jobqueue import Queue
from queuectl.runtime.clearing import Cleared, clear
from queuectl.runtime.compacting import compact, expire, is_worthwhile, sweep
from queuectl.runtime.redacting import finish

_FORGET_AT_A_TIME = 1_000


class Tidied(NamedTuple):
    """What was done, or would be."""

    forgotten: int
    """Jobs."""
    cleared: Cleared
    rewritten: list[Rewriting]
    expired: int
    """Files of the archive."""
    swept: int
    """Files with what was too long for the log."""


def tidy(
    queue: Queue,
    *,
    idly: bool = False,
    thrifty: bool = False,
    dry_run: bool = False,
    tell: Callable[[Rewriting], None] = lambda rewriting: None,
    progress: Callable[[int, int], None] | None = None,
) -> Tidied:
    """Tidy up; `tell` hears of each file of the log as it is put in place.

    `idly` compacts only if many jobs were forgotten or purged since the last time, because it reads
    all of the log. Raises what the parts do; what is done by then stays done.
    """
    queue.catch_up()
    if queue.damage is not None:
        raise queue.damage
    if not dry_run:
        finish(queue)
    overdue = list(_overdue(queue))
    forgotten = len(overdue) if dry_run else _forget(queue, overdue)
    without = [job.offset for job in overdue] if dry_run else ()
    cleared = clear(queue, without=without, dry_run=dry_run)
    if not dry_run:
        # First this, so that compaction takes out only what a start need not read.
        queue.keep_snapshot()
    rewritten = []
    compacts = not idly or is_worthwhile(queue)
    if compacts:
        for rewriting in compact(
            queue, thrifty=thrifty, dry_run=dry_run, without=without, progress=progress
        ):
            rewritten.append(rewriting)
            tell(rewriting)
    expired = expire(queue, dry_run=dry_run)
    swept = sweep(queue) if (compacts or expired) and not dry_run else 0
    return Tidied(forgotten, cleared, rewritten, expired, swept)


def _overdue(queue: Queue) -> Iterator[Overdue]:
    state = queue.state
    for name, retention in retentions(state.settings, queue.now()).items():
        count = state.counts[name]
        if count:
            yield from retention.overdue(queue.jobs(states=[name]), count)


def _forget(queue: Queue, jobs: list[Overdue]) -> int:
    """Purge jobs that the retention settings do not keep; returns how many."""
    ids = [job.id for job in jobs]
    starts = range(0, len(ids), _FORGET_AT_A_TIME)
    return sum(_prune(queue, ids[start : start + _FORGET_AT_A_TIME]) for start in starts)


def _prune(queue: Queue, ids: list[str]) -> int:
    try:
        return len(queue.prune(*ids, reason="retention"))
    except (Rejected, NotFound):
        # Somebody has retried or purged one meanwhile: the next round sees to the others.
        return 0
