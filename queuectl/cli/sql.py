"""`sql`: any question to the events, jobs and runs of a queue."""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from math import isfinite
from typing import Any
from uuid import UUID

import click
import orjson

from queuectl import instants
from queuectl.cli.documents import emit_array, emit_lines
from queuectl.cli.parameters import json_option, jsonl_option, pass_app
from queuectl.cli.reading import reading
from queuectl.cli.root import App
from queuectl.cli.text import aligned, widths_of
from queuectl.errors import Invalid
from queuectl.telling.words import printable, printable_output

Rows = Iterator[list[tuple[Any, ...]]]
Print = Callable[[list[str], Rows], None]


@click.command(
    epilog="""\b
Examples:
  queuectl sql                                        which tables and columns there are
  queuectl sql "select queue, count(*) from jobs group by queue"
  queuectl sql "select command, avg(run_ms) from runs group by all" --csv > times.csv
  queuectl sql - --jsonl < question.sql"""
)
@click.argument("query", metavar="[QUERY]", required=False)
@json_option
@jsonl_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a header.")
@pass_app
def sql(app: App, query: str | None, as_json: bool, as_jsonl: bool, as_csv: bool) -> None:
    """Answer a question in SQL.

    The tables are events (all that happened), jobs (as they are now) and runs (one row for each
    run); without a query they are shown with their columns. The SQL is DuckDB's, and needs the
    extra duckdb: where that is missing, it says what to install. Nothing can be changed by it, and
    no file can be reached. - reads the query from standard input. Quote "offset" and "at": to SQL
    they are words of its own. Of a damaged log, what stands before the damage is asked, and the
    exit code is 6.
    """
    if as_json + as_jsonl + as_csv > 1:
        raise Invalid("--json, --jsonl and --csv are three forms of the answer: choose one")
    form = "json" if as_json else "jsonl" if as_jsonl else "csv" if as_csv else "table"
    print_rows = _FORMS[form]
    if query is None:
        names, rows = _known()
        print_rows(names, iter([rows]))
        return
    if query == "-":
        query = _from_stdin()
    _ask(app, query, print_rows)


def _from_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"sql: what standard input holds is not UTF-8: {error}") from None


def _known() -> tuple[list[str], list[tuple[Any, ...]]]:
    """What can be asked about."""
    from queuectl.exports.dialects import DUCKDB
    from queuectl.exports.views import VIEWS

    rows = [
        (view.name, column.name, DUCKDB[column.kind])
        for view in VIEWS.values()
        for column in view.columns
    ]
    return ["table", "column", "type"], rows


def _ask(app: App, query: str, print_rows: Print) -> None:
    from queuectl.exports.query import asked
    from queuectl.exports.target import Target

    with reading(app) as (source, progress):
        host = source.queue.host
        # Beside this name, which nothing gets, is where the tables are made.
        path = os.path.join(tempfile.gettempdir(), f"queuectl-{host.random(8).hex()}")
        with Target(path, host) as target, asked(source, query, target) as answer:
            progress.clear()
            print_rows(answer.names, answer.rows)


# ---- the forms of an answer


def _as_json(names: list[str], rows: Rows) -> None:
    emit_array(_documents(names, rows))


def _as_lines(names: list[str], rows: Rows) -> None:
    emit_lines(_documents(names, rows))


def _documents(names: list[str], rows: Rows) -> Iterator[dict[str, Any]]:
    for row in chain.from_iterable(rows):
        yield dict(zip(names, map(_plain, row), strict=True))


def _as_csv(names: list[str], rows: Rows) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for some in chain([[]], rows):
        writer.writerows([_text(value) for value in row] for row in some)
        shown = text.getvalue()
        sys.stdout.write(printable_output(shown) if sys.stdout.isatty() else shown)
        text.seek(0)
        text.truncate()


def _as_table(names: list[str], rows: Rows) -> None:
    """Columns are as wide as the first piece needs: an answer of any length is printed as it
    comes."""
    table = [[printable(name).upper() for name in names]]
    widths: list[int] | None = None
    for some in chain(rows, [[]]):
        table += [[printable(_text(value)) for value in row] for row in some]
        if widths is None:
            widths = widths_of(table)
        for row in table:
            click.echo(aligned(row, widths))
        table = []


def _text(value: object) -> str:
    """A value as text; nothing for null."""
    plain = _plain(value)
    match plain:
        case None:
            return ""
        case str():
            return plain
        case bool():
            return str(plain).lower()
        case list() | dict():
            return orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS).decode()
    return str(plain)


def _plain(value: object) -> Any:
    """A value as JSON has it: times as everywhere in queuectl, durations in seconds."""
    match value:
        case datetime():
            return instants.parse(value.replace(tzinfo=value.tzinfo or UTC).isoformat())
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case float() if not isfinite(value):
            return None
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
        case list() | tuple():
            return [_plain(one) for one in value]
        case dict():
            return {str(_plain(key)): _plain(one) for key, one in value.items()}
    return value


_FORMS: dict[str, Print] = {
    "json": _as_json,
    "jsonl": _as_lines,
    "csv": _as_csv,
    "table": _as_table,
}
