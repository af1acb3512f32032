"""`dlq`: the dead-letter queue, where jobs rest whose runs are used up."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import (
    bulk,
    filters,
    json_option,
    limit_option,
    newest,
    pass_app,
)
from queuectl.cli.root import App, DefaultGroup
from queuectl.domain.job import DEAD
from queuectl.telling.moments import Named

_DEAD = frozenset((DEAD,))


@click.group(
    cls=DefaultGroup,
    name="dlq",
    epilog="""\b
Examples:
  queuectl dlq
  queuectl dlq retry job1
  queuectl dlq purge --all""",
)
def dlq() -> None:
    """See, retry or purge dead jobs (default: list)."""


@dlq.command(
    "list",
    epilog="""\b
Examples:
  queuectl dlq list
  queuectl dlq list --queue import --limit 0 --json | jq -r '.[].error'""",
)
@filters
@limit_option
@at_option
@json_option
@pass_app
def list_dead(
    app: App,
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    error: str,
    limit: int,
    at: Named | None,
    as_json: bool,
) -> None:
    """List dead jobs, the newest first, with why they died."""
    with look(app, at) as queue:
        shown, more = newest(queue, limit, states=_DEAD, queues=queues, tags=tags, error=error)
        if as_json:
            from queuectl.cli.documents import emit
            from queuectl.telling.documents import job_document

            emit([job_document(job) for job in shown])
        elif shown:
            from queuectl.cli.jobs import job_table

            click.echo(job_table(app, shown, queue.now()), color=app.colour)
        else:
            app.say("the dead-letter queue is empty")
        if more:
            app.say(more)


@dlq.command(
    "retry",
    epilog="""\b
Examples:
  queuectl dlq retry job1
  queuectl dlq retry --all --reason "server is back\"""",
)
@bulk
@pass_app
def retry_dead(app: App, /, **given: Any) -> None:
    """Run dead jobs again.

    It is a new round, with attempts from 0; the old one stays in the history.
    """
    from queuectl.bulk import REQUEUE
    from queuectl.cli.verbs import change_chosen

    change_chosen(app, REQUEUE, **given)


@dlq.command(
    epilog="""\b
Examples:
  queuectl dlq purge job1
  queuectl dlq purge --queue import --dry-run
  queuectl dlq purge --all -y"""
)
@bulk
@pass_app
def purge(app: App, /, **given: Any) -> None:
    """Forget dead jobs.

    Their ids may be used again, and their history stays in the log. What they have printed is
    deleted when a worker next tidies up, within the hour, or by log compact.
    """
    from queuectl.bulk import PURGE
    from queuectl.cli.verbs import change_chosen

    change_chosen(app, PURGE, **given)
