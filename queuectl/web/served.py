"""The queue that is served: one for all requests, always caught up, never in the way of the loop
that answers them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from queuectl.errors import Damaged, Invalid, NotFound, Rejected
from queuectl.home import Home
from queuectl.host import Host
from queuectl.jobqueue import Queue
from queuectl.projections.past import Moment
from queuectl.queueview import QueueView
from queuectl.telling.moments import Named, parsed
from queuectl.view import PastView, View
from queuectl.web.access import Visitor

T = TypeVar("T")
P = ParamSpec("P")
_PAST_KEPT = 2
"""So many moments stay at hand: each has all jobs in memory that were not over."""
_ROWS_MORE = 50_000
"""Some 50 MB of jobs."""
_REOPEN_S = 2.0
"""How often a damaged log is looked at again: somebody may have repaired it."""


class Served:
    """One queue. A thread does all that is asked of it, in the order it was asked; another one
    looks into the past and searches the log, which takes longer."""

    def __init__(self, place: str, host: Host | None = None) -> None:
        self._place = place
        self.host = host or Host()
        self._threads = [ThreadPoolExecutor(1, name) for name in ("queue", "past")]
        self._now, self._then = self._threads
        self._queue = self._now.submit(self._open).result()
        self.home: Home = self._queue.home
        self._searched: QueueView | None = None
        self._moments: OrderedDict[tuple[Moment, bool], PastView] = OrderedDict()
        self._opened_s = self.host.monotonic_s()
        self._rows_max = _ROWS_MORE
        self._redacted = self._queue.known.redacted

    def _open(self) -> Queue:
        queue = Queue(self._place, create=True, salvage=True, host=self.host)
        queue.catch_up(sparing=True)
        queue.known.jobs.is_indexed = True
        return queue

    def open_view(self) -> QueueView:
        """Another view of the same queue, for another thread."""
        return QueueView(self._place, create=True, salvage=True, host=self.host)

    def close(self) -> None:
        """Give back files."""
        self._then.submit(self._forget).result()
        self._now.submit(self._queue.close).result()
        for thread in self._threads:
            thread.shutdown()

    # ---- what is asked

    async def read(
        self,
        ask: Callable[[View], T],
        at: str | None = None,
        *,
        field: str = "at",
        or_empty: bool = False,
    ) -> T:
        """What `ask` finds in the queue, caught up, or as it was at a moment as people name it;
        `field` is where they have named it. With `or_empty` that may be before its first event.

        What is returned must not look anything up later. Of a damaged log it sees what stands
        before the damage; not finding or not being allowed something raises `Damaged` then.
        """
        if at is None:
            return await self._do(self._now, self._read, ask)
        named = _moment(at, field)
        await self._do(self._now, self._current)
        return await self._do(self._then, self._look_back, named, field, or_empty, ask)

    async def search(self, ask: Callable[[QueueView], T]) -> T:
        """What `ask` finds in the log, of which it asks nothing that would have to be folded."""
        return await self._do(self._then, lambda: ask(self._view()))

    async def write(self, visitor: Visitor, act: Callable[[Queue], T]) -> T:
        """What becomes of the queue by `act`, in the name of a visitor. Raises `Damaged`."""
        return await self._do(self._now, self._write, visitor, act)

    async def _do(
        self,
        thread: ThreadPoolExecutor,
        work: Callable[P, T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread, lambda: work(*arguments, **named))

    # ---- the thread of the present

    def _read(self, ask: Callable[[View], T]) -> T:
        queue = self._current()
        try:
            return ask(queue)
        except (NotFound, Rejected):
            # That is not known of a queue of which only a part could be read.
            if queue.damage is not None:
                raise queue.damage from None
            raise

    def _write(self, visitor: Visitor, act: Callable[[Queue], T]) -> T:
        queue = self._current()
        if queue.damage is not None:
            raise queue.damage
        with queue.acting_as(visitor.actor):
            return act(queue)

    def _current(self) -> Queue:
        queue = self._queue
        queue.catch_up()
        rows = len(queue.known.jobs.rows)
        if rows > self._rows_max:
            # Workers keep snapshots; what is over by the newest need not be in memory.
            queue.use_snapshot()
            self._rows_max = len(queue.known.jobs.rows) + _ROWS_MORE
        if queue.damage is not None and self.host.monotonic_s() - self._opened_s > _REOPEN_S:
            queue.close()
            self._queue = queue = self._open()
            self._opened_s = self.host.monotonic_s()
        return queue

    # ---- the thread of the past

    def _view(self) -> QueueView:
        if self._searched is not None and self._searched.damage is not None:
            self._forget()
        if self._searched is None:
            self._searched = self.open_view()
        return self._searched

    def _forget(self) -> None:
        for view in self._moments.values():
            view.close()
        self._moments.clear()
        if self._searched is not None:
            self._searched.close()
            self._searched = None

    def _look_back(self, named: Named, field: str, or_empty: bool, ask: Callable[[View], T]) -> T:
        redacted = self._queue.known.redacted
        if redacted != self._redacted:
            # What was taken out of the log since is not to be seen in the past either.
            self._forget()
            self._redacted = redacted
        view = self._view()
        try:
            key = named.moment(view), or_empty
            if key not in self._moments:
                past = view.at(key[0], or_empty=or_empty)
                while len(self._moments) >= _PAST_KEPT:
                    self._moments.popitem(last=False)[1].close()
                self._moments[key] = past
        except Invalid as error:
            raise Invalid(f"{field}: {named.text:.60}: {error}") from None
        self._moments.move_to_end(key)
        return ask(self._moments[key])

    # ---- how it is

    async def damage(self) -> Damaged | None:
        """What is wrong with the log; None where nothing is known to be."""
        return await self._do(self._now, lambda: self._current().damage)


def _moment(text: str, field: str) -> Named:
    named = parsed(text)
    if named is None:
        raise Invalid(
            f"{field}: {text!r:.60} is no moment: write the offset of an event, a time with its"
            " zone like 2026-11-22T09:00:00Z, or how long ago, like 2h"
        )
    return named
