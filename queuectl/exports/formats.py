"""Every format by its name, and how it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from queuectl.errors import Invalid
from queuectl.exports import duck, lite, text
from queuectl.exports.source import Source
from queuectl.exports.target import Target
from queuectl.exports.views import EVENTS, JOBS, RUNS, View

_ALL = (EVENTS, JOBS, RUNS)


class Format(NamedTuple):
    """One format. What is text can be streamed; of a database one holds several views."""

    name: str
    endings: tuple[str, ...]
    """By which a file name tells it."""
    views: tuple[View, ...]
    """What can be exported so, first what is exported where nobody says."""
    lines: Callable[[Source, View], Iterator[bytes]] | None = None
    fill: Callable[[Source, Iterable[View], Target], None] | None = None
    is_database: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format("parquet", (".parquet",), _ALL, fill=duck.parquet),
        Format("csv", (".csv",), _ALL, lines=text.csv_table),
        Format("sqlite", (".sqlite", ".sqlite3", ".db"), _ALL, None, lite.database, True),
        Format("duckdb", (".duckdb", ".ddb"), _ALL, None, duck.database, True),
        Format("jsonl", (".jsonl", ".ndjson"), _ALL, lines=text.jsonl),
        Format("cloudevents", (".cloudevents",), (EVENTS,), text.cloudevents),
        Format("chrome-trace", (".json", ".trace"), (RUNS,), text.chrome_trace),
        Format("joblog", (".joblog",), (RUNS,), text.joblog),
    )
}


def guessed(path: str) -> Format:
    """The format of a file with this name. Raises `Invalid`."""
    ending = os.path.splitext(path)[1].lower()
    for one in FORMATS.values():
        if ending in one.endings:
            return one
    known = ", ".join(ending for one in FORMATS.values() for ending in one.endings[:1])
    raise Invalid(
        f"--to {path}: its ending tells no format; choose one with --format, or one of {known}"
    )


def stream(
    source: Source, format: Format, views: Iterable[View], write: Callable[[bytes], object]
) -> None:
    """Write text piece by piece. Raises `Invalid` for a format that is none."""
    if format.lines is None:
        raise Invalid(f"--to -: {format.name} is no text, and needs a file")
    (view,) = views
    for piece in format.lines(source, view):
        write(piece)


def export(source: Source, format: Format, views: Iterable[View], target: Target) -> None:
    """Fill a file; it has its name once this returns."""
    if format.fill is not None:
        format.fill(source, views, target)
    elif format.lines is not None:
        (view,) = views
        target.write(format.lines(source, view))
    target.keep()
