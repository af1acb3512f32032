"""`queue`: the queues there are; pausing and resuming them."""

from __future__ import annotations

import click

from queuectl.cli import completion
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App, DefaultGroup
from queuectl.cli.text import columns
from queuectl.domain.job import STATES
from queuectl.telling.documents import queue_documents


@click.group(
    cls=DefaultGroup,
    name="queue",
    epilog="""\b
Examples:
  queuectl queue
  queuectl queue pause mail --reason "the server is down"
  queuectl queue resume mail""",
)
def queue() -> None:
    """See, pause and resume queues (default: list)."""


@queue.command(
    "list",
    epilog="""\b
Examples:
  queuectl queue list
  queuectl queue list --json | jq '.[] | select(.paused)'""",
)
@json_option
@pass_app
def list_queues(app: App, as_json: bool) -> None:
    """List queues, with their jobs by state."""
    with app.open() as opened:
        documents = queue_documents(opened.state)
        if as_json:
            from queuectl.cli.documents import emit

            emit(documents)
            return
        rows = [
            (
                document["queue"],
                "paused" if document["paused"] else "open",
                *(str(document[state]) for state in STATES),
            )
            for document in documents
        ]
        click.echo(columns(rows, ("QUEUE", "IS", *(state.upper() for state in STATES))))


@queue.command(
    epilog="""\b
Examples:
  queuectl queue pause mail
  queuectl queue pause mail --reason "the server is down\""""
)
@click.argument("name", shell_complete=completion.queues)
@click.option("--reason", default="", help="Why, for the history.")
@pass_app
def pause(app: App, name: str, reason: str) -> None:
    """Let no more jobs of a queue start; those that run go on."""
    with app.open(create=None) as opened:
        opened.pause(name, reason=reason)
        app.say(f"queue {name} is paused; queuectl queue resume {name} goes on")


@queue.command(
    epilog="""\b
Examples:
  queuectl queue resume mail"""
)
@click.argument("name", shell_complete=completion.queues)
@click.option("--reason", default="", help="Why, for the history.")
@pass_app
def resume(app: App, name: str, reason: str) -> None:
    """Let jobs of a paused queue start again."""
    with app.open(create=None) as opened:
        opened.resume(name, reason=reason)
        app.say(f"queue {name} is open")
