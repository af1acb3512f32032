"""What other programs have to be told to read the files of a log by themselves, ready to run: every
key with its type, so that none is dropped because it comes late."""

from __future__ import annotations

import json

from queuectl.events import schema
from queuectl.events.schema import Key
from queuectl.exports import dialects
from queuectl.exports.dialects import HEADER

_POLARS = {
    schema.TEXT: "pl.String",
    schema.TIME: "pl.String",
    schema.INTEGER: "pl.Int64",
    schema.NUMBER: "pl.Float64",
    schema.BOOLEAN: "pl.Boolean",
    schema.TEXTS: "pl.List(pl.String)",
    schema.INTEGERS: "pl.List(pl.Int64)",
}
_CLICKHOUSE = {
    schema.TEXT: "Nullable(String)",
    schema.TIME: "Nullable(DateTime64(6, 'UTC'))",
    schema.INTEGER: "Nullable(Int64)",
    schema.NUMBER: "Nullable(Float64)",
    schema.BOOLEAN: "Nullable(Bool)",
    schema.TEXTS: "Array(String)",
    schema.INTEGERS: "Array(Int64)",
}


def duckdb(files: str) -> str:
    """A view of the events in `files`, a pattern."""
    keys = schema.line_keys()
    columns = ",\n  ".join(map(dialects.filled, keys))
    types = ",\n    ".join(
        f"{dialects.literal(key.name)}: {dialects.literal(dialects.DUCKDB[key.kind])}"
        for key in keys
    )
    return f"""\
-- Every event of a queuectl log. Quote "offset" and "at": to SQL they are words of its own.
CREATE OR REPLACE VIEW events AS SELECT
  {columns}
FROM read_json(
  {dialects.literal(files)},
  format = 'newline_delimited',
  columns = {{
    {types}
  }})
WHERE type <> {dialects.literal(HEADER)};
"""


def polars(files: str) -> str:
    """A lazy frame of them."""
    keys = schema.line_keys()
    types = "\n".join(f"    {json.dumps(key.name)}: {_POLARS[key.kind]}," for key in keys)
    times = "\n".join(f"    {json.dumps(key.name)}," for key in keys if key.kind == schema.TIME)
    absent = "\n".join(
        f"    ({json.dumps(key.name)}, {value!r}, {events!r}),"
        for key in keys
        for value, events in key.absences()
    )
    return f"""\
# Every event of a queuectl log: `events` is a lazy frame.
import polars as pl

SCHEMA = {{
{types}
}}
TIMES = [
{times}
]
# What it means that an event leaves a key out.
ABSENT = [
{absent}
]
events = (
    pl.scan_ndjson({files!r}, schema=SCHEMA)
    .filter(pl.col("type") != {HEADER!r})
    .with_columns(pl.col(TIMES).str.to_datetime(time_unit="us", time_zone="UTC"))
    .with_columns(
        pl.coalesce(key, pl.when(pl.col("type").is_in(types)).then(pl.lit(value))).alias(key)
        for key, value, types in ABSENT
    )
)
"""


def clickhouse(files: str) -> str:
    """A table, and what fills it."""
    keys = schema.line_keys()
    columns = ",\n  ".join(f"`{key.name}` {_column_type(key)}" for key in keys)
    raw = ", ".join(f"`{key.name}` {_CLICKHOUSE[key.kind]}" for key in keys)
    chosen = ",\n  ".join(map(_clickhouse_filled, keys))
    return f"""\
-- Every event of a queuectl log. What was inserted twice is there once if you select with FINAL.
CREATE TABLE IF NOT EXISTS events (
  {columns}
) ENGINE = ReplacingMergeTree ORDER BY `offset`;

INSERT INTO events SELECT
  {chosen}
FROM file({dialects.literal(files)}, 'JSONEachRow', {dialects.literal(raw)})
WHERE `type` <> {dialects.literal(HEADER)}
SETTINGS date_time_input_format = 'best_effort', input_format_skip_unknown_fields = 1;
"""


def jsonschema(_: str) -> str:
    """A JSON Schema of each line."""
    return json.dumps(schema.json_schema(), indent=2) + "\n"


FOR = {
    "duckdb": duckdb,
    "polars": polars,
    "clickhouse": clickhouse,
    "jsonschema": jsonschema,
}


def _column_type(key: Key) -> str:
    # What a table is ordered by may not be missing.
    return "Int64" if key.name == "offset" else _CLICKHOUSE[key.kind]


def _clickhouse_filled(key: Key) -> str:
    cases = [
        f"`type` IN ({dialects.listed(events)}), {dialects.literal(value)}"
        for value, events in key.absences()
    ]
    name = f"`{key.name}`"
    return f"ifNull({name}, multiIf({', '.join(cases)}, NULL)) AS {name}" if cases else name
