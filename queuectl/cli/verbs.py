"""`cancel` and `retry`: changing what becomes of jobs."""

from __future__ import annotations

from typing import Any

import click

from queuectl.bulk import CANCEL, RETRY, Choice, Verb, chosen, each
from queuectl.cli.parameters import bulk, confirm, done_to, pass_app
from queuectl.cli.root import App


@click.command(
    epilog="""\b
Examples:
  queuectl cancel job1
  queuectl cancel --queue import --dry-run
  queuectl cancel --all --reason "wrong bucket\""""
)
@bulk
@pass_app
def cancel(app: App, /, **given: Any) -> None:
    """Call jobs off.

    One that is running is ended with its whole process group.
    """
    change_chosen(app, CANCEL, **given)


@click.command(
    epilog="""\b
Examples:
  queuectl retry job1
  queuectl retry --tag nightly --reason "server is back"
  queuectl retry --error 3f09 --dry-run"""
)
@bulk
@pass_app
def retry(app: App, /, **given: Any) -> None:
    """Run jobs again: a new round, with attempts from 0.

    A job that waits for its retry or its time runs at once. Chosen by --all, --queue,
    --tag or --error are failed, dead and cancelled jobs; a completed one has to be named.
    """
    change_chosen(app, RETRY, **given)


def change_chosen(
    app: App,
    verb: Verb,
    names: tuple[str, ...],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    error: str,
    every: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> None:
    """Do `verb` to the jobs named, or to all chosen ones."""
    with app.open() as queue:
        ids = chosen(queue, verb, Choice(names, every, queues, tags, error))
        if confirm(app, verb.name, ids, named=bool(names), yes=yes, dry_run=dry_run):
            done_to(app, each(queue, verb, ids, reason), verb.done)
