"""`log verify`: whether every byte is as it was written, and the past still what it was."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import click

from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.cli.text import counted
from queuectl.errors import Invalid
from queuectl.quantities import format_size


@click.command(
    epilog="""\b
Examples:
  queuectl log verify
  queuectl -q log verify >> /elsewhere/anchors
  queuectl log verify --anchor /elsewhere/anchors"""
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE|LINE",
    help="Show that the log still has the past of which this was printed. Repeatable.",
)
@json_option
@pass_app
def verify(app: App, anchors: tuple[str, ...], as_json: bool) -> None:
    """Check that every byte is as it was written; exits 7 if not.

    Checked are the bytes, that every event can have happened, that the archive has what was taken
    out, and that replaying all of it gives what the queue knows. The line printed is an anchor:
    kept elsewhere, it shows later whether that past is still there, even if its end was cut off.
    """
    from queuectl.engines.file import anchors as proofs
    from queuectl.engines.file import verify as checks
    from queuectl.projections.audit import Audit

    wanted = [proofs.parse(line) for anchor in anchors for line in _lines(anchor)]
    with app.open() as queue:
        known = queue.state
        log = queue.log
        with Progress(app, format_size) as progress:
            report = checks.verify(log, lambda: Audit(known, log.compactions()), progress)
        for anchor in wanted:
            proofs.prove(log, anchor)
        if as_json:
            emit({**asdict(report), "anchors": len(wanted)})
            return
        click.echo(str(proofs.Anchor(report.head, report.crc, report.sha256)))
        _tell(app, report, len(wanted))


def _lines(anchor: str) -> list[str]:
    """The anchors in a file, or the one that was given itself."""
    if not os.path.exists(anchor):
        return [anchor]
    try:
        with open(anchor, encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"--anchor {anchor}: {getattr(error, 'strerror', '') or error}") from None
    if not lines:
        raise Invalid(f"--anchor {anchor}: the file is empty")
    return lines


def _tell(app: App, report: Any, anchors: int) -> None:
    archives = ""
    if report.archives:
        size = format_size(report.archive_size)
        archives = f" and {counted(report.archives, 'archived one')}, {size}"
    app.say(
        f"verified {counted(report.events, 'event')} in {counted(report.segments, 'segment')},"
        f" {format_size(report.size)}{archives}: checksums, chain, hashes, order and batches are"
        " right, every event can have happened, and replay gives what is known"
    )
    for first, last in report.missing:
        app.say(f"the originals of events {first} to {last} are not in the archive any more")
    for first, last in report.repaired:
        app.say(
            f"events {first} to {last} were repaired: there is no original to compare them with"
        )
    if anchors:
        app.say(f"the log still has the past of {counted(anchors, 'anchor')}")
