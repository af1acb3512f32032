"""The types of other programs, and what they need to be told so that they read a log as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from queuectl.events import schema
from queuectl.events.codec import Header
from queuectl.events.schema import Key
from queuectl.exports.views import View

HEADER = str(Header.__struct_config__.tag)
"""The type of the first line of each file, which is no event."""
DUCKDB = {
    schema.TEXT: "VARCHAR",
    schema.TIME: "TIMESTAMPTZ",
    schema.INTEGER: "BIGINT",
    schema.NUMBER: "DOUBLE",
    schema.BOOLEAN: "BOOLEAN",
    schema.TEXTS: "VARCHAR[]",
    schema.INTEGERS: "BIGINT[]",
}
SQLITE = {
    schema.TEXT: "TEXT",
    schema.TIME: "TEXT",
    schema.INTEGER: "INTEGER",
    schema.NUMBER: "REAL",
    schema.BOOLEAN: "INTEGER",
    schema.TEXTS: "TEXT",
    schema.INTEGERS: "TEXT",
}
"""Times as text, which its functions for dates read, and lists as JSON."""


def identifier(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """A value in SQL."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def read_json(paths: Sequence[str], columns: Iterable[Key]) -> str:
    """What DuckDB reads JSON lines with. Without the types it would look at the first lines only,
    and drop every key that it meets later."""
    types = ", ".join(f"{literal(one.name)}: {literal(DUCKDB[one.kind])}" for one in columns)
    return (
        f"read_json([{listed(paths)}], format = 'newline_delimited', columns = {{{types}}},"
        f" maximum_object_size = {_LINE_BYTES})"
    )


_LINE_BYTES = 1 << 21
"""More than a line takes; DuckDB sets several times as much aside for each thread."""


def filled(key: Key) -> str:
    """A column in DuckDB's SQL, with what its absence means."""
    column = name = identifier(key.name)
    for value, events in key.absences():
        known = f"coalesce({name}, {literal(value)})"
        if len(events) == len(schema.event_types()):
            column = known
        else:
            # The condition first: the value is looked for in few rows then, and not in all.
            column = f"CASE WHEN type IN ({listed(events)}) THEN {known} ELSE {column} END"
    return f"{column} AS {name}"


def listed(values: Iterable[object]) -> str:
    """Values in SQL, with commas between."""
    return ", ".join(map(literal, values))


def sqlite_table(view: View) -> str:
    columns = ", ".join(
        f"{identifier(column.name)} {SQLITE[column.kind]}"
        + (" PRIMARY KEY" if column.name == view.key else "")
        for column in view.columns
    )
    return f"CREATE TABLE {view.name} ({columns}) STRICT"


def insert(view: View, names: Sequence[str]) -> str:
    """What adds a row to that table, of values for the columns with these names."""
    columns = ", ".join(map(identifier, names))
    return f"INSERT INTO {view.name} ({columns}) VALUES ({', '.join('?' * len(names))})"
