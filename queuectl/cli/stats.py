"""`stats`: what the queue has done, in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import click

from queuectl.cli.documents import emit
from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import columns
from queuectl.domain.job import COMPLETED, DEAD, Job
from queuectl.projections.statistics import Histogram
from queuectl.telling.documents import percentiles, stats_document
from queuectl.telling.moments import Named
from queuectl.telling.words import number, seconds, shorten

_SETTLE_EVERY = 1000
_GROUPS: dict[str, Callable[[Job], str]] = {
    "queue": lambda job: job.queue,
    "command": lambda job: job.spec.command.split(None, 1)[0],
    "worker": lambda job: job.worker,
}
_LABELS = {"total_commands": "runs", "uptime": "age of the log"}
"""For people; to programs they keep the names that others gave them."""


@click.command(
    epilog="""\b
Examples:
  queuectl stats
  queuectl stats --by queue
  queuectl stats --json | jq .run_seconds.p95"""
)
@click.option(
    "--by", type=click.Choice(list(_GROUPS)), help="One line each, by the last run of jobs."
)
@at_option
@json_option
@pass_app
def stats(app: App, by: str | None, at: Named | None, as_json: bool) -> None:
    """Show totals, throughput, times, and how much fails.

    TOTAL JOBS and DEAD JOBS are those that there are; all else counts what ever happened, also to
    jobs that were purged since. Waiting is from the moment a job could have run to its start.
    Throughput is what was completed in the age of the log. In --json, `total_commands` counts the
    runs, and `uptime` is the age of the log in seconds.
    """
    with look(app, at) as queue:
        if by is not None:
            _by_group(queue, by, as_json)
            return
        state = queue.state
        document = stats_document(state.statistics, state.counts, queue.now())
        if as_json:
            emit(document)
            return
        for name, value in document.items():
            label = _LABELS.get(name) or name.removesuffix("_seconds").replace("_", " ")
            click.echo(f"{label + ':':<24}{_shown(name, value)}")


def _shown(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{share} {seconds(figure * 1000)}" for share, figure in value.items())
    if name == "failure_rate":
        return f"{value:.1%}"
    if name == "throughput_per_second":
        return number(value)
    return seconds(value * 1000) if isinstance(value, float) else f"{value:,}"


class _Group:
    """Jobs that have something in common, in numbers: there may be millions of them."""

    def __init__(self) -> None:
        self.total = 0
        self.states: Counter[str] = Counter()
        self.wait = Histogram()
        self.run = Histogram()

    def add(self, job: Job) -> None:
        self.states[job.state] += 1
        self.wait.add(job.wait_ms)
        self.run.add(job.run_ms)
        self.total += 1
        if not self.total % _SETTLE_EVERY:
            self.wait.settle()
            self.run.settle()


def _by_group(queue: Any, by: str, as_json: bool) -> None:
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    name_of = _GROUPS[by]
    for job in queue.jobs():
        if job.started_at:
            groups[name_of(job)].add(job)
    rows = [_group_document(by, name, groups[name]) for name in sorted(groups)]
    if as_json:
        emit(rows)
        return
    table = [
        (
            shorten(row[by], 40),
            str(row["total_jobs"]),
            str(row["completed_jobs"]),
            str(row["dead_jobs"]),
            seconds(row["average_runtime"] * 1000),
            seconds(row["run_seconds"]["p95"] * 1000),
            seconds(row["wait_seconds"]["p95"] * 1000),
        )
        for row in rows
    ]
    titles = (by.upper(), "JOBS", "COMPLETED", "DEAD", "AVERAGE", "RUN P95", "WAIT P95")
    click.echo(columns(table, titles))


def _group_document(by: str, name: str, group: _Group) -> dict[str, Any]:
    taken = percentiles(group.run)
    return {
        by: name,
        "total_jobs": group.total,
        "completed_jobs": group.states[COMPLETED],
        "dead_jobs": group.states[DEAD],
        "average_runtime": group.run.average_ms / 1000,
        "max_runtime": taken["max"],
        "wait_seconds": percentiles(group.wait),
        "run_seconds": taken,
    }
