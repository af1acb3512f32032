"""How far a long reading of the log is, for somebody who waits at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from queuectl.cli.root import App
from queuectl.quantities import format_size


def progress(app: App) -> Callable[[int, int], None]:
    """Says on a terminal, past a second, how much of how many bytes has been read."""
    since = time.monotonic()

    def show(done: int, total: int) -> None:
        if not app.quiet and sys.stderr.isatty() and time.monotonic() - since > 1:
            end = "\r\x1b[K" if done == total else ""
            click.echo(f"\r{done / total:4.0%} of {format_size(total)}{end}", err=True, nl=False)

    return show
