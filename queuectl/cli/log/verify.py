"""`log verify`: whether every byte is as it was written."""

from __future__ import annotations

import click

from queuectl.cli.documents import emit
from queuectl.cli.log.progress import progress
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import counted
from queuectl.quantities import format_size


@click.command(
    epilog="""\b
Examples:
  queuectl log verify
  queuectl log verify --json | jq .head"""
)
@json_option
@pass_app
def verify(app: App, as_json: bool) -> None:
    """Check that every byte is as it was written; exits 7 if not."""
    from queuectl.engines.file import verify as checks

    with app.open() as queue:
        report = checks.verify(queue.log, progress(app))
        if as_json:
            emit(report._asdict())
            return
        click.echo(f"head {report.head} crc {report.crc}")
        app.say(
            f"verified {counted(report.events, 'event')} in"
            f" {counted(report.segments, 'segment')}, {format_size(report.size)}:"
            " checksums, chain, hashes, order and batches are right"
        )
