"""`report`: what the queue did over time, in tables and plots."""

from __future__ import annotations

import os
from typing import Any

import click

from queuectl.cli import completion
from queuectl.cli.documents import emit
from queuectl.cli.moments import TIME
from queuectl.cli.parameters import DURATION, json_option, pass_app
from queuectl.cli.plot import drawn
from queuectl.cli.reading import reading
from queuectl.cli.root import App
from queuectl.cli.text import columns
from queuectl.errors import Invalid
from queuectl.projections.activity import Activity
from queuectl.projections.reports import RATE, REPORTS, SECONDS, Report
from queuectl.projections.slices import Slices
from queuectl.suggestion import did_you_mean
from queuectl.telling.moments import Named
from queuectl.telling.words import number, printable, seconds, shorten

_COMMAND_CHARACTERS = 60


@click.command(
    epilog="""\b
Examples:
  queuectl report
  queuectl report waits --since 7d --every 6h
  queuectl report failures --json | jq '.reports[0].rows[0]'
  queuectl report --since 30d --to month.svg"""
)
@click.argument(
    "name",
    metavar="[NAME]",
    required=False,
    shell_complete=lambda _context, _parameter, begun: completion.items(REPORTS, begun),
)
@click.option(
    "--since", type=TIME, help="From then on: a time, or how long ago; else from the first event."
)
@click.option("--until", type=TIME, help="Up to then; else to the end.")
@click.option("--every", type=DURATION, help="How long a slice of time is; else some 30 of all.")
@click.option("--to", metavar="FILE", help="Draw it into a file: .svg or .png.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@pass_app
def report(
    app: App,
    name: str | None,
    since: Named | None,
    until: Named | None,
    every: int | None,
    to: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Tell what the queue did over time.

    NAME is one of failures (failure rate by command), waits (how long jobs wait and run), retries
    (retry storms: runs that are mostly retries), utilisation (of the slots of workers) and
    concurrency (runs at once); without it they are all drawn, and with it there is a table, too.
    Times are UTC. A file needs the extra report, and where that is missing, it says what to
    install.
    """
    names = _names(name)
    form = _form(to) if to is not None else ""
    with reading(app) as (source, progress):
        queue = source.queue
        state, now = queue.state, queue.now()
        first = state.statistics.first_at
        # Of what was before the log or has not been yet there is nothing to tell.
        begin = max(since.time(queue) if since else "", first) or now
        end = min(until.time(queue), now) if until else state.statistics.last_at or now
        if end < first:
            raise Invalid(f"--until {end}: nothing had happened by then: the log begins at {first}")
        if begin > end:
            raise Invalid(f"there is no time from {begin} to {end}: --since is behind the end")
        try:
            slices = Slices(begin, end, every or 0)
        except ValueError as error:
            raise Invalid(f"--every: {error}; make it longer, or the time shorter") from None
        activity = Activity(slices, queue.find_spec)
        gaps = 0
        for events in source.events():
            if events[0].at > end:
                break
            if gaps < len(source.gaps):
                gaps = len(source.gaps)
                activity.lose(source.going())
            for event in events:
                activity.apply(event)
        activity.finish()
        progress.clear()
        reports = [REPORTS[name](activity) for name in names]
        if to is not None:
            _draw(app, queue, reports, to, form, force)
        elif as_json:
            emit({"since": begin, "until": end, "reports": list(map(_document, reports))})
        else:
            click.echo("\n\n".join(_told(one, with_table=name is not None) for one in reports))


def _document(report: Report) -> dict[str, Any]:
    return {**report._asdict(), "series": [series._asdict() for series in report.series]}


def _names(name: str | None) -> list[str]:
    if name is None:
        return list(REPORTS)
    if name not in REPORTS:
        hint = did_you_mean(name, REPORTS) or f": it is one of {', '.join(REPORTS)}"
        raise Invalid(f"there is no report {name!r}{hint}")
    return [name]


def _form(to: str) -> str:
    from queuectl.exports.plots import FORMS

    ending = os.path.splitext(to)[1].lower()
    if ending not in FORMS:
        raise Invalid(f"--to {to}: a picture ends in {' or '.join(FORMS)}")
    return FORMS[ending]


def _draw(app: App, queue: Any, reports: list[Report], to: str, form: str, force: bool) -> None:
    from queuectl.exports.plots import draw
    from queuectl.exports.target import Target

    with Target(to, queue.host, force=force) as target:
        draw(reports, target, form)
        target.keep()
    app.say(f"drawn to {printable(to)}")


# ---- for people


def _told(report: Report, *, with_table: bool) -> str:
    lines = [report.title, ""]
    lines += drawn(report, lambda value: _figure(report.unit, value))
    if not report.series:
        lines = [report.title, "", "nothing has run"]
    if with_table and report.rows:
        titles = [_title(name) for name in report.rows[0]]
        cells = [[_cell(name, value) for name, value in row.items()] for row in report.rows]
        lines += ["", columns(cells, titles)]
    return "\n".join(lines)


def _figure(unit: str, value: float) -> str:
    if unit == RATE:
        return f"{value:.1%}"
    return seconds(value * 1000) if unit == SECONDS else number(value)


def _title(name: str) -> str:
    return name.removesuffix(f"_{SECONDS}").replace("_", " ").upper()


def _cell(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, str):
        return shorten(value, _COMMAND_CHARACTERS)
    for unit in (RATE, SECONDS):
        if name.endswith(unit):
            return _figure(unit, value)
    return number(value) if isinstance(value, float) else f"{value:,}"
