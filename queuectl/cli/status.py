"""`status`: how the queue is doing, at a glance."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import DURATION, json_option, pass_app
from queuectl.cli.root import App
from queuectl.cli.text import state_name
from queuectl.domain import settings as rules
from queuectl.errors import Invalid
from queuectl.telling.moments import Named
from queuectl.telling.words import counted


@click.command(
    epilog="""\b
Examples:
  queuectl status
  queuectl status --json | jq .jobs.pending
  queuectl status --at 2h
  queuectl status --watch"""
)
@at_option
@json_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--interval", type=DURATION, default="1s", show_default=True, help="How often to --watch."
)
@pass_app
def status(app: App, at: Named | None, as_json: bool, watch: bool, interval: int) -> None:
    """Show jobs by state, workers and settings."""
    if at is not None and watch:
        raise Invalid("--at is one moment and --watch goes on: not both")
    with look(app, at) as queue:
        while True:
            if as_json:
                _emit(queue)
            else:
                clear = "\x1b[H\x1b[2J" if watch and sys.stdout.isatty() else ""
                click.echo(clear + _describe(app, queue), color=app.colour or bool(clear))
            if not watch:
                return
            time.sleep(max(0.1, interval / 1000))


def _emit(queue: Any) -> None:
    from queuectl.cli.documents import emit
    from queuectl.telling.documents import settings_document, worker_document

    state = queue.state
    emit(
        {
            "jobs": state.counts,
            "workers": [
                worker_document(row, alive=queue.is_alive(row.id))
                for row in state.workers.rows.values()
            ],
            "settings": settings_document(state.settings),
            "paused_queues": sorted(state.paused),
            "head": state.offset,
        }
    )


def _describe(app: App, queue: Any) -> str:
    from queuectl.cli.worker import describe

    state = queue.state
    lines = ["Jobs"]
    for name, count in state.counts.items():
        lines.append(f"  {state_name(name.ljust(10), app.colour)}  {count}")
    rows = list(state.workers.rows.values())
    lines += ["", f"Workers: {counted(len(rows), 'worker') if rows else 'none is running'}"]
    if rows:
        lines += ["  " + line for line in describe(queue, rows).splitlines()]
    if state.paused:
        lines += ["", f"Paused queues: {', '.join(sorted(state.paused))}"]
    lines += ["", "Settings"]
    width = max(len(setting.key) for setting in rules.SETTINGS)
    for setting in rules.SETTINGS:
        shown = rules.shown(state.settings, setting.key)
        lines.append(f"  {setting.key.ljust(width)}  {shown}")
    return "\n".join(lines)
