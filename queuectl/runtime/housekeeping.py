"""Keeping a queue small and quick to open: forgets old jobs, keeps snapshots, compacts the log.

A worker has it done by a process of its own, beside its loop, now and then.
"""

from __future__ import annotations

import os
import sys

from queuectl.domain.retention import retentions
from queuectl.errors import NotFound, QueuectlError, Rejected
from queuectl.jobqueue import Queue
from queuectl.runtime.compacting import compact
from queuectl.runtime.orphans import Orphans

_TAIL_EVENTS = 20_000
"""So many events after the snapshot take a start 50 ms."""
_TAIL_EVENTS_IDLE = 2_000
_TAIL_SHARE = 4
"""A snapshot writes all live jobs: it waits for a share of them to have changed."""
_PAUSE_S = 10.0
_TIDY_S = 3600.0
"""How often to look what has grown old: that reads all jobs that are over, and if some are
forgotten, all of the log."""
_TIDY = "tidy"
_FORGET_AT_A_TIME = 1_000


def keep_house(queue: Queue) -> None:
    """Forget what has been kept long enough, keep a snapshot, and compact the log if something was
    forgotten and it is worth it. Raises what those do; what is done by then stays done."""
    forgotten = forget(queue)
    # First this, so that compaction takes out only what a start need not read.
    queue.keep_snapshot()
    if forgotten:
        for _ in compact(queue, thrifty=True):
            pass


def forget(queue: Queue) -> int:
    """Purge the jobs that the retention settings do not keep; returns how many."""
    state = queue.state
    count = 0
    for name, retention in retentions(state.settings, queue.now()).items():
        if not state.counts[name]:
            continue
        # Listed first: what is purged must not change what is being looked through.
        ids = list(retention.overdue(queue.jobs(states=[name])))
        for start in range(0, len(ids), _FORGET_AT_A_TIME):
            count += _forget(queue, ids[start : start + _FORGET_AT_A_TIME])
    return count


def _forget(queue: Queue, ids: list[str]) -> int:
    try:
        return len(queue.prune(*ids, reason="retention"))
    except (Rejected, NotFound):
        # Somebody has retried or purged one meanwhile: the next round sees to the others.
        return 0


class Housekeeping:
    """Has the house of a worker's queue kept. `orphans` is told whose child that process is."""

    def __init__(self, queue: Queue, orphans: Orphans) -> None:
        self._queue = queue
        self._host = queue.host
        self._orphans = orphans
        self._pid = 0
        self._not_before_s = 0.0
        self._tidy_s = self._host.monotonic_s() + _TIDY_S

    def look(self, *, idle: bool) -> None:
        """Begin it when it is time, and make use of it once it is done."""
        now = self._host.monotonic_s()
        if self._pid:
            if self._host.has_ended(self._pid):
                self._host.reap(self._pid)
                self._orphans.forget(self._pid)
                self._pid = 0
                self._queue.use_snapshot()
        elif now >= self._not_before_s:
            tidy = now >= self._tidy_s
            if tidy or self._wants_snapshot(idle):
                self._not_before_s = now + _PAUSE_S
                self._begin([_TIDY] if tidy else [])
                if tidy:
                    self._tidy_s = now + _TIDY_S

    def _wants_snapshot(self, idle: bool) -> bool:
        known = self._queue.known
        enough = max(_TAIL_EVENTS, len(known.jobs.rows) // _TAIL_SHARE)
        return known.tail >= (_TAIL_EVENTS_IDLE if idle else enough)

    def _begin(self, what: list[str]) -> None:
        host = self._host
        # -P: whatever lies in the directory it runs in is none of its modules.
        argv = [sys.executable, "-P", "-m", __name__, self._queue.home.root, *what]
        nothing = host.open(os.devnull, os.O_RDWR)
        try:
            environment = {os.fsencode(k): os.fsencode(v) for k, v in host.environment().items()}
            self._pid = host.spawn(
                [os.fsencode(word) for word in argv], b"/", environment, nothing, nothing, nothing
            )
        finally:
            host.close(nothing)
        self._orphans.leave(self._pid)


def main() -> None:
    """Keep a snapshot of the queue that the first argument names, or all of its house if told so,
    and let others go first."""
    with Queue(sys.argv[1], create=False) as queue:
        queue.host.give_way()
        try:
            if _TIDY in sys.argv[2:]:
                keep_house(queue)
            else:
                queue.catch_up()
                queue.keep_snapshot()
        except (QueuectlError, OSError) as error:
            sys.exit(f"queuectl: {error}")


if __name__ == "__main__":
    main()
