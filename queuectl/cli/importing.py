"""`import`: a queue from an export."""

from __future__ import annotations

import os
import sys

import click

from queuectl.cli.files import meant, opened
from queuectl.cli.parameters import pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.quantities import format_size
from queuectl.telling.words import printable


@click.command(
    "import",
    epilog="""\b
Examples:
  queuectl export --to backup.jsonl --show-env
  queuectl import backup.jsonl                           where no queue is yet
  ssh host queuectl export --to - --format jsonl --show-env | queuectl --data copy import -""",
)
@click.argument("file", metavar="FILE|-")
@pass_app
def import_queue(app: App, file: str) -> None:
    """Make a queue of what export --format jsonl --view events wrote.

    Only where none is. Jobs, history, offsets and times are what they were. A file that was altered
    or cut short is refused, and then nothing is there. What was running then is handed back, and
    runs again where a worker is started here; its workers count as stopped. What jobs printed is
    not in an export.
    """
    from queuectl.host import Host
    from queuectl.runtime.importing import make

    if file == "-":
        head = make(app.data, sys.stdin.buffer.readline, "standard input", Host())
    else:
        with opened(file) as stream, Progress(app, format_size) as progress:
            total = os.fstat(stream.fileno()).st_size
            done = 0

            def readline(limit: int) -> bytes:
                nonlocal done
                try:
                    line = stream.readline(limit)
                except OSError as error:
                    raise meant(error, file) from None
                done += len(line)
                progress(done, max(total, done))
                return line

            head = make(app.data, readline, file, Host())
    app.say(f"imported {printable(file)} as far as event {head}")
