"""What a queue did lately, minute by minute, and the last events themselves; small however long the
log. Knows no storage."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from queuectl import instants
from queuectl.domain.redaction import redacted
from queuectl.events import vocabulary as v
from queuectl.instants import Instant
from queuectl.projections.statistics import Histogram

MINUTES = 60
"""As far back as is remembered."""
EVENTS = 200
"""As many events are kept."""
_MINUTE_US = 60_000_000


class Minute:
    """What ended, and what came, within one minute."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.completed = 0
        self.failed = 0
        """Runs that failed, or were lost with their workers."""
        self.wait = Histogram()
        """How long the runs that ended had waited."""
        self.run = Histogram()
        """How long they took."""


class Point(NamedTuple):
    """One minute, in figures; durations are None where nothing ended."""

    at: Instant
    enqueued: int
    completed: int
    failed: int
    wait_p95_ms: int | None
    run_p95_ms: int | None


class Recent:
    """A fold that forgets: it may begin anywhere in the log."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        """The last event that was seen."""
        self.events: deque[v.Event] = deque(maxlen=EVENTS)
        self._minutes: dict[int, Minute] = {}

    def hear(self, events: Sequence[v.Event]) -> None:
        """The same, where some may have been seen before."""
        new = [event for event in events if event.offset > self.offset]
        if new:
            self.apply(new)

    def apply(self, events: Sequence[v.Event]) -> None:
        """Take the next events in."""
        for event in events:
            match event:
                case v.JobEnqueued():
                    self._minute(event).enqueued += 1
                case v.FinishEvent():
                    minute = self._minute(event)
                    if isinstance(event, v.JobCompleted):
                        minute.completed += 1
                    else:
                        minute.failed += 1
                    minute.wait.add(event.wait_ms)
                    minute.run.add(event.run_ms)
                case v.LeaseExpired():
                    self._minute(event).failed += 1
        self.events.extend(events)
        for event in events:
            if isinstance(event, v.JobRedacting):
                self._take_out(event)
        self.offset = events[-1].offset

    def _take_out(self, asked: v.JobRedacting) -> None:
        """Forget what is taken out of the log, too."""
        offsets, fields = frozenset(asked.offsets or ()), asked.fields or ()
        for index, event in enumerate(self.events):
            if event.offset in offsets and isinstance(event, v.JobEvent):
                self.events[index] = redacted(event, fields)

    def _minute(self, event: v.Event) -> Minute:
        index = instants.to_us(event.at) // _MINUTE_US
        found = self._minutes.get(index)
        if found is None:
            found = self._minutes[index] = Minute()
            for old in [one for one in self._minutes if one <= index - MINUTES]:
                del self._minutes[old]
        return found

    def points(self, now: Instant, minutes: int = MINUTES) -> list[Point]:
        """So many minutes up to the one that `now` is in, oldest first."""
        last = instants.to_us(now) // _MINUTE_US
        return [self._point(index) for index in range(last - minutes + 1, last + 1)]

    def _point(self, index: int) -> Point:
        at = instants.from_us(index * _MINUTE_US)
        minute = self._minutes.get(index)
        if minute is None:
            return Point(at, 0, 0, 0, None, None)
        return Point(
            at,
            minute.enqueued,
            minute.completed,
            minute.failed,
            minute.wait.percentile_ms(0.95) if minute.wait else None,
            minute.run.percentile_ms(0.95) if minute.run else None,
        )
