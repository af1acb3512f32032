"""SQL over what a queue knows: the tables `events`, `jobs` and `runs`, made for one query and gone
after it. What it asks can neither change anything nor reach files or the network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from queuectl.errors import Invalid, QueuectlError
from queuectl.exports import duck
from queuectl.exports.dialects import DUCKDB, identifier, literal
from queuectl.exports.source import Source
from queuectl.exports.target import Target
from queuectl.exports.views import VIEWS, View

_MEMORY = "1GiB"
_SPILL = "8GiB"
"""What it may put aside on the disk where the memory is not enough."""
_ROWS = 1000
_READING = ("SELECT", "EXPLAIN", "MULTI")
"""What statements that read are to DuckDB; the last is a PIVOT."""


class Answer(NamedTuple):
    names: list[str]
    """Of the columns, each another one."""
    rows: Iterator[list[tuple[Any, ...]]]
    """In pieces, as they come."""


@contextmanager
def asked(source: Source, query: str, target: Target) -> Iterator[Answer]:
    """What a query gives; the tables for it are made in the scratch directory of `target`.

    Raises `Invalid` for what is no query or asks for what there is not, most of it before anything
    is read.
    """
    duckdb = duck.library()
    spill = os.path.join(target.scratch, "spill")
    with _told(duckdb), _sealed(duckdb, ":memory:", spill) as connection:
        _make(connection, VIEWS.values())
        wanted = _wanted(duckdb, connection, query)
    duck.database(source, wanted, target)
    with _told(duckdb), duckdb.connect(target.making) as connection:
        _make(connection, (view for view in VIEWS.values() if view not in wanted))
    with _told(duckdb), _sealed(duckdb, target.making, spill) as connection:
        result = duck.run(connection, lambda: connection.execute(query))
        names = _distinct(column[0] for column in result.description)

        def rows() -> Iterator[list[tuple[Any, ...]]]:
            while some := duck.run(connection, lambda: result.fetchmany(_ROWS)):
                yield some

        yield Answer(names, rows())


def _wanted(duckdb: ModuleType, connection: Any, query: str) -> list[View]:
    """The tables that it reads."""
    statements = connection.extract_statements(query)
    if not statements:
        raise Invalid("sql: there is no query; without any argument, queuectl sql shows the tables")
    if len(statements) > 1:
        raise Invalid(f"sql: these are {len(statements)} statements: one can be answered at a time")
    if statements[0].type.name not in _READING:
        raise Invalid("sql: it can only read: begin with SELECT, FROM, WITH or EXPLAIN")
    try:
        named = {name.lower() for name in connection.get_table_names(query)}
    except duckdb.InvalidInputException:  # of a PIVOT it does not tell
        return list(VIEWS.values())
    return [view for view in VIEWS.values() if view.name in named]


def _make(connection: Any, views: Iterable[View]) -> None:
    """Empty tables."""
    for view in views:
        columns = ", ".join(
            f"{identifier(column.name)} {DUCKDB[column.kind]}" for column in view.columns
        )
        connection.execute(f"CREATE TABLE {view.name} ({columns})")


@contextmanager
def _sealed(duckdb: ModuleType, path: str, spill: str) -> Iterator[Any]:
    """A connection from which nothing can be reached but the tables of one database, to be read."""
    config = {
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": _MEMORY,
        "temp_directory": spill,
        "max_temp_directory_size": _SPILL,
    }
    with duckdb.connect(path, read_only=path != ":memory:", config=config) as connection:
        for setting, value in (
            ("TimeZone", "UTC"),
            ("enable_progress_bar", False),
            ("lock_configuration", True),
        ):
            connection.execute(f"SET {setting} = {literal(value)}")
        yield connection


@contextmanager
def _told(duckdb: ModuleType) -> Iterator[None]:
    """What DuckDB has to say, in one line."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise QueuectlError(
            f"sql: this query needs more than {_MEMORY} of memory and {_SPILL} of disk: ask for"
            " less at a time"
        ) from None
    except duckdb.Error as error:
        # Behind what is wrong and what may be meant comes the place, drawn over several lines.
        kind, _, told = str(error).partition("\nLINE ")[0].partition(": ")
        raise Invalid(f"sql: {' '.join((told or kind).split())}") from None


def _distinct(names: Iterable[str]) -> list[str]:
    """The same, but that one that comes again has its number behind it."""
    distinct: list[str] = []
    for name in names:
        number, tried = 1, name
        while tried in distinct:
            number += 1
            tried = f"{name}_{number}"
        distinct.append(tried)
    return distinct
