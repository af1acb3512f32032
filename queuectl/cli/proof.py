"""`proof`: what happened to a job, for somebody who has nothing but a file and an anchor."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from queuectl.asking import id_of
from queuectl.cli import anchors as given_anchors
from queuectl.cli import completion
from queuectl.cli.anchors import anchor_option
from queuectl.cli.documents import emit
from queuectl.cli.files import content
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import Disproved, Invalid, PartlyDone
from queuectl.events.vocabulary import wire_name
from queuectl.quantities import format_size
from queuectl.telling.documents import event_document
from queuectl.telling.story import line
from queuectl.telling.words import counted


@click.command(
    epilog="""\b
Examples:
  queuectl proof job1 --to job1.proof
  queuectl proof --check job1.proof --anchor /elsewhere/anchors
  queuectl proof job1 --anchor /elsewhere/anchors | ssh auditor queuectl proof --check -"""
)
@click.argument("name", metavar="[ID]", required=False, shell_complete=completion.jobs)
@click.option("--to", metavar="FILE", help="Write it there, and not to standard output.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--check", "proof_file", metavar="FILE", help="Check that proof; needs no queue. -: from stdin."
)
@anchor_option(
    "Up to the newest of these anchors, and not to the last event. With --check: hold it against"
    " them. Repeatable."
)
@json_option
@pass_app
def proof(
    app: App,
    name: str | None,
    to: str | None,
    force: bool,
    proof_file: str | None,
    anchors: tuple[str, ...],
    as_json: bool,
) -> None:
    """Prove what happened to a job, or check such a proof.

    A proof has every event of the job as it stands in the log, values of --env included, and what
    ties each to the line that `queuectl log verify` prints. Whoever has kept that line needs
    nothing else to check it. It shows that these events are in that log, unaltered, and fit each
    other from one to the next; it cannot show that nothing follows them. Exits 7 for one that is
    not right.
    """
    if (name is None) == (proof_file is None):
        raise Invalid("name a job to prove, or a proof to --check: one of them")
    kept = given_anchors.parse(anchors)
    if proof_file is not None:
        if to is not None:
            raise Invalid("--check writes nothing, so leave out --to")
        _check(app, proof_file, kept, as_json)
    else:
        assert name is not None
        newest = max(kept, key=lambda anchor: anchor.head, default=None)
        _prove(app, name, to, force, newest)


def _prove(app: App, name: str, to: str | None, force: bool, anchor: Any) -> None:
    import msgspec

    from queuectl.exports.target import Target
    from queuectl.projections.proof import check
    from queuectl.runtime.proving import prove

    with app.open() as queue, ExitStack() as held:
        # Before all the work that it may have been for nothing.
        target = held.enter_context(Target(to, queue.host, force=force)) if to is not None else None
        with Progress(app, format_size) as progress:
            made = prove(queue, id_of(queue, name), anchor, progress)
        data = msgspec.json.encode(made) + b"\n"
        shown = check(data)
        if target is not None:
            target.write([data])
            target.keep()
        else:
            emit(msgspec.to_builtins(made))
    app.say(f"{_summary(shown)}, proved up to event {shown.anchor.head}")
    if not shown.begins:
        raise PartlyDone(
            f"what happened to job {shown.job} before event {shown.events[0].offset} is not proved:"
            " those events are not in the archive as they were any more"
        )


def _check(app: App, file: str, kept: list[Any], as_json: bool) -> None:
    from queuectl.projections import timeline
    from queuectl.projections.proof import check

    try:
        shown = check(content(file), kept)
    except Disproved as error:
        raise Disproved(f"{file}: the proof is not right: {error}") from None
    if as_json:
        emit(
            {
                "job": shown.job,
                "log": shown.log,
                "anchor": str(shown.anchor),
                "anchored": bool(kept),
                "begins": shown.begins,
                "emptied": shown.emptied,
                "events": [event_document(event) for event in shown.events],
            }
        )
        return
    click.echo(_summary(shown))
    for step in timeline.of(shown.events):
        click.echo(line(step, show_env=False))
    if kept:
        app.say(f"all of them stood in the log at event {shown.anchor.head}, says what was kept")
    else:
        app.say(f"all of them stood in the log of which this is the anchor: {shown.anchor}")
        app.say("whether it is, --anchor tells from a line of log verify that was kept elsewhere")
    for offset in shown.emptied:
        app.say(f"event {offset} was redacted since: of what it said only the hash is proved")
    if not shown.begins:
        app.say("what happened to the job before is not in the proof")


def _summary(shown: Any) -> str:
    first, last = shown.events[0], shown.events[-1]
    return (
        f"{shown.job}: {counted(len(shown.events), 'event')}, from {_told(first)} to {_told(last)}"
    )


def _told(event: Any) -> str:
    return f"{wire_name(event)} (event {event.offset}, {event.at})"
