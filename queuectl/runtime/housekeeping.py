"""A worker has its queue kept small and quick to open, now and then: by a process of its own beside
its loop. What that does there is for others to know."""

from __future__ import annotations

import os
import sys

from queuectl.errors import QueuectlError
from queuectl.jobqueue import Queue
from queuectl.runtime.orphans import Orphans
from queuectl.runtime.tidying import tidy

_TAIL_EVENTS = 20_000
"""So many events after the snapshot take a start 50 ms."""
_TAIL_EVENTS_IDLE = 2_000
_TAIL_SHARE = 4
"""A snapshot writes all live jobs: it waits for a share of them to have changed."""
_PAUSE_S = 10.0
_FIRST_PAUSE_S = 1.0
"""A worker that has just started has better things to do; and where many start at once, or start
and die, each would have all that came after the snapshot folded in for nothing."""
_TIDY_S = 3600.0
"""How often to look what has grown old, and whether so much has that all of the log should be
read."""
_TIDY = "tidy"


def keep_house(queue: Queue) -> None:
    """Tidy up, and compact the log only where that is worth it."""
    tidy(queue, idly=True, thrifty=True)


class Housekeeping:
    """Has the house of a worker's queue kept. `orphans` is told whose child that process is."""

    def __init__(self, queue: Queue, orphans: Orphans) -> None:
        self._queue = queue
        self._host = queue.host
        self._orphans = orphans
        self._pid = 0
        now = self._host.monotonic_s()
        self._not_before_s = now + _FIRST_PAUSE_S
        self._tidy_s = now + _TIDY_S

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
    and those of its past; and let others go first."""
    with Queue(sys.argv[1], create=False) as queue:
        queue.host.give_way()
        try:
            if _TIDY in sys.argv[2:]:
                keep_house(queue)
            else:
                queue.catch_up()
                queue.keep_snapshot()
            queue.past.keep()
        except (QueuectlError, OSError) as error:
            sys.exit(f"queuectl: {error}")


if __name__ == "__main__":
    main()
