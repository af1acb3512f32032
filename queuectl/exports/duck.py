"""Parquet files and DuckDB databases, made by DuckDB; it reads the files of the log itself while
their checksums are verified beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EIO, errorcode
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from queuectl.beside import begin
from queuectl.engines.file.pinning import Pinned
from queuectl.errors import Damaged, Newer, QueuectlError, not_installed
from queuectl.events import schema
from queuectl.exports import dialects
from queuectl.exports.dialects import HEADER
from queuectl.exports.source import Source
from queuectl.exports.target import Target
from queuectl.exports.views import EVENTS, View

_THREADS_MIN = 2
"""With one alone it cuts Parquet into other pieces: the same input would give other bytes."""
_MEMORY_MB = 768
"""For each thread; by itself it would keep what it has read until most of the machine is used."""
_GROUP_ROWS = 61_440
"""Half of what it takes by itself: with so many columns that is faster, and takes less memory."""
Make = Callable[[str], str]
_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()


def parquet(source: Source, views: Iterable[View], target: Target) -> None:
    """One Parquet file of one view."""
    (view,) = views
    with _connected(":memory:", target) as connection:
        _fill(connection, source, view, target, partial(_copy, target=target))


def parquet_of_lines(path: str, target: Target) -> None:
    """One Parquet file of the events in a file of JSON lines, with what these say of them."""
    with _connected(":memory:", target) as connection:
        lines = f"SELECT * FROM {dialects.read_json([path], EVENTS.columns)}"
        connection.execute(_copy(_events_query(lines, show_env=True), target))


def _copy(query: str, target: Target) -> str:
    where = dialects.literal(target.making)
    return (
        f"COPY ({query}) TO {where} (FORMAT parquet, USE_TMP_FILE false,"
        f" ROW_GROUP_SIZE {_GROUP_ROWS})"
    )


def database(source: Source, views: Iterable[View], target: Target) -> None:
    """A DuckDB database with a table for each view."""
    with _connected(target.making, target) as connection:
        for view in views:
            begin = f"CREATE OR REPLACE TABLE {view.name} AS "
            _fill(connection, source, view, target, begin.__add__)
        connection.execute("CHECKPOINT")


def library() -> ModuleType:
    """DuckDB itself. Raises `QueuectlError` where it is not installed."""
    try:
        import duckdb
    except ModuleNotFoundError:
        raise not_installed("this needs DuckDB", "duckdb", "duckdb") from None
    return duckdb


@contextmanager
def _connected(path: str, target: Target) -> Iterator[Any]:
    """A connection whose errors are told as ours, and as `OSError` those of the system."""
    duckdb = library()
    try:
        with duckdb.connect(path, config={"autoinstall_known_extensions": False}) as connection:
            threads = connection.execute("SELECT current_setting('threads')").fetchone()[0]
            threads = max(threads, _THREADS_MIN)
            for setting, value in (
                ("threads", threads),
                ("memory_limit", f"{_MEMORY_MB * threads} MiB"),
                ("temp_directory", target.scratch),
                ("enable_progress_bar", False),
            ):
                connection.execute(f"SET {setting} = {dialects.literal(value)}")
            yield connection
    except duckdb.Error as error:
        raise _meant(error, target) from None


def _fill(connection: Any, source: Source, view: View, target: Target, make: Make) -> None:
    """Run the statement that `make` makes of the query for a view."""
    pinned = source.queue.pinned() if view is EVENTS else None
    try:
        if pinned is not None:
            _from_files(connection, source, pinned, make)
        else:
            lines = (_encoder.encode_lines(rows) for rows in source.rows(view))
            query = f"SELECT * FROM {dialects.read_json([target.spool(lines)], view.columns)}"
            if view is EVENTS:
                query = _events_query(query, show_env=source.show_env)
            run(connection, lambda: connection.execute(make(query)))
    finally:
        if pinned is not None:
            pinned.close()


def _from_files(connection: Any, source: Source, pinned: Pinned, make: Make) -> None:
    """The same for events that DuckDB can read from the files of the log itself."""

    def fill(check: Callable[[], None]) -> None:
        files = dialects.read_json(pinned.paths, EVENTS.columns)
        query = f"SELECT * FROM {files} WHERE type <> '{HEADER}' AND {_wanted(source)}"
        statement = make(_events_query(query, show_env=source.show_env))
        run(connection, lambda: connection.execute(statement), check)

    def progress(done: int, total: int) -> None:
        source.progress(source.through * done // total, source.through)

    try:
        fill(lambda: pinned.check(progress))
    except Damaged as damage:
        source.queue.damage = damage
        # What it has made may have come from behind the damage.
        fill(_unchecked)


def _wanted(source: Source) -> str:
    conditions = [f'"offset" <= {source.through}']
    if source.since:
        conditions.append(f'"at" >= {dialects.literal(source.since)}')
    if source.until:
        conditions.append(f'"at" < {dialects.literal(source.until)}')
    return " AND ".join(conditions)


def _events_query(lines: str, *, show_env: bool) -> str:
    """The table of events from their lines."""
    columns = {key.name: dialects.filled(key) for key in EVENTS.columns}
    # `error()` in a CASE would say it better, but beside it DuckDB does not keep the order of rows.
    known = dialects.listed([*schema.event_types(), HEADER])
    columns["type"] = f"type::ENUM({known})::VARCHAR AS type"
    if not show_env:
        columns["env"] = "list_transform(env, lambda pair: split_part(pair, '=', 1)) AS env"
    return f"SELECT {', '.join(columns.values())} FROM ({lines})"


def _unchecked() -> None:
    """Nothing is to be checked."""


def run(connection: Any, work: Callable[[], _T], check: Callable[[], None] = _unchecked) -> _T:
    """Let a connection do something, and `check` beside it; it is ended where this one is
    interrupted. Raises what `check` does first of all: then nothing is to be believed of it."""
    outcome = begin(work)
    try:
        check()
        return outcome()
    except BaseException:
        connection.interrupt()
        with suppress(Exception):
            outcome()
        raise


def _meant(error: Exception, target: Target) -> Exception:
    text = str(error)
    if "to ENUM(" in text:
        return Newer(
            "the log holds an event of a kind that this queuectl does not know: use a newer one"
        )
    said = f"DuckDB could not write it: {text.splitlines()[0]}"
    if isinstance(error, library().OperationalError):
        # What the system said to it stands somewhere in its words.
        code = next((code for code in errorcode if os.strerror(code) in text), 0)
        return OSError(code or EIO, os.strerror(code) if code else said, target.directory)
    return QueuectlError(said)
