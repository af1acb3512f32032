"""`logs`: what a job has printed, and what it goes on to print."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable
from typing import Any

import click

from queuectl.asking import run_of
from queuectl.cli import completion
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.domain.job import FINISHED
from queuectl.errors import Invalid, NotFound
from queuectl.telling.words import printable_output

_POLL_S = 0.05


@click.command(
    epilog="""\b
Examples:
  queuectl logs job1
  queuectl logs job1 --stderr --attempt 1
  queuectl logs -f job1                    until it has ended"""
)
@click.argument("name", metavar="ID", shell_complete=completion.jobs)
@click.option("--attempt", type=int, metavar="N", help="That run, instead of the last one.")
@click.option("--stderr", is_flag=True, help="Its standard error, instead of its output.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@json_option
@pass_app
def logs(
    app: App, name: str, attempt: int | None, stderr: bool, follow: bool, as_json: bool
) -> None:
    """Print what a job has printed.

    It comes as it is into a pipe, and without control characters onto a terminal. With --json it is
    text, of both streams. It is there as long as the job is: what a forgotten or purged job has
    printed is deleted when a worker next tidies up, within the hour, or by log compact.
    """
    if as_json and follow:
        raise Invalid("--json is one document, printed at once: leave out --follow")
    with app.open() as queue:
        job = queue.get(name)
        stream = "err" if stderr else "out"
        if attempt is not None and follow:
            raise Invalid("--attempt names one run, --follow goes through all: give one of them")
        if follow:
            _follow(queue, job.id, stream)
            return
        token = run_of(queue, job, attempt)
        if as_json:
            _emit(queue, job.id, token)
        else:
            _copy(queue, job.id, token, stream)


def _emit(queue: Any, id: str, token: int) -> None:
    from queuectl.cli.documents import emit

    document: dict[str, Any] = {"id": id, "token": token}
    for stream, name in (("out", "stdout"), ("err", "stderr")):
        pieces: list[bytes] = []
        _read(queue, id, token, stream, pieces.append)
        document[name] = b"".join(pieces).decode(errors="replace")
    emit(document)


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
    _read(queue, id, token, stream, _Printer().write)


def _read(queue: Any, id: str, token: int, stream: str, take: Callable[[bytes], None]) -> None:
    reader = _reader(queue, id, token, stream)
    if not reader.exists():
        raise NotFound(f"the output of job {id} is gone: its file was deleted")
    _drain(reader, take)
    reader.close()


def _drain(reader: Any, take: Callable[[bytes], None]) -> None:
    while piece := reader.read():
        take(piece)


def _follow(queue: Any, id: str, stream: str) -> None:
    """Print run after run until the job has ended."""
    write = _Printer().write
    token, reader = 0, None
    while True:
        job = queue.get(id)
        if queue.damage is not None:
            raise queue.damage
        ended = job.state in FINISHED and not job.held
        if reader is not None:
            _drain(reader, write)
        if job.token != token:
            # Short runs may have come and gone since the last look.
            runs = queue.runs(job) if token else []
            for passed in [run.token for run in runs if run.token > token] or [job.token]:
                if reader is not None:
                    reader.close()
                reader = _reader(queue, id, passed, stream)
                _drain(reader, write)
            token = job.token
        if ended:
            return
        queue.host.sleep(_POLL_S)
