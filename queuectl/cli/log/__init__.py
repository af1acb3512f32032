"""`log`: the log itself: its files and its events, and what can be done with them."""

from __future__ import annotations

import click

from queuectl.cli.documents import emit
from queuectl.cli.events import tail
from queuectl.cli.log.compact import compact
from queuectl.cli.log.copy import copy
from queuectl.cli.log.redact import redact
from queuectl.cli.log.repair import repair
from queuectl.cli.log.replay import replay
from queuectl.cli.log.verify import verify
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import columns
from queuectl.quantities import format_size
from queuectl.telling.words import printable


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


log.add_command(tail)
log.add_command(verify)
log.add_command(replay)
log.add_command(compact)
log.add_command(copy)
log.add_command(repair)
log.add_command(redact)
