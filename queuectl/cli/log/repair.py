"""`log repair`: making a damaged log whole again, as far as that can be."""

from __future__ import annotations

import sys
from typing import Any

import click

from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.telling.words import counted, printable


@click.command(
    epilog="""\b
Examples:
  queuectl log repair
  queuectl log repair --yes"""
)
@click.option("-y", "--yes", is_flag=True, help="Do it, and do not ask.")
@json_option
@pass_app
def repair(app: App, yes: bool, as_json: bool) -> None:
    """Make a damaged log whole again, and say what is lost.

    Without --yes it shows what it would do; on a terminal it asks. Every line that verifies by
    itself is kept, and what the archive has costs nothing. The files that are changed are kept
    aside as they were, and the log says itself what it has lost. No worker may be running.
    """
    from queuectl.runtime import repairing

    with repairing.Repairing(app.data) as work:
        plan = work.plan()
        for mending in plan.mendings if not as_json else ():
            click.echo(_line(mending))
        agreed = bool(plan.mendings) and (yes or _agree(app, as_json))
        done = work.carry_out(plan) if agreed else None
        if as_json:
            emit({"mendings": [each._asdict() for each in plan.mendings], **_outcome(done)})
        elif not plan.mendings:
            app.say("there is nothing to repair")
        elif done is None:
            app.say("nothing was changed; queuectl log repair --yes does it")
        else:
            app.say(f"repaired; the files are kept as they were in {printable(done.aside)}")
            if done.expired:
                app.say(f"the end of {counted(done.expired, 'run')} is lost: those jobs run again")


def _outcome(done: Any) -> dict[str, Any]:
    if done is None:
        return {"repaired": False, "aside": None, "expired": 0}
    return {"repaired": True, "aside": done.aside, "expired": done.expired}


def _line(mending: Any) -> str:
    lost = ", ".join(
        f"event {first}" if first == last else f"events {first} to {last}"
        for first, last in mending.lost
    )
    text = f"{mending.file}: {mending.wrong}: {mending.remedy}"
    return printable(f"{text}, lost: {lost}" if lost else text)


def _agree(app: App, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return False
    return click.confirm("repair it so?", err=True)
