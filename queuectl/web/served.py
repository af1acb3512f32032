"""The queue that is served: one for all requests, always caught up, never in the way of the loop
that answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from queuectl.errors import Invalid
from queuectl.host import Host
from queuectl.jobqueue import Queue
from queuectl.queueview import View
from queuectl.telling.moments import parsed
from queuectl.web.access import Visitor

T = TypeVar("T")


class Served:
    """One queue. All that is asked of it is done by one thread, in the order it was asked."""

    def __init__(self, place: str, host: Host | None = None) -> None:
        self._thread = ThreadPoolExecutor(1, "queue")
        self._queue = self._thread.submit(
            lambda: Queue(place, create=True, salvage=True, host=host)
        ).result()

    def close(self) -> None:
        """Give back files."""
        self._thread.submit(self._queue.close).result()
        self._thread.shutdown()

    async def read(self, ask: Callable[[View], T], at: str | None = None) -> T:
        """What `ask` finds in the queue, caught up, or as it was at a moment as people name it."""
        return await self._do(lambda: self._read(ask, at))

    async def write(self, visitor: Visitor, act: Callable[[Queue], T]) -> T:
        """What becomes of the queue by `act`, in the name of a visitor."""
        return await self._do(lambda: self._write(visitor, act))

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _read(self, ask: Callable[[View], T], at: str | None) -> T:
        self._queue.catch_up()
        if at is None:
            return ask(self._queue)
        named = parsed(at)
        if named is None:
            raise Invalid(
                f"at: {at!r:.60} is no moment: write the offset of an event, a time with its zone"
                " like 2026-11-22T09:00:00Z, or how long ago, like 2h"
            )
        view = self._queue.at(named.moment(self._queue))
        try:
            return ask(view)
        finally:
            view.close()

    def _write(self, visitor: Visitor, act: Callable[[Queue], T]) -> T:
        with self._queue.acting_as(visitor.actor):
            return act(self._queue)
