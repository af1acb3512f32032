"""What a running worker tells people: a line a job with -v, one living line on a terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from queuectl.cli.root import App
from queuectl.events import vocabulary as v
from queuectl.runtime.worker import Listener
from queuectl.telling.story import tell
from queuectl.telling.words import counted, printable, shorten

_REDRAW_S = 0.1


class Reporter(Listener):
    """Writes to standard error, and goes on when nobody reads it any more."""

    def __init__(self, app: App, queue: Any, *, verbose: bool) -> None:
        self._quiet = app.quiet
        self._queue = queue
        self._verbose = verbose
        self._alive = sys.stderr.isatty() and not app.quiet and not verbose
        self._drawn = False
        self._drawn_s = 0.0
        self._completed = 0
        self._failed = 0

    def note(self, text: str) -> None:
        self._write(text)

    def happened(self, event: v.Event) -> None:
        if isinstance(event, v.WorkerStarted):
            self._greet(event)
        elif isinstance(event, v.JobCompleted):
            self._completed += 1
        elif isinstance(event, v.JobFailed):
            self._failed += 1
        if self._verbose:
            if isinstance(event, v.JobEvent):
                self._write(f"{event.at[11:19]} {event.job} {self._tell(event)}")
        elif self._alive:
            self._draw()

    def _greet(self, event: v.WorkerStarted) -> None:
        served = f"queue {', '.join(event.queues)}" if event.queues else "all queues"
        self._write(
            f"worker {event.worker} started: {counted(event.slots, 'slot')}, {served},"
            f" {self._queue.home.root}; Ctrl-C stops it"
        )

    def _tell(self, event: v.JobEvent) -> str:
        if isinstance(event, v.JobClaimed):
            command = self._queue.known.jobs.rows[event.job].spec.command
            return f"run {event.attempt} starts: {shorten(command, 60)}"
        return tell(event)

    def close(self, text: str) -> None:
        """The last words."""
        runs = f"{self._completed} completed, {self._failed} failed runs"
        self._write(f"{text} ({runs})")

    def _draw(self) -> None:
        now_s = self._queue.host.monotonic_s()
        if now_s - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now_s
        counts = self._queue.known.counts
        waiting = counts["pending"] + counts["failed"]
        self._emit(
            f"\r\x1b[K{self._completed} completed, {self._failed} failed runs,"
            f" {counts['processing']} running, {waiting} waiting",
        )
        self._drawn = True

    def _write(self, text: str) -> None:
        if not self._quiet:
            self._emit(("\r\x1b[K" if self._drawn else "") + printable(text) + "\n")
            self._drawn = False

    def _emit(self, text: str) -> None:
        try:
            click.echo(text, err=True, nl=False)
        except OSError:  # a closed pipe must not end running jobs
            self._quiet, self._alive, self._verbose = True, False, False
