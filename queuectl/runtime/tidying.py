"""Tidying a queue up, as its settings say: forgets old jobs, keeps a snapshot, compacts the log and
lets the archive expire. Workers have it done now and then, people whenever they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from queuectl.domain.retention import retentions
from queuectl.engines.file.compaction import Rewriting
from queuectl.errors import NotFound, Rejected
from queuectl.jobqueue import Queue
from queuectl.runtime.compacting import compact, expire

_FORGET_AT_A_TIME = 1_000


class Tidied(NamedTuple):
    """What was done, or would be."""

    forgotten: int
    """Jobs."""
    rewritten: list[Rewriting]
    expired: int
    """Files of the archive."""


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

    `idly` compacts only if something was forgotten, for that reads all of the log. A dry run does
    not know what forgetting would free. Raises what the parts do; what is done by then stays done.
    """
    queue.catch_up()
    if queue.damage is not None:
        raise queue.damage
    forgotten = sum(1 for _ in _overdue(queue)) if dry_run else forget(queue)
    if not dry_run:
        # First this, so that compaction takes out only what a start need not read.
        queue.keep_snapshot()
    rewritten = []
    if forgotten or not idly:
        for rewriting in compact(queue, thrifty=thrifty, dry_run=dry_run, progress=progress):
            rewritten.append(rewriting)
            tell(rewriting)
    return Tidied(forgotten, rewritten, expire(queue, dry_run=dry_run))


def forget(queue: Queue) -> int:
    """Purge the jobs that the retention settings do not keep; returns how many."""
    # Listed first: what is purged must not change what is being looked through.
    ids = list(_overdue(queue))
    starts = range(0, len(ids), _FORGET_AT_A_TIME)
    return sum(_forget(queue, ids[start : start + _FORGET_AT_A_TIME]) for start in starts)


def _overdue(queue: Queue) -> Iterator[str]:
    state = queue.state
    for name, retention in retentions(state.settings, queue.now()).items():
        count = state.counts[name]
        if count:
            yield from retention.overdue(queue.jobs(states=[name]), count)


def _forget(queue: Queue, ids: list[str]) -> int:
    try:
        return len(queue.prune(*ids, reason="retention"))
    except (Rejected, NotFound):
        # Somebody has retried or purged one meanwhile: the next round sees to the others.
        return 0
