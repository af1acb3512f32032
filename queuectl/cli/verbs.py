"""`cancel` and `retry`: changing what becomes of jobs."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli.parameters import bulk, chosen, confirm, each, pass_app
from queuectl.cli.root import App
from queuectl.domain.job import CANCELLED, DEAD, FAILED, PENDING, PROCESSING

_LIVE = frozenset((PENDING, PROCESSING, FAILED))
_ENDED_BADLY = frozenset((FAILED, DEAD, CANCELLED))


@click.command(
    epilog="""\b
Examples:
  queuectl cancel job1
  queuectl cancel --queue import --dry-run
  queuectl cancel --all --reason "wrong bucket\""""
)
@bulk
@pass_app
def cancel(
    app: App,
    names: tuple[str, ...],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    every: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> None:
    """Call jobs off.

    One that is running is ended with its whole process group.
    """
    with app.open() as queue:
        ids = chosen(queue, names, every=every, states=_LIVE, queues=queues, tags=tags)
        if confirm(app, "cancel", ids, named=bool(names), yes=yes, dry_run=dry_run):
            each(app, ids, lambda some: queue.cancel(*some, reason=reason), "cancelled")


@click.command(
    epilog="""\b
Examples:
  queuectl retry job1
  queuectl retry --tag nightly --reason "server is back\""""
)
@bulk
@pass_app
def retry(app: App, /, **given: Any) -> None:
    """Run jobs again: a new round, with attempts from 0.

    A job that waits for its retry or its time runs at once. Chosen by --all, --queue or --tag are
    failed, dead and cancelled jobs; a completed one has to be named.
    """
    retry_chosen(app, _ENDED_BADLY, **given)


def retry_chosen(
    app: App,
    states: frozenset[str],
    names: tuple[str, ...],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    every: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> None:
    """Begin a new round for the jobs named, or for all chosen ones in `states`."""
    with app.open() as queue:
        ids = chosen(queue, names, every=every, states=states, queues=queues, tags=tags)
        if confirm(app, "retry", ids, named=bool(names), yes=yes, dry_run=dry_run):
            each(app, ids, lambda some: queue.retry(*some, reason=reason), "requeued")
