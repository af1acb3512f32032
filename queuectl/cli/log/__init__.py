"""`log`: the log itself: its files and its events, and what can be done with them."""

from __future__ import annotations

import itertools

import click

from queuectl.cli.documents import emit, emit_lines, event_document
from queuectl.cli.log.compact import compact
from queuectl.cli.log.redact import redact
from queuectl.cli.log.repair import repair
from queuectl.cli.log.verify import verify
from queuectl.cli.parameters import json_option, jsonl_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import columns, printable
from queuectl.errors import Invalid
from queuectl.quantities import format_size

_POLL_S = 0.05


@click.group(
    epilog="""\b
Examples:
  queuectl log tail -f
  queuectl log verify
  queuectl log compact --dry-run
  queuectl log segments"""
)
def log() -> None:
    """Look into the log that everything is kept in."""


@log.command(
    epilog="""\b
Examples:
  queuectl log segments
  queuectl log segments --json | jq 'map(.bytes) | add'"""
)
@json_option
@pass_app
def segments(app: App, as_json: bool) -> None:
    """List the files of the log."""
    with app.open() as queue:
        files = queue.log.segments
        firsts = files.list()
        rows = [
            {
                "file": files.path(first),
                "first_offset": first,
                "bytes": queue.log.durable_size(first),
                "sealed": first != firsts[-1],
            }
            for first in firsts
        ]
        if as_json:
            emit(rows)
            return
        table = [
            (
                str(row["first_offset"]),
                "sealed" if row["sealed"] else "active",
                format_size(row["bytes"]),
                printable(row["file"]),
            )
            for row in rows
        ]
        click.echo(columns(table, ("FIRST", "IS", "SIZE", "FILE")))


@log.command(
    epilog="""\b
Examples:
  queuectl log tail -n 3
  queuectl log tail -f | jq 'select(.type == "job.dead")'"""
)
@click.option(
    "-n", "--lines", type=int, default=10, show_default=True, help="The last so many; 0: all."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--show-env", is_flag=True, help="Show the values given with --env, too.")
@json_option
@jsonl_option
@pass_app
def tail(app: App, lines: int, follow: bool, show_env: bool, as_json: bool, as_jsonl: bool) -> None:
    """Print the last events as JSON lines.

    Only what is durable is shown.
    """
    if lines < 0:
        raise Invalid(f"--lines {lines}: it is 0 (for all) or more")
    if as_json and follow:
        raise Invalid("--json is one document and --follow never ends: use --jsonl")
    with app.open() as queue:
        seen = max(0, queue.log.head() - lines) if lines else 0
        if as_json:
            events = itertools.chain.from_iterable(queue.log.read(seen))
            emit([event_document(event, show_env=show_env) for event in events])
            return
        while True:
            for some in queue.log.read(seen):
                emit_lines(event_document(event, show_env=show_env) for event in some)
                seen = some[-1].offset
            if not follow:
                return
            queue.host.sleep(_POLL_S)


log.add_command(verify)
log.add_command(compact)
log.add_command(repair)
log.add_command(redact)
