"""`log compact`: giving back the space of what was forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.quantities import format_size
from queuectl.telling.words import counted


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

    First the jobs are forgotten that the settings do not keep any longer (retain-…), as a worker
    does once an hour, and what forgotten and purged jobs have printed is deleted. What goes out of
    the log is the events of those jobs and of workers that are gone; no other answer changes by it.
    Every file that is changed is put into the archive first, as it was, so that the history of a
    job stays complete, for as long as archive-retention says. Others may use the queue meanwhile,
    and go first.
    """
    from queuectl.runtime.tidying import tidy

    with app.open() as queue:
        # Who enqueues and runs jobs meanwhile is waited for by somebody.
        queue.host.give_way()
        with Progress(app, format_size) as progress:

            def tell(rewriting: Any) -> None:
                if not as_json:
                    progress.clear()
                    click.echo(_line(rewriting))

            done = tidy(queue, thrifty=thrifty, dry_run=dry_run, tell=tell, progress=progress)
        totals = {
            name: sum(getattr(rewriting, name) for rewriting in done.rewritten)
            for name in ("bytes_before", "bytes_after", "events_removed", "archives")
        }
        if as_json:
            rows = [rewriting._asdict() for rewriting in done.rewritten]
            counts = {
                "forgotten": done.forgotten,
                "output_files": done.cleared.files,
                "output_bytes": done.cleared.bytes,
                "expired": done.expired,
                "payloads": done.swept,
            }
            emit({"dry_run": dry_run, **totals, **counts, "rewritten": rows})
            return
        for sentence in _sentences(done, totals, dry_run):
            app.say(sentence)


def _line(done: Any) -> str:
    merged = f", {done.segments} files made one" if done.segments > 1 else ""
    return (
        f"events {done.first} to {done.last}: {format_size(done.bytes_before)} ->"
        f" {format_size(done.bytes_after)}, {counted(done.events_removed, 'event')} out{merged}"
    )


def _sentences(done: Any, totals: dict[str, int], dry_run: bool) -> Iterator[str]:
    if done.forgotten:
        jobs = counted(done.forgotten, "job")
        verb = "would forget" if dry_run else "forgot"
        yield f"{verb} {jobs} that the settings do not keep any longer"
    if done.cleared.files:
        files = counted(done.cleared.files, "output file")
        size = format_size(done.cleared.bytes)
        verb = "would delete" if dry_run else "deleted"
        yield f"{verb} {files} ({size}) of jobs that there are no more"
    if done.rewritten:
        text = (
            f"{format_size(totals['bytes_before'])} -> {format_size(totals['bytes_after'])},"
            f" {counted(totals['events_removed'], 'event')} out of the log,"
            f" {counted(totals['archives'], 'file')} into the archive"
        )
        yield f"would make {text}" if dry_run else text
    else:
        yield "there is nothing to take out of the log"
    if done.expired:
        files = counted(done.expired, "file")
        yield f"{'would take ' if dry_run else ''}{files} out of the archive for good"
    if done.swept:
        files = counted(done.swept, "file")
        yield f"removed {files} with long parts of jobs that nothing names any more"
    if dry_run:
        yield "nothing was changed"
