"""What happens, as it happens, for any number of viewers: the log is followed once, by one thread,
and whoever falls behind reads on from the log itself."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from queuectl.errors import QueuectlError
from queuectl.events.vocabulary import Event, JobRedacted
from queuectl.queueview import QueueView
from queuectl.telling.documents import event_document
from queuectl.telling.encoding import encoded

GATHER_S = 0.1
"""What happens within so short a time after something else is told together."""
HEARTBEAT_S = 15.0
"""How long a viewer hears nothing at most."""
_WAIT_S = 0.5
"""How long it takes at most until a stop is noticed."""
_EVENTS_KEPT = 10_000
_PIECE = 1000
"""So many events at most are told together."""
_RETRY_S = 1.0


class Batch:
    """Events that are told together, in each form once for all."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.first = events[0].offset
        self.last = events[-1].offset

    @cached_property
    def _documents(self) -> list[bytes]:
        return [encoded(event_document(event)) for event in self.events]

    @cached_property
    def lines(self) -> bytes:
        """As lines of JSON."""
        return b"".join(document + b"\n" for document in self._documents)

    @cached_property
    def messages(self) -> bytes:
        """As server-sent events, each with its offset as its id."""
        return b"".join(
            b"id: %d\ndata: %s\n\n" % (event.offset, document)
            for event, document in zip(self.events, self._documents, strict=True)
        )


class News(NamedTuple):
    """What a viewer is told: a batch, or nothing new for a while, or that the log is damaged."""

    batch: Batch | None = None
    damage: str = ""


class Live:
    """Follows a log."""

    def __init__(self, open_view: Callable[[], QueueView]) -> None:
        self._open = open_view
        self._view = open_view()
        self._head = self._view.log.head()
        """The last event that is told, or was there before."""
        self._kept: deque[Batch] = deque()
        self._kept_events = 0
        self._redacted = 0
        """The last event that took something out of the log."""
        self._damage = ""
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live", daemon=True)
        self.viewers = 0

    def start(self) -> None:
        """Begin; within the loop that viewers are served by."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End all streams; within that loop."""
        self._stopping.set()
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def head(self) -> int:
        """The last event that viewers could have heard of."""
        return self._head

    @property
    def damage(self) -> str:
        """What is wrong with the log; empty where nothing is known to be."""
        return self._damage

    # ---- the thread

    def _follow(self) -> None:
        seen = self._head
        while not self._stopping.is_set():
            was = seen
            try:
                self._view.log.wait(_WAIT_S)
                for events in self._view.events(seen):
                    self._tell(events)
                    seen = events[-1].offset
                self._report(str(self._view.damage or ""))
            except (QueuectlError, OSError) as error:
                self._report(str(error))
            if self._damage:
                self._stopping.wait(_RETRY_S)
                self._view.damage = None
            elif seen > was:
                self._stopping.wait(GATHER_S)
        self._view.close()

    def _tell(self, events: Sequence[Event]) -> None:
        for start in range(0, len(events), _PIECE):
            self._call(self._add, Batch(events[start : start + _PIECE]))

    def _report(self, damage: str) -> None:
        if damage != self._damage:
            self._call(self._set_damage, damage)
            self._damage = damage

    def _call(self, what: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(what, *arguments)

    # ---- the loop

    def _add(self, batch: Batch) -> None:
        if any(isinstance(event, JobRedacted) for event in batch.events):
            # It may be in here what was taken out of the log.
            self._kept.clear()
            self._kept_events = 0
            self._redacted = batch.last
        self._kept.append(batch)
        self._kept_events += len(batch.events)
        while self._kept_events > _EVENTS_KEPT and len(self._kept) > 1:
            self._kept_events -= len(self._kept.popleft().events)
        self._head = batch.last
        self._wake()

    def _set_damage(self, damage: str) -> None:
        self._damage = damage
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def after(self, offset: int) -> AsyncIterator[News]:
        """What happens after that event, without an end; what has happened already comes first.

        Ends when the server does.
        """
        self.viewers += 1
        told = ""
        try:
            while not self._stopping.is_set():
                news = self._news
                if self._damage != told:
                    told = self._damage
                    yield News(damage=told or "mended")
                if offset >= self._head:
                    try:
                        async with asyncio.timeout(HEARTBEAT_S):
                            await news.wait()
                    except TimeoutError:
                        yield News()
                    continue
                batches = [batch for batch in self._kept if batch.last > offset]
                if batches and batches[0].first <= offset + 1:
                    first = [one for one in batches[0].events if one.offset > offset]
                    batches[0] = batches[0] if batches[0].first > offset else Batch(first)
                    redacted = self._redacted
                    for batch in batches:
                        if self._redacted != redacted:
                            # While a slow one read: the rest as it is now.
                            break
                        offset = batch.last
                        yield News(batch)
                    continue
                async for batch in self._from_log(offset):
                    offset = batch.last
                    yield News(batch)
        finally:
            self.viewers -= 1

    async def _from_log(self, offset: int) -> AsyncIterator[Batch]:
        """What comes behind an event that is not kept any more; not all of it."""
        redacted = self._redacted
        view = await asyncio.to_thread(self._open)
        try:
            pieces = view.log.read_originals(offset)
            while (events := await asyncio.to_thread(next, pieces, None)) is not None:
                for start in range(0, len(events), _PIECE):
                    if self._redacted != redacted or self._stopping.is_set():
                        # While a slow one read: what is decoded, or still to be read of files that
                        # are open, is as it was before. Who asks again reads it as it is now.
                        return
                    yield Batch(events[start : start + _PIECE])
        finally:
            view.close()
