"""`log verify`: whether every byte is as it was written, and the past still what it was."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli.anchors import anchor_option, parse
from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import PartlyDone
from queuectl.quantities import format_size
from queuectl.telling.documents import event_document
from queuectl.telling.story import tell
from queuectl.telling.words import counted, printable


@click.command(
    epilog="""\b
Examples:
  queuectl log verify
  queuectl -q log verify >> /elsewhere/anchors
  queuectl log verify --anchor /elsewhere/anchors"""
)
@anchor_option("Show that the log still has the past of which this was printed. Repeatable.")
@json_option
@pass_app
def verify(app: App, anchors: tuple[str, ...], as_json: bool) -> None:
    """Check that every byte is as it was written; exits 7 if not.

    Checked are the bytes, that every event can have happened, that the archive has what was taken
    out, and that replaying all of it gives what the queue knows. The line printed is an anchor:
    kept elsewhere, it shows later whether that past is still there, even if its end was cut off,
    and what `queuectl proof` makes can be held against it.
    """
    from queuectl.engines.file import anchors as proofs
    from queuectl.engines.file import verify as checks
    from queuectl.engines.file.evidence import Evidence
    from queuectl.projections.audit import Audit

    wanted = parse(anchors)
    with app.open() as queue:
        known = queue.state
        log = queue.log
        with Progress(app, format_size) as progress:
            report = checks.verify(
                log,
                lambda: Audit(known, log.compactions()),
                progress,
                lambda: Evidence(heads=[anchor.head for anchor in wanted], asked=known.redactions),
            )
        roots = report.evidence.roots
        for anchor in wanted:
            proofs.prove(log, anchor, roots.get(anchor.head))
        root = report.evidence.root()
        if as_json:
            redactions = [event_document(event) for event in known.redactions]
            emit({**_document(report, root), "redactions": redactions, "anchors": len(wanted)})
        else:
            click.echo(str(proofs.Anchor(report.head, report.crc, report.sha256, root)))
            _tell(app, report, len(wanted))
            for event in known.redactions:
                app.say(printable(f"redacted at {event.at}, job {event.job}: {tell(event)}"))
        unfinished = report.evidence.redactions.unfinished
        if unfinished:
            events = ", ".join(map(str, sorted(unfinished)))
            raise PartlyDone(
                f"what was to be redacted is still in events {events}: queuectl log compact"
                " finishes it"
            )


def _document(report: Any, root: Any) -> dict[str, Any]:
    figures = {name: value for name, value in vars(report).items() if name != "evidence"}
    unfinished = sorted(report.evidence.redactions.unfinished)
    return {
        **figures,
        "root": root and root.hash,
        "from": root and root.first,
        "unfinished": unfinished,
    }


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
