"""The questions that operators ask of what a queue did over time, each answered as a table and as
lines to be drawn; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from queuectl.instants import Instant
from queuectl.projections.activity import OTHERS, Activity, Kind
from queuectl.projections.statistics import Histogram

_KINDS_DRAWN = 5
_STORM_RUNS = 10

RATE = "rate"
SECONDS = "seconds"
RUNS = "runs"


class Series(NamedTuple):
    """One line over time; None where there is nothing to tell."""

    name: str
    values: Sequence[float | None]


class Report(NamedTuple):
    """One question, answered."""

    name: str
    title: str
    unit: str
    """Of the lines: `RATE` (0 to 1), `SECONDS` or `RUNS`."""
    times: list[Instant]
    """When the slices of time begin."""
    slice_seconds: float
    series: list[Series]
    rows: list[dict[str, Any]]
    """The table: names of columns, which end in the unit, to values."""


def failures(activity: Activity) -> Report:
    """Which commands fail how often."""
    kinds = sorted(
        activity.kinds.items(),
        key=lambda item: (-item[1].failed.total(), -item[1].ended.total(), item[0]),
    )
    drawn = [(name, kind) for name, kind in kinds if name != OTHERS][:_KINDS_DRAWN]
    return _report(
        activity,
        "failures",
        "Failure rate by command",
        RATE,
        [Series(name, _rates(activity, kind)) for name, kind in drawn],
        [_failure_row(activity, name, kind) for name, kind in kinds],
    )


def _rates(activity: Activity, kind: Kind) -> list[float | None]:
    return [_share(kind.failed[n], kind.ended[n]) for n in range(len(activity.slices))]


def _failure_row(activity: Activity, name: str, kind: Kind) -> dict[str, Any]:
    ended, failed = kind.ended.total(), kind.failed.total()
    worst = max(kind.failed, key=kind.failed.__getitem__) if failed else None
    return {
        "command": name,
        "runs": ended,
        "failed": failed,
        "failure_rate": _share(failed, ended),
        "worst_at": None if worst is None else activity.slices.starts[worst],
        "worst_failed": 0 if worst is None else kind.failed[worst],
    }


def waits(activity: Activity) -> Report:
    """How long jobs wait, and how long they take."""
    figures = [
        {
            "wait_p50_seconds": _percentile_s(wait, 0.5),
            "wait_p95_seconds": _percentile_s(wait, 0.95),
            "run_p50_seconds": _percentile_s(run, 0.5),
            "run_p95_seconds": _percentile_s(run, 0.95),
        }
        for wait, run in zip(activity.wait, activity.run, strict=True)
    ]
    return _report(
        activity,
        "waits",
        "Waiting and running",
        SECONDS,
        [
            Series("wait p95", [row["wait_p95_seconds"] for row in figures]),
            Series("run p95", [row["run_p95_seconds"] for row in figures]),
        ],
        _by_time(activity, lambda n: {"runs": activity.begun[n], **figures[n]}),
    )


def retries(activity: Activity) -> Report:
    """When runs were mostly those of jobs that had failed before."""

    def row(n: int) -> dict[str, Any]:
        begun, again = activity.begun[n], activity.retries[n]
        is_storm = begun >= _STORM_RUNS and again * 2 > begun
        return {
            "runs": begun,
            "retries": again,
            "retry_rate": _share(again, begun),
            "storm": is_storm,
        }

    first = [b - r for b, r in zip(activity.begun, activity.retries, strict=True)]
    return _report(
        activity,
        "retries",
        "Retry storms",
        RUNS,
        [Series("retries", activity.retries), Series("first runs", first)],
        _by_time(activity, row),
    )


def utilisation(activity: Activity) -> Report:
    """How much of the time of the slots that there were was used."""
    shares = [
        _share(busy_us, offered_us)
        for busy_us, offered_us in zip(activity.busy_us, activity.offered_us, strict=True)
    ]
    return _report(
        activity,
        "utilisation",
        "Utilisation of workers",
        RATE,
        [Series("utilisation", shares)],
        _by_time(
            activity,
            lambda n: {
                "busy_seconds": activity.busy_us[n] / 1e6,
                "offered_seconds": activity.offered_us[n] / 1e6,
                "utilisation_rate": shares[n],
            },
        ),
    )


def concurrency(activity: Activity) -> Report:
    """How many runs went on at once."""
    slices = activity.slices
    lengths_us = [0] * len(slices)
    for index, us in slices.parts_us(slices.since_us, slices.until_us):
        lengths_us[index] = us
    average = [
        _share(busy_us, length_us)
        for busy_us, length_us in zip(activity.busy_us, lengths_us, strict=True)
    ]
    return _report(
        activity,
        "concurrency",
        "Runs at once",
        RUNS,
        [Series("peak", activity.peak), Series("average", average)],
        _by_time(activity, lambda n: {"peak": activity.peak[n], "average": average[n]}),
    )


def _report(
    activity: Activity,
    name: str,
    title: str,
    unit: str,
    series: list[Series],
    rows: list[dict[str, Any]],
) -> Report:
    slices = activity.slices
    return Report(name, title, unit, slices.starts, slices.width_ms / 1000, series, rows)


def _by_time(activity: Activity, row: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"at": start, **row(n)} for n, start in enumerate(activity.slices.starts)]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percentile_s(histogram: Histogram, share: float) -> float | None:
    return histogram.percentile_ms(share) / 1000 if histogram else None


REPORTS: dict[str, Callable[[Activity], Report]] = {
    make.__name__: make for make in (failures, waits, retries, utilisation, concurrency)
}
"""By name, in the order in which they are told."""
