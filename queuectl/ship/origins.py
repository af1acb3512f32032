"""What an event about a job goes back to: how the job was enqueued, and when its run was claimed.

What was seen lately is remembered and the rest is looked up: so shipping may begin anywhere in the
log, in bounded memory, and always comes to the same. Knows no sinks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from queuectl.events import vocabulary as v
from queuectl.home import Home
from queuectl.host import Host
from queuectl.queueview import QueueView

_REMEMBERED = 20_000
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Recent(Generic[_Key, _Value]):
    """The last so many that were put in or asked for."""

    def __init__(self) -> None:
        self._items: OrderedDict[_Key, _Value] = OrderedDict()

    def put(self, key: _Key, value: _Value) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > _REMEMBERED:
            self._items.popitem(last=False)

    def get(self, key: _Key) -> _Value | None:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found


class Origins:
    """To be shown every event in the order of the log, and asked about the one shown last."""

    def __init__(self, home: Home, host: Host) -> None:
        self._home = home
        self._host = host
        self._jobs: _Recent[str, v.JobEnqueued] = _Recent()
        self._claims: _Recent[int, str] = _Recent()
        """When each run was claimed, by its token."""
        self._view: QueueView | None = None

    def see(self, event: v.Event) -> None:
        if isinstance(event, v.JobEnqueued):
            self._jobs.put(event.job, event)
        elif isinstance(event, v.JobClaimed):
            self._claims.put(event.offset, event.at)

    def job(self, event: v.JobEvent) -> v.JobEnqueued | None:
        """The job as it was enqueued; None where nobody knows any more."""
        found = self._jobs.get(event.job)
        if found is None:
            found = self._look().find_spec(event.job, event.offset)
            if found is not None:
                self._jobs.put(event.job, found)
        return found

    def claimed_at(self, event: v.AttemptEvent) -> str:
        """When the run was claimed; the time of the event where nobody knows any more."""
        found = self._claims.get(event.token)
        if found is None:
            about = self._look().log.read_about(event.job)
            found = next((one.at for one in about if one.offset == event.token), event.at)
        return found

    def rest(self) -> None:
        """Let go of what was opened to look things up: what it knows grows old, and big."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _look(self) -> QueueView:
        if self._view is None:
            self._view = QueueView(self._home.root, create=False, salvage=True, host=self._host)
        return self._view
