"""`export`: events, jobs and runs as files of other programs."""

from __future__ import annotations

import sys
from typing import Any

import click

from queuectl.cli.moments import TIME
from queuectl.cli.parameters import pass_app
from queuectl.cli.reading import reading
from queuectl.cli.root import App
from queuectl.errors import Invalid
from queuectl.telling.moments import Named
from queuectl.telling.words import printable, printable_json, printable_output

_FORMATS = (
    "parquet",
    "csv",
    "sqlite",
    "duckdb",
    "jsonl",
    "cloudevents",
    "chrome-trace",
    "joblog",
)


@click.command(
    epilog="""\b
Examples:
  queuectl export --to runs.parquet --view runs
  queuectl export --to queue.sqlite                      events, jobs and runs as tables
  queuectl export --to - --format jsonl --view runs | jq 'select(.outcome == "failed")'
  queuectl export --to trace.json                        for https://ui.perfetto.dev
  queuectl export --to done.joblog && parallel --resume --joblog done.joblog < commands
  queuectl export --to backup.jsonl --show-env           a whole queue, for queuectl import"""
)
@click.option("--to", metavar="FILE", required=True, help="Where to; - for standard output.")
@click.option(
    "--format",
    "name",
    type=click.Choice(_FORMATS),
    help="What to write; by default what the ending of FILE says.",
)
@click.option(
    "--view",
    "views",
    multiple=True,
    type=click.Choice(["events", "jobs", "runs"]),
    help="What to export; for sqlite and duckdb all of them unless some are named.",
)
@click.option("--since", type=TIME, help="Only what began then or later: a time, or how long ago.")
@click.option("--until", type=TIME, help="Only what began before then.")
@click.option("--show-env", is_flag=True, help="With the values given with --env, too.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@pass_app
def export(
    app: App,
    to: str,
    name: str | None,
    views: tuple[str, ...],
    since: Named | None,
    until: Named | None,
    show_env: bool,
    force: bool,
) -> None:
    """Write events, jobs or runs as a file for other programs.

    events: all that happened, as it stands in the log, with what compaction has put into the
    archive. jobs: those there are, as they stand now. runs: one row for each run, with command,
    outcome and figures. --since and --until choose events by their time, jobs by when they were
    enqueued, runs by when they began.

    FILE is there whole or not at all. From a damaged log comes what stands before the damage, and
    exit code 6. parquet and duckdb need the extra duckdb, and where that is missing, they say what
    to install.
    """
    from queuectl.exports import formats
    from queuectl.exports.target import Target

    if name is None and to == "-":
        raise Invalid("--to -: say with --format what to write")
    format = formats.FORMATS[name] if name else formats.guessed(to)
    chosen = _views(format, views)
    with reading(app, since=since, until=until, show_env=show_env) as (source, progress):
        if to == "-":
            formats.stream(source, format, chosen, _write)
            sys.stdout.buffer.flush()
            return
        with Target(to, source.queue.host, force=force) as target:
            formats.export(source, format, chosen, target)
        progress.clear()
        app.say(f"exported to {printable(to)}, as of event {source.through}")


def _write(piece: bytes) -> None:
    """Write whole lines, of which a terminal gets none that it would obey."""
    if sys.stdout.isatty():
        text = piece.decode()
        piece = (printable_json(text) if text[:1] in "{}[]," else printable_output(text)).encode()
    sys.stdout.buffer.write(piece)


def _views(format: Any, names: tuple[str, ...]) -> list[Any]:
    """What to export. Raises `Invalid` where the format has no place for it."""
    known = {view.name: view for view in format.views}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise Invalid(f"--view {wrong[0]}: {format.name} is made of {', '.join(known)}")
    if format.is_database:
        return [view for view in format.views if not names or view.name in names]
    if len(set(names)) > 1:
        raise Invalid(f"--view: {format.name} holds one of them; sqlite and duckdb hold several")
    return [known[names[0]] if names else format.views[0]]
