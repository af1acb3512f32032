"""`errors`: what fails, told apart by kind."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import click

from queuectl import instants
from queuectl.bulk import one_of
from queuectl.cli.documents import emit
from queuectl.cli.jobs import job_table
from queuectl.cli.moments import TIME
from queuectl.cli.parameters import (
    json_option,
    limit_option,
    pass_app,
    queues_option,
)
from queuectl.cli.reading import reading
from queuectl.cli.root import App
from queuectl.cli.text import columns
from queuectl.domain.fingerprint import of_job
from queuectl.domain.job import DEAD, Job
from queuectl.projections.failures import Group, direction, grouped
from queuectl.projections.runs import Run
from queuectl.telling.documents import job_document
from queuectl.telling.moments import Named
from queuectl.telling.words import ago, bar, counted, shorten

_SLICES = 8


class _Span(NamedTuple):
    """What was looked at: from one time to another."""

    since: instants.Instant
    until: instants.Instant


@click.command(
    epilog="""\b
Examples:
  queuectl errors
  queuectl errors --since 1d --json | jq '.groups[0].command'
  queuectl errors 3f09
  queuectl dlq retry --error 3f09 --reason "disk is mounted again\""""
)
@click.argument("name", metavar="[F]", required=False)
@click.option("--since", type=TIME, help="Only failures since then: a time, or how long ago.")
@queues_option
@limit_option
@json_option
@pass_app
def errors(
    app: App,
    name: str | None,
    since: Named | None,
    queues: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Show what fails, grouped by kind; with F one group and its jobs.

    A group has a fingerprint: the shape of the command and of the last line of its errors, without
    paths, numbers and quoted text, and the exit code. FAILED counts runs, JOBS the jobs they were
    of, DEAD those that are dead of it now. WHEN draws how many failed in each eighth of the time
    looked at, and TREND is its later half beside its earlier one: new, rising, steady, falling, or
    stopped when nothing has failed so since. The start of a fingerprint is enough, here and for
    --error of list, retry and dlq retry.
    """
    with reading(app) as (source, progress):
        queue = source.queue
        now = queue.now()
        begin = since.time(queue) if since is not None else ""
        runs = source.runs_ended(begin) if begin else source.runs()
        groups = grouped(_runs(runs, queues), begin)
        progress.clear()
        dead_jobs = queue.jobs(states=[DEAD], queues=queues) if groups else ()
        dead = Counter(of_job(job).id for job in dead_jobs)
        span = _Span(begin or queue.state.statistics.first_at or now, now)
        if name is not None:
            _show(app, queue, _named(groups, name), dead, span, limit, as_json)
            return
        shown = groups[: limit or None]
        if as_json:
            emit({**span._asdict(), "groups": [_document(group, dead, span) for group in shown]})
            return
        if shown:
            click.echo(_table(shown, dead, span))
        else:
            app.say("nothing has failed")
        if len(shown) < len(groups):
            app.say(f"{len(shown)} of {len(groups)} kinds of failure; --limit 0 shows all")


def _runs(pieces: Iterable[list[Run]], queues: tuple[str, ...]) -> Iterator[list[Run]]:
    for runs in pieces:
        yield [run for run in runs if run.queue in queues] if queues else runs


def _named(groups: list[Group], start: str) -> Group:
    by_id = {group.fingerprint.id: group for group in groups}
    return by_id[one_of(start, by_id, "no failure")]


def _document(group: Group, dead: Counter[str], span: _Span) -> dict[str, Any]:
    trend = group.trend(*span, _SLICES)
    found = group.fingerprint
    return {
        "id": found.id,
        **found._asdict(),
        "failures": group.count,
        "jobs": len(group.jobs),
        "dead": dead[found.id],
        "first_at": group.first_at,
        "last_at": group.last_at,
        "trend": trend,
        "direction": direction(trend),
        "example": group.last_job,
    }


def _table(groups: list[Group], dead: Counter[str], span: _Span) -> str:
    width = 50 if sys.stdout.isatty() else None
    rows = []
    for group in groups:
        found = group.fingerprint
        code = "" if found.exit_code is None else str(found.exit_code)
        command = f"{shorten(found.command, width)}  [{shorten(found.error, width)}]"
        rows.append(
            (
                found.id,
                str(group.count),
                str(len(group.jobs)),
                str(dead[found.id]),
                *_trend(group, span),
                _ago(group.first_at, span),
                _ago(group.last_at, span),
                code,
                command,
            )
        )
    titles = ("F", "FAILED", "JOBS", "DEAD", "WHEN", "TREND", "FIRST", "LAST", "EXIT", "COMMAND")
    return columns(rows, titles)


def _trend(group: Group, span: _Span) -> tuple[str, str]:
    """The trend as a bar, and as a word for those to whom that says nothing."""
    trend = group.trend(*span, _SLICES)
    return bar(trend), direction(trend)


def _ago(at: str, span: _Span) -> str:
    return ago(instants.between_ms(at, span.until))


def _show(
    app: App,
    queue: Any,
    group: Group,
    dead: Counter[str],
    span: _Span,
    limit: int,
    as_json: bool,
) -> None:
    """One group, and its jobs that there are."""
    found = (queue.known.jobs.get(id) for id in reversed(group.jobs))
    jobs: list[Job] = list(islice((job for job in found if job is not None), limit or None))
    if as_json:
        affected = [job_document(job) for job in jobs]
        emit({**span._asdict(), **_document(group, dead, span), "affected": affected})
        return
    failure = group.fingerprint
    when, trend = _trend(group, span)
    lines = {
        "fingerprint": failure.id,
        "command": shorten(failure.command, None),
        "exit code": "none" if failure.exit_code is None else str(failure.exit_code),
        "error": shorten(failure.error, None),
        "failures": f"{counted(group.count, 'run')} of {counted(len(group.jobs), 'job')},"
        f" {dead[failure.id]} dead of it now",
        "first": f"{group.first_at} ({_ago(group.first_at, span)})",
        "last": f"{group.last_at} ({_ago(group.last_at, span)}), of job {group.last_job}",
        "when": when,
        "trend": trend,
    }
    for key, value in lines.items():
        click.echo(f"{key + ':':<13}{value}")
    if jobs:
        click.echo("\n" + job_table(app, jobs, span.until), color=app.colour)
    if len(jobs) < len(group.jobs):
        app.say(f"{len(jobs)} of {counted(len(group.jobs), 'job')}; --limit 0 shows all there are")
