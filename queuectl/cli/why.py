"""`why`: what made a job what it is now, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from queuectl.cli import completion
from queuectl.cli.documents import emit
from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.errors import NotFound
from queuectl.events import vocabulary as v
from queuectl.projections.causes import Cause, Now, causes
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
        id, state, chain = _chain(queue, name)
        now = queue.now()
        texts = [because(cause, now) for cause in chain]
        if as_json:
            emit(
                {
                    "id": id,
                    "state": state,
                    "at": now,
                    "causes": list(map(_document, chain, texts)),
                }
            )
            return
        click.echo(f"{id} is {state}")
        for cause, text in zip(chain, texts, strict=True):
            event = f"  (event {cause.event.offset})" if cause.event is not None else ""
            click.echo(f"  {text}{event}")


def _chain(queue: Any, name: str) -> tuple[str, str, Sequence[Cause]]:
    now = Now(queue.now(), queue.state, queue.is_alive, queue.log)
    try:
        job = queue.get(name)
    except NotFound:
        life = queue.history(name)
        if not life or not isinstance(life[-1], v.JobPruned):
            raise
        return name, "purged", causes(None, life, now)
    return job.id, job.state, causes(job, list(queue.life(job)), now)


def _document(cause: Cause, text: str) -> dict[str, Any]:
    event = cause.event
    return {
        "cause": cause.kind,
        "event": event.offset if event is not None else None,
        "at": event.at if event is not None else None,
        "text": text,
        **cause.details,
    }
