"""Formats of lines of text: JSON lines, CSV, CloudEvents, the trace that Chrome and Perfetto show,
the job log of GNU parallel. Each is a function from a source to pieces of bytes."""

from __future__ import annotations

import csv
import io
import re
import signal
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import msgspec

from queuectl import instants
from queuectl.events import exchange
from queuectl.events import vocabulary as v
from queuectl.events.exchange import Manifest
from queuectl.exports.source import Source
from queuectl.exports.views import EVENTS, Shapes, View
from queuectl.projections.runs import Run, Runs

Pieces = Iterator[bytes]
_encoder = msgspec.json.Encoder()


def jsonl(source: Source, view: View) -> Pieces:
    """One JSON object a line. Events are chained, and begin with a line that says what they are, so
    that a queue can be made of them again."""
    if view is EVENTS:
        manifest = Manifest(
            log=source.log, through=source.through, since=source.since, until=source.until
        )
        return exchange.written(manifest, source.events())
    return (_encoder.encode_lines(rows) for rows in source.rows(view))


def csv_table(source: Source, view: View) -> Pieces:
    """A table with a header, as RFC 4180 has it but for its line ends; lists are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(view.names)
    shapes = Shapes()
    places = {name: place for place, name in enumerate(view.names)}
    for rows in source.rows(view):
        for row in rows:
            shape = shapes[type(row)]
            cells: list[Any] = [""] * len(places)
            for name, value in zip(shape.names, shape.values(row), strict=True):
                cells[places[name]] = str(value).lower() if isinstance(value, bool) else value
            writer.writerow(cells)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def cloudevents(source: Source, _: View) -> Pieces:
    """One event a line, in the JSON format of CloudEvents 1.0.

    `source` and `id` together name it for ever, so whoever gets it twice can tell.
    """
    origin = f"urn:queuectl:{source.log}"
    for events in source.events():
        yield _encoder.encode_lines([_cloudevent(event, origin) for event in events])


def _cloudevent(event: v.Event, origin: str) -> dict[str, Any]:
    data = msgspec.to_builtins(event)
    for name in ("offset", "at", "type", "more"):
        data.pop(name, None)
    subject = data.get("job") or data.get("worker") or data.get("queue")
    return {
        "specversion": "1.0",
        "id": str(event.offset),
        "source": origin,
        "type": f"queuectl.{v.wire_name(event)}",
        **({"subject": subject} if subject else {}),
        "time": event.at,
        # The extension `sequence`: its text sorts as the events do.
        "sequence": f"{event.offset:020d}",
        "datacontenttype": "application/json",
        "data": data,
    }


# ---- a trace


def chrome_trace(source: Source, _: View) -> Pieces:
    """A trace in Chrome's JSON format: a process for each worker, a lane for each of its slots."""
    numbers: dict[str, int] = {}
    lanes: set[tuple[int, int]] = set()
    start = b'{"displayTimeUnit":"ms","traceEvents":[\n'
    for runs in source.runs():
        spans = []
        for run in runs:
            pid = numbers.setdefault(run.worker, len(numbers) + 1)
            lane = (pid, run.slot or 0)
            if lane not in lanes:
                spans += _lane(run, pid, first=all(known != pid for known, _ in lanes))
                lanes.add(lane)
            spans.append(_span(run, pid))
        yield start + b",\n".join(map(_encoder.encode, spans))
        start = b",\n"
    yield (start if not numbers else b"") + b"\n]}\n"


def _lane(run: Run, pid: int, *, first: bool) -> list[dict[str, Any]]:
    slot = run.slot or 0
    worker = f"{run.host or 'worker'} {run.worker}"
    process = {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": worker}}
    thread = {"ph": "M", "pid": pid, "tid": slot, "name": "thread_name"}
    lane = {**thread, "args": {"name": f"slot {slot}"}}
    return [process, lane] if first else [lane]


def _span(run: Run, pid: int) -> dict[str, Any]:
    """One run; one that has not ended only begins."""
    began_us = instants.to_us(run.claimed_at or run.ended_at or instants.EARLIEST)
    span: dict[str, Any] = {
        "ph": "B" if run.ended_at is None else "X",
        "pid": pid,
        "tid": run.slot or 0,
        "ts": began_us,
        "name": run.command or run.job,
        "cat": run.outcome,
    }
    if run.ended_at is not None:
        span["dur"] = instants.to_us(run.ended_at) - began_us
    told = ("job", "queue", "round", "attempt", "token", "outcome", "exit_code", "reason", "error")
    span["args"] = {
        name: value
        for name in (*told, "wait_ms", "run_ms", "cpu_ms", "stdout_bytes", "stderr_bytes")
        if (value := getattr(run, name)) is not None
    }
    return span


# ---- GNU parallel

_JOBLOG = (
    "Seq",
    "Host",
    "Starttime",
    "JobRuntime",
    "Send",
    "Receive",
    "Exitval",
    "Signal",
    "Command",
)
_KILLED = re.compile(r"killed by (SIG\w+|signal (\d+))")
"""How `job.failed` begins its `error` where the reason is `signal`."""


def joblog(source: Source, _: View) -> Pieces:
    """What GNU parallel writes with --joblog: a line for each job that is completed or dead, in the
    order in which they ended. `Seq` counts the jobs as they were enqueued, from 1, so `--resume`
    goes on with those that are not there."""
    yield "\t".join(_JOBLOG).encode() + b"\n"
    runs = Runs(source.queue.find_spec)
    # Eight bytes a job, as every one that was ever enqueued counts.
    enqueued = array("q")
    last: Run | None = None
    for events in source.events():
        lines = []
        for event in events:
            if isinstance(event, v.JobEnqueued):
                enqueued.append(event.offset)
            last = runs.apply(event) or last
            is_over = isinstance(event, v.JobCompleted | v.JobDead)
            if is_over and last and enqueued and (last.enqueued or 0) >= enqueued[0]:
                number = bisect_left(enqueued, last.enqueued or 0) + 1
                lines.append(_joblog_line(last, number))
        yield "".join(lines).encode()


def _joblog_line(run: Run, number: int) -> str:
    exit_value, ended_by = run.exit_code, 0
    if exit_value is None:
        exit_value, ended_by = _odd_end(run)
    began_us = instants.to_us(run.claimed_at or instants.EARLIEST)
    fields = (
        number,
        run.host or ":",
        f"{began_us / 1e6:.3f}",
        f"{(run.run_ms or 0) / 1000:10.3f}",
        0,
        run.stdout_bytes or 0,
        exit_value,
        ended_by,
        (run.command or "").replace("\n", "\0"),
    )
    return "\t".join(map(str, fields)) + "\n"


def _odd_end(run: Run) -> tuple[int, int]:
    """(exit value, signal) as parallel has them for what did not exit by itself."""
    if run.reason == "timeout":
        return -1, signal.SIGTERM
    if run.reason == "signal":
        killed = _KILLED.match(run.error or "")
        number = killed and (killed[2] or getattr(signal, killed[1], None))
        return 0, int(number or signal.SIGKILL)
    return -1, 0
