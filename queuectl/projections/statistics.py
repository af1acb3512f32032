"""What the queue has done so far, in numbers; kept small however long the history."""

from __future__ import annotations

from collections import Counter

from queuectl.events import vocabulary as v

_EXACT_BITS = 6


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
        """One event of the kinds that are too rare to be counted in the fold itself."""
        match event:
            case v.JobFailed():
                self.failed_runs += 1
                self.wait.add(event.wait_ms)
                self.run.add(event.run_ms)
            case v.JobReleased():
                self.runs -= 1
            case v.LeaseExpired():
                self.lost_runs += 1
            case v.JobRetried():
                self.retries += 1
            case v.JobDead():
                self.dead += 1
            case v.JobCancelled():
                self.cancelled += 1

    def reached(self, first_at: str, last_at: str) -> None:
        """A piece of the log between two times has been counted."""
        self.first_at = self.first_at or first_at
        self.last_at = last_at
        self.wait.settle()
        self.run.settle()
