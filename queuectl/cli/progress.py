"""How far something long is, for somebody who waits at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self

import click

from queuectl.cli.root import App

_WIDTH = 30


class Progress:
    """A bar on a terminal's standard error, past a second; gone when what it is about has ended."""

    def __init__(self, app: App, show: Callable[[int], str] = "{:,}".format) -> None:
        """`show` makes a number text, in its unit."""
        self._show = show
        self._since = time.monotonic()
        self._shown = False
        self._wanted = not app.quiet and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        if self._wanted and time.monotonic() - self._since > 1:
            self._shown = True
            bar = "#" * round(done / total * _WIDTH)
            text = f"[{bar:<{_WIDTH}}] {self._show(done)} of {self._show(total)}"
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)

    def clear(self) -> None:
        """Make room for something else."""
        if self._shown:
            self._shown = False
            click.echo("\r\x1b[K", err=True, nl=False)
