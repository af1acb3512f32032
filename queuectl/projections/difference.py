"""What happened between two moments: how much of each kind, and who changed what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from queuectl.domain import settings as rules
from queuectl.domain.settings import Settings
from queuectl.events import vocabulary as v

TOLD: frozenset[type[v.Event]] = frozenset(
    (v.SettingChanged, v.QueuePaused, v.QueueResumed, v.WorkerStarted, v.WorkerStopped)
)
"""What is not only counted."""


class Changed(NamedTuple):
    """A setting was changed."""

    event: v.SettingChanged
    before: str


class Stay(msgspec.Struct):
    """A worker that came or went in between."""

    worker: str
    started: v.WorkerStarted | None = None
    stopped: v.WorkerStopped | None = None


class Difference:
    """Sees the events in between; `settings` are those in force before them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.kinds: Counter[type[v.Event]] = Counter()
        """How many events of each kind."""
        self.settings: list[Changed] = []
        self.queues: list[v.QueuePaused | v.QueueResumed] = []
        self.workers: dict[str, Stay] = {}

    def see(self, events: Sequence[v.Event]) -> None:
        kinds = Counter(map(type, events))
        self.kinds.update(kinds)
        if not TOLD.isdisjoint(kinds):
            for event in events:
                self._tell(event)

    def _tell(self, event: v.Event) -> None:
        match event:
            case v.SettingChanged():
                self.settings.append(Changed(event, rules.shown(self._settings, event.key)))
                self._settings = rules.changed(self._settings, event.key, event.value)
            case v.QueuePaused() | v.QueueResumed():
                self.queues.append(event)
            case v.WorkerStarted():
                self._stay(event.worker).started = event
            case v.WorkerStopped():
                self._stay(event.worker).stopped = event

    def _stay(self, worker: str) -> Stay:
        return self.workers.setdefault(worker, Stay(worker))
