"""`logs`: what a job has printed, and what it goes on to print."""

from __future__ import annotations

import codecs
import sys
from typing import Any

import click

from queuectl.cli.parameters import pass_app
from queuectl.cli.root import App
from queuectl.cli.text import printable_output
from queuectl.domain.job import FINISHED
from queuectl.errors import NotFound
from queuectl.projections import timeline

_POLL_S = 0.05


@click.command(
    epilog="""\b
Examples:
  queuectl logs job1
  queuectl logs job1 --stderr --attempt 1
  queuectl logs -f job1                    until it has ended"""
)
@click.argument("name", metavar="ID")
@click.option("--attempt", type=int, metavar="N", help="That run, instead of the last one.")
@click.option("--stderr", is_flag=True, help="Its standard error, instead of its output.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@pass_app
def logs(app: App, name: str, attempt: int | None, stderr: bool, follow: bool) -> None:
    """Print what a job has printed."""
    with app.open() as queue:
        job = queue.get(name)
        stream = "err" if stderr else "out"
        if attempt is not None:
            _copy(queue, job.id, _token(queue, job.id, attempt), stream)
            return
        if not job.token and not follow:
            raise NotFound(f"job {job.id} has not run yet; -f waits for it")
        if follow:
            _follow(queue, job.id, stream)
        else:
            _copy(queue, job.id, job.token, stream)


def _token(queue: Any, id: str, attempt: int) -> int:
    runs = timeline.attempts(queue.history(id))
    for run in reversed(runs):
        if run.number == attempt:
            return run.token
    raise NotFound(f"job {id} has no run {attempt}: it had {len(runs)}")


class _Printer:
    """Bytes as they are into a pipe, harmless text onto a terminal."""

    def __init__(self) -> None:
        self._stream = sys.stdout.buffer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_terminal = sys.stdout.isatty()

    def write(self, data: bytes) -> None:
        if self._is_terminal:
            data = printable_output(self._decoder.decode(data)).encode()
        self._stream.write(data)
        self._stream.flush()


def _reader(queue: Any, id: str, token: int, stream: str) -> Any:
    from queuectl.runtime.output import OutputReader

    return OutputReader(queue.home, queue.host, id, token, stream)


def _copy(queue: Any, id: str, token: int, stream: str) -> None:
    reader = _reader(queue, id, token, stream)
    if not reader.exists():
        raise NotFound(f"the output of job {id} is gone: its file was deleted")
    printer = _Printer()
    while piece := reader.read():
        printer.write(piece)
    reader.close()


def _follow(queue: Any, id: str, stream: str) -> None:
    """Print run after run until the job has ended."""
    printer = _Printer()
    token, reader = 0, None
    while True:
        job = queue.get(id)
        if job.token != token:
            token = job.token
            if reader is not None:
                reader.close()
            reader = _reader(queue, id, token, stream)
        ended = job.state in FINISHED and not job.held
        printed = False
        while reader is not None and (piece := reader.read()):
            printer.write(piece)
            printed = True
        if ended:
            return
        if not printed:
            queue.host.sleep(_POLL_S)
