"""`schema`: what other programs have to be told to read the log."""

from __future__ import annotations

import os

import click

from queuectl.cli.parameters import pass_app
from queuectl.cli.root import App


@click.command(
    epilog="""\b
Examples:
  queuectl schema --for duckdb > events.sql && duckdb -init events.sql
  queuectl schema --for polars > events.py
  queuectl schema --for jsonschema | jq '."$defs" | keys'"""
)
@click.option(
    "--for",
    "program",
    type=click.Choice(["duckdb", "polars", "clickhouse", "jsonschema"]),
    required=True,
    help="Who is to read it.",
)
@pass_app
def schema(app: App, program: str) -> None:
    """Print what lets another program read the log, ready to run.

    Every key of every event is there with its one type, and with what it means that a line leaves
    it out. Programs that look at the first lines to find out would drop every key that comes later.
    """
    from queuectl.exports.definitions import FOR
    from queuectl.home import Home

    files = os.path.join(Home(app.data).log, "*.jsonl")
    click.echo(FOR[program](files), nl=False)
