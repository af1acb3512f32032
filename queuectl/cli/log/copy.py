"""`log copy`: a queue as a backup takes it, while it is in use."""

from __future__ import annotations

import click

from queuectl.cli.parameters import pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.quantities import format_size
from queuectl.telling.words import printable


@click.command(
    epilog="""\b
Examples:
  queuectl log copy /backup/queue-2026-11-22
  queuectl -q log copy /backup/today >> /elsewhere/anchors
  queuectl --data /backup/today status"""
)
@click.argument("place", metavar="DIR", type=click.Path())
@pass_app
def copy(app: App, place: str) -> None:
    """Copy the queue to DIR while it is in use.

    The copy is of one moment, has been verified, and is a queue that can be used at once. DIR must
    not be there; it is whole or not there at all. Along go the log, its archive, what jobs have
    printed, sinks and how far each has got; workers do not. The line printed is the
    anchor of the copy, as `queuectl log verify` prints it. From a damaged log nothing is copied:
    repair it first.
    """
    from queuectl.engines.file.anchors import Anchor
    from queuectl.runtime.copying import copy

    with app.open() as queue:
        # Who enqueues and runs jobs meanwhile is waited for by somebody.
        queue.host.give_way()
        with Progress(app, format_size) as progress:
            report = copy(queue, place, progress)
        root = report.evidence.root()
        click.echo(str(Anchor(report.head, report.crc, report.sha256, root)))
        app.say(f"copied to {printable(place)}, and verified up to event {report.head}")
