"""`cancel` and `retry`: changing what becomes of jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from queuectl.cli.parameters import bulk, chosen, confirm, each, pass_app
from queuectl.cli.root import App
from queuectl.domain.job import CANCELLED, DEAD, FAILED, PENDING, PROCESSING
from queuectl.jobqueue import Queue


class Verb(NamedTuple):
    """Something that can be done to many jobs."""

    name: str
    done: str
    """What has become of the jobs afterwards."""
    act: Callable[..., object]
    """The method of `Queue` that does it."""


RETRY = Verb("retry", "requeued", Queue.retry)
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
def cancel(app: App, /, **given: Any) -> None:
    """Call jobs off.

    One that is running is ended with its whole process group.
    """
    change_chosen(app, Verb("cancel", "cancelled", Queue.cancel), _LIVE, **given)


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
    change_chosen(app, RETRY, _ENDED_BADLY, **given)


def change_chosen(
    app: App,
    verb: Verb,
    states: frozenset[str],
    names: tuple[str, ...],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    error: str,
    every: bool,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> None:
    """Do `verb` to the jobs named, or to all chosen ones in `states`."""
    with app.open() as queue:
        ids = chosen(
            queue, names, every=every, states=states, queues=queues, tags=tags, error=error
        )
        if confirm(app, verb.name, ids, named=bool(names), yes=yes, dry_run=dry_run):
            each(app, ids, lambda some: verb.act(queue, *some, reason=reason), verb.done)
