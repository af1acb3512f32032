"""Where in a snapshot the jobs of each state are, for those who look often: to find out takes as
long as going through all of it, once."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from itertools import chain

from queuectl.domain.job import Job
from queuectl.engines import tables
from queuectl.projections.snapshot import Snapshot, job_in

_STATE = re.compile(rb',"state":"(\w+)"')
_RARE = 8
"""Where fewer than one job in so many is wanted, each is looked up by itself."""


class Whereabouts:
    """Of the jobs of one snapshot that are over. Raises `Spoiled`."""

    def __init__(self, base: Snapshot) -> None:
        self._base = base
        self._offsets: dict[str, array[int]] = {}
        """By state the offsets, rising, that enqueued them."""
        for number, line in tables.merged(base.finished_tables) if base.head.finished else ():
            state = _STATE.search(line)
            if state is not None:
                self._offsets.setdefault(state[1].decode(), array("q")).append(number)

    def rare(
        self, states: Collection[str], *, reverse: bool, beyond: int | None
    ) -> Iterator[Job] | None:
        """Those in these states, in the order they were enqueued or the newest first, as far as
        they come after the offset `beyond`; None where there are so many of them that going
        through all is faster."""
        wanted = [self._offsets[state] for state in states if state in self._offsets]
        if sum(map(len, wanted)) * _RARE >= sum(map(len, self._offsets.values())):
            return None
        offsets = sorted(chain.from_iterable(wanted))
        if beyond is not None and reverse:
            offsets = offsets[: bisect_left(offsets, beyond)]
        elif beyond is not None:
            offsets = offsets[bisect_right(offsets, beyond) :]
        return map(self._job, reversed(offsets) if reverse else offsets)

    def _job(self, offset: int) -> Job:
        # The newest table that knows it is right about it.
        for table in self._base.finished_tables:
            if table.row(offset) is not None:
                break
        return job_in(table, offset)
