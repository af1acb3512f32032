"""What the queue has done so far, in numbers; kept small however long the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from queuectl.events import vocabulary as v

_EXACT_BITS = 6
_COUNTED: dict[type[v.Event], tuple[str, int]] = {
    v.JobEnqueued: ("enqueued", 1),
    v.JobClaimed: ("runs", 1),
    v.JobReleased: ("runs", -1),
    v.JobCompleted: ("completed", 1),
    v.JobFailed: ("failed_runs", 1),
    v.LeaseExpired: ("lost_runs", 1),
    v.JobRetried: ("retries", 1),
    v.JobDead: ("dead", 1),
    v.JobCancelled: ("cancelled", 1),
}
"""Per kind of event the total that it counts for, and how much; in `log.compacted` a field."""
_TOTALS = list(dict.fromkeys(name for name, _ in _COUNTED.values()))
_HISTOGRAMS = {"wait": "waits", "run": "durations"}
"""Per histogram of the statistics the first word of its fields in `log.compacted` …"""
_PARTS = ("", "_counts", "_total_ms", "_max_ms")
"""… and what follows it."""


class Histogram:
    """Counts of durations in milliseconds, exact below 64 and within 1.6 % above.

    Durations wait in a list and are sorted into their buckets many at a time, which costs a fold
    over a long log a tenth of doing it one by one.
    """

    def __init__(self) -> None:
        self.max_ms = 0
        self._buckets: dict[int, int] = {}
        self._count = 0
        self._total_ms = 0
        self._waiting: list[int] = []
        self.add = self._waiting.append

    def __bool__(self) -> bool:
        """Whether it holds any."""
        return bool(self._count or self._waiting)

    def settle(self) -> None:
        """Sort in what was added; called now and then, and before every reading."""
        waiting = self._waiting
        if not waiting:
            return
        self._count += len(waiting)
        self._total_ms += sum(waiting)
        self.max_ms = max(self.max_ms, max(waiting))
        for ms, times in Counter(waiting).items():
            # Only the leading six bits count; the bucket is named by its lower edge.
            shift = max(0, ms.bit_length() - _EXACT_BITS)
            bucket = ms >> shift << shift
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        waiting.clear()

    def figures(self) -> tuple[list[int], list[int], int, int]:
        """(lower edges of the buckets, how many are in each, sum, longest)."""
        self.settle()
        buckets = sorted(self._buckets)
        return buckets, [self._buckets[bucket] for bucket in buckets], self._total_ms, self.max_ms

    def absorb(
        self,
        buckets: Sequence[int] | None,
        counts: Sequence[int] | None,
        total_ms: int,
        max_ms: int,
    ) -> None:
        """Count what another one has counted."""
        for bucket, times in zip(buckets or (), counts or (), strict=True):
            self._count += times
            self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self._total_ms += total_ms
        self.max_ms = max(self.max_ms, max_ms)

    def percentile_ms(self, share: float) -> int:
        """The duration that `share` (0 to 1) of all do not exceed; 0 while there are none."""
        self.settle()
        rank = share * self._count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                shift = max(0, bucket.bit_length() - _EXACT_BITS)
                return min(bucket + (1 << shift >> 1), self.max_ms)
        return 0

    @property
    def average_ms(self) -> float:
        self.settle()
        return self._total_ms / self._count if self._count else 0.0


class Statistics:
    """Totals since the log began; purging a job does not take it out of them."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.runs = 0
        self.completed = 0
        self.failed_runs = 0
        self.lost_runs = 0
        self.retries = 0
        self.dead = 0
        self.cancelled = 0
        self.first_at = ""
        self.last_at = ""
        self.wait = Histogram()
        self.run = Histogram()

    def count(self, event: v.Event) -> None:
        """One event of a kind that is too rare to be counted in the fold itself."""
        self._count_kind(type(event), 1)
        if isinstance(event, v.JobFailed):
            self.wait.add(event.wait_ms)
            self.run.add(event.run_ms)
        elif isinstance(event, v.LogCompacted):
            self._count_compacted(event)

    def count_all(self, events: Sequence[v.Event]) -> None:
        """Events of any kinds."""
        for kind, times in Counter(map(type, events)).items():
            self._count_kind(kind, times)
        for event in events:
            if isinstance(event, v.FinishEvent):
                self.wait.add(event.wait_ms)
                self.run.add(event.run_ms)
            elif isinstance(event, v.LogCompacted):
                self._count_compacted(event)

    def _count_kind(self, kind: type[v.Event], times: int) -> None:
        name, by = _COUNTED.get(kind, ("", 0))
        if name:
            setattr(self, name, getattr(self, name) + by * times)

    def _count_compacted(self, event: v.LogCompacted) -> None:
        for name in _TOTALS:
            setattr(self, name, getattr(self, name) + getattr(event, name))
        for histogram, word in _HISTOGRAMS.items():
            getattr(self, histogram).absorb(*(getattr(event, word + part) for part in _PARTS))
        self.reached(event.since, event.at)

    def summary(self) -> v.LogCompacted:
        """Everything counted so far, as one fact that `count` takes."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in _TOTALS}
        for histogram, word in _HISTOGRAMS.items():
            for part, figure in zip(_PARTS, getattr(self, histogram).figures(), strict=True):
                fields[word + part] = figure or (0 if part.endswith("_ms") else None)
        return v.LogCompacted(at=self.last_at, since=self.first_at, **fields)

    def reached(self, first_at: str, last_at: str) -> None:
        """A piece of the log between two times has been counted."""
        # What stands for events that were taken out may come after later ones that were not.
        self.first_at = min(self.first_at or first_at, first_at)
        self.last_at = last_at
        self.wait.settle()
        self.run.settle()


def summary(events: Sequence[v.Event]) -> v.LogCompacted:
    """The fact that stands in the log for `events` (at least one) once they are taken out."""
    counted = Statistics()
    counted.count_all(events)
    counted.reached(events[0].at, events[-1].at)
    earlier = [event.events for event in events if isinstance(event, v.LogCompacted)]
    number = len(events) - len(earlier) + sum(earlier)
    return msgspec.structs.replace(counted.summary(), events=number)
