"""Where in a snapshot the jobs of each state are, for those who look often: to find out takes as
long as going through all of it, once."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from queuectl.domain.job import Job
from queuectl.engines import tables
from queuectl.projections.snapshot import Snapshot, job_in

T = TypeVar("T")
_STATE = re.compile(rb',"state":"(\w+)"')
_RARE = 8
"""Where fewer than one job in so many is wanted, each is looked up by itself."""


def coming(
    rows: Sequence[T],
    *,
    reverse: bool,
    beyond: int | None,
    key: Callable[[T], int],
) -> Iterator[T]:
    """Of what rises by `key`, what comes after `beyond`; with `reverse` the last first, and what
    comes before."""
    start, end = 0, len(rows)
    if beyond is not None and reverse:
        end = bisect_left(rows, beyond, key=key)
    elif beyond is not None:
        start = bisect_right(rows, beyond, key=key)
    order = range(end - 1, start - 1, -1) if reverse else range(start, end)
    return map(rows.__getitem__, order)


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
        return map(self._job, coming(offsets, reverse=reverse, beyond=beyond, key=int))

    def _job(self, offset: int) -> Job:
        # The newest table that knows it is right about it.
        for table in self._base.finished_tables:
            if table.row(offset) is not None:
                break
        return job_in(table, offset)
