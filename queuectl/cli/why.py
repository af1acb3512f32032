"""`why`: what made a job what it is now, and what it waits for."""

from __future__ import annotations

import click

from queuectl import asking
from queuectl.cli import completion
from queuectl.cli.documents import emit
from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.telling.documents import reasons_document
from queuectl.telling.moments import Named
from queuectl.telling.story import because


@click.command(
    epilog="""\b
Examples:
  queuectl why job1
  queuectl why job1 --at 2h
  queuectl why job1 --json | jq -r '.causes[].text'"""
)
@click.argument("name", metavar="ID", shell_complete=completion.jobs)
@at_option
@json_option
@pass_app
def why(app: App, name: str, at: Named | None, as_json: bool) -> None:
    """Show why a job is as it is, and what it waits for.

    The event in which it was said stands behind a line, as in queuectl history; lines without one
    are read off this moment. A purged job is named by its whole id.
    """
    with look(app, at) as queue:
        found = asking.why(queue, name)
        now = queue.now()
        if as_json:
            emit(reasons_document(found, now))
            return
        click.echo(f"{found.id} is {found.state}")
        for cause in found.causes:
            event = f"  (event {cause.event.offset})" if cause.event is not None else ""
            click.echo(f"  {because(cause, now)}{event}")
