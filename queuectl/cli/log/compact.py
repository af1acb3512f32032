"""`log compact`: giving back the space of what was forgotten."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli.documents import emit
from queuectl.cli.log.progress import progress
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import counted
from queuectl.quantities import format_size


@click.command(
    epilog="""\b
Examples:
  queuectl log compact --dry-run
  queuectl log compact
  queuectl log compact --json | jq .bytes_after"""
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--thrifty", is_flag=True, help="Leave a file alone unless a third of it would go: less work."
)
@json_option
@pass_app
def compact(app: App, dry_run: bool, thrifty: bool, as_json: bool) -> None:
    """Take what nobody needs any more out of the log.

    That is the events of purged jobs and of workers that are gone. No answer changes by it. Every
    file that is changed is put into the archive first, as it was, so that the history of a job
    stays complete. Others may use the queue meanwhile.
    """
    from queuectl.runtime import compacting

    with app.open() as queue:
        show = None if as_json else progress(app)
        found = []
        for rewriting in compacting.compact(queue, thrifty=thrifty, dry_run=dry_run, progress=show):
            found.append(rewriting)
            if not as_json:
                click.echo(_line(rewriting))
        totals = {
            name: sum(getattr(rewriting, name) for rewriting in found)
            for name in ("bytes_before", "bytes_after", "events_removed", "archives")
        }
        if as_json:
            rows = [rewriting._asdict() for rewriting in found]
            emit({"dry_run": dry_run, **totals, "rewritten": rows})
            return
        app.say(_summary(totals, dry_run) if found else "there is nothing to take out of the log")


def _line(done: Any) -> str:
    merged = f", {done.segments} files made one" if done.segments > 1 else ""
    return (
        f"events {done.first} to {done.last}: {format_size(done.bytes_before)} ->"
        f" {format_size(done.bytes_after)}, {counted(done.events_removed, 'event')} out{merged}"
    )


def _summary(totals: dict[str, int], dry_run: bool) -> str:
    text = (
        f"{format_size(totals['bytes_before'])} -> {format_size(totals['bytes_after'])},"
        f" {counted(totals['events_removed'], 'event')} out of the log,"
        f" {counted(totals['archives'], 'file')} into the archive"
    )
    return f"would make {text}; nothing was changed" if dry_run else text
