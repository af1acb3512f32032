"""SQLite databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from queuectl.exports import dialects
from queuectl.exports.source import Source
from queuectl.exports.target import Target, no_space
from queuectl.exports.views import Shapes, View


def database(source: Source, views: Iterable[View], target: Target) -> None:
    """A SQLite database with a table for each view. Raises `NoSpace`."""
    connection = sqlite3.connect(target.making, isolation_level=None)
    try:
        # The file is new and nobody else's: there is nothing to go back to.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        for view in views:
            _fill(connection, source, view)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
            raise
        raise no_space(target.directory) from None
    finally:
        connection.close()


def _fill(connection: sqlite3.Connection, source: Source, view: View) -> None:
    connection.execute(dialects.sqlite_table(view))
    shapes = Shapes()
    execute = connection.execute
    inserts: dict[type, tuple[str, Callable[[Any], list[Any]]]] = {}
    connection.execute("BEGIN")
    for rows in source.rows(view):
        for row in rows:
            kind = type(row)
            if kind not in inserts:
                shape = shapes[kind]
                inserts[kind] = (dialects.insert(view, shape.names), shape.values)
            insert, values = inserts[kind]
            execute(insert, values(row))
    connection.execute("COMMIT")
