"""The queue in numbers, for Prometheus: read off the projections when somebody asks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from queuectl.projections.statistics import Histogram, Statistics
from queuectl.view import View
from queuectl.web.live import Live
from queuectl.web.served import Served

_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_TOTALS = {
    "enqueued": "Jobs that were enqueued",
    "runs": "Runs that began, without those that were handed back",
    "completed": "Runs that completed",
    "failed_runs": "Runs that failed",
    "lost_runs": "Runs that were lost with their workers",
    "retries": "Runs that are to follow a failed one",
    "dead": "Jobs whose runs were all used up",
    "cancelled": "Jobs that were called off",
}


class Metrics:
    """Answers to Prometheus."""

    def __init__(self, served: Served, live: Live) -> None:
        self._served = served
        self._live = live

    async def told(self, accepted: str) -> tuple[bytes, str]:
        """(what there is to say, in which form), by what the one who asks accepts."""
        families = await self._served.read(lambda view: list(_families(view)))
        viewers = GaugeMetricFamily(
            "queuectl_web_viewers", "Streams of events that are open", self._live.viewers
        )
        damaged = GaugeMetricFamily(
            "queuectl_log_damaged", "1 where the log does not verify", bool(self._live.damage)
        )
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Told([*families, viewers, damaged]))
        encode, media_type = choose_encoder(accepted)
        return encode(registry), media_type


class _Told(Collector):
    """What was found already, as the library wants it."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(view: View) -> Iterator[Metric]:
    state = view.state
    jobs = GaugeMetricFamily("queuectl_jobs", "Jobs there are", labels=("queue", "state"))
    paused = GaugeMetricFamily("queuectl_queue_paused", "1 while paused", labels=("queue",))
    for queue, counts in sorted(state.queues.items()):
        for name, number in counts.items():
            jobs.add_metric((queue, name), number)
        paused.add_metric((queue,), queue in state.paused)
    yield from (jobs, paused)
    rows = state.workers.rows.values()
    alive = [row for row in rows if view.is_alive(row.id)]
    yield GaugeMetricFamily("queuectl_workers", "Workers that live", len(alive))
    yield GaugeMetricFamily("queuectl_slots", "Their slots", sum(row.slots for row in alive))
    busy = sum(len(row.holding) for row in alive)
    yield GaugeMetricFamily("queuectl_slots_busy", "Slots with a run", busy)
    yield GaugeMetricFamily("queuectl_log_head", "The offset of the last event", state.offset)
    yield from _totals(state.statistics)


def _totals(done: Statistics) -> Iterator[Metric]:
    for name, meaning in _TOTALS.items():
        yield CounterMetricFamily(f"queuectl_{name}", meaning, getattr(done, name))
    yield _histogram("queuectl_wait_seconds", "How long runs had waited", done.wait)
    yield _histogram("queuectl_run_seconds", "How long runs took", done.run)


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    edges, counts, total_ms, _ = histogram.figures()
    below = [0, *accumulate(counts)]
    buckets = [
        (str(float(bound_s)), float(below[bisect_right(edges, int(bound_s * 1000))]))
        for bound_s in _BOUNDS_S
    ]
    return HistogramMetricFamily(
        name, meaning, buckets=[*buckets, ("+Inf", float(below[-1]))], sum_value=total_ms / 1000
    )
