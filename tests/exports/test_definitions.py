"""What other programs are told about the log: with it they read every key of every line, and
without it they do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from programs import Shell

from queuectl import Queue
from queuectl.events import schema
from queuectl.events import vocabulary as v
from queuectl.exports.definitions import FOR


def definition(shell: Shell, program: str) -> str:
    return shell.ok("schema", "--for", program).out


def lines(shell: Shell) -> list[dict[str, Any]]:
    """Every event that stands in the files, as JSON."""
    documents = [
        json.loads(line)
        for path in sorted((shell.data / "log").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]
    ]
    return [document for document in documents if document["type"] != "log.segment"]


def filled(document: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The same with all keys there are, and what the absence of those it does not have means."""
    row = dict.fromkeys(names)
    for key in schema.line_keys():
        row[key.name] = key.defaults.get(document["type"])
    return row | document


@pytest.mark.parametrize("source", ["lively", "golden"])
def test_duckdb_reads_every_key_of_every_line(source: str, request: pytest.FixtureRequest) -> None:
    import duckdb

    shell: Shell = request.getfixturevalue(source)
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute(definition(shell, "duckdb"))
        names = [row[0] for row in connection.execute("DESCRIBE events").fetchall()]
        columns = ", ".join(
            f"strftime(\"{key.name}\"::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ')"
            if key.kind == schema.TIME
            else f'"{key.name}"'
            for key in schema.line_keys()
        )
        rows = connection.execute(f'SELECT {columns} FROM events ORDER BY "offset"').fetchall()
    assert names == [key.name for key in schema.line_keys()]
    expected = [filled(document, names) for document in lines(shell)]
    assert [dict(zip(names, row, strict=True)) for row in rows] == expected


@pytest.mark.parametrize("source", ["lively", "golden"])
def test_polars_reads_every_key_of_every_line(source: str, request: pytest.FixtureRequest) -> None:
    shell: Shell = request.getfixturevalue(source)
    scope: dict[str, Any] = {}
    exec(definition(shell, "polars"), scope)
    frame = scope["events"].collect()
    assert frame.columns == [key.name for key in schema.line_keys()]
    rows = frame.to_dicts()
    for row, document in zip(rows, lines(shell), strict=True):
        for name, value in filled(document, frame.columns).items():
            got = row[name]
            if hasattr(got, "isoformat"):
                got = got.isoformat(timespec="microseconds").replace("+00:00", "Z")
            assert got == value, (name, document)


def late(shell: Shell) -> None:
    """A log whose last line has keys that stood in none of the many before it."""
    with Queue(shell.data) as queue:
        queue.enqueue_many([{"command": "true"}] * 30_000)
        queue.enqueue("true", id="last", tags=["late"])
        queue.cancel("last", reason="not needed")


def test_what_comes_late_is_read_with_the_definitions_and_is_not_without(shell: Shell) -> None:
    import duckdb
    import polars

    late(shell)
    files = f"{shell.data}/log/*.jsonl"
    guessing = duckdb.sql(f"SELECT * FROM read_json('{files}')").columns
    assert "reason" not in guessing
    assert "reason" not in polars.scan_ndjson(files).collect_schema().names()

    with duckdb.connect() as connection:
        connection.execute(definition(shell, "duckdb"))
        query = "SELECT tags, reason FROM events WHERE job = 'last' ORDER BY \"offset\""
        assert connection.execute(query).fetchall() == [(["late"], None), (None, "not needed")]
    scope: dict[str, Any] = {}
    exec(definition(shell, "polars"), scope)
    last = scope["events"].filter(polars.col("job") == "last").select("tags", "reason").collect()
    assert last.rows() == [(["late"], None), (None, "not needed")]


def test_a_figure_that_is_0_counts_as_one(lively: Shell) -> None:
    """A line leaves it out; an average of what stands there would be too high."""
    import duckdb

    waits = [
        document.get("wait_ms", 0)
        for document in lines(lively)
        if document["type"] in ("job.completed", "job.failed")
    ]
    assert 0 in waits or "wait_ms" in str(lines(lively))
    with duckdb.connect() as connection:
        connection.execute(definition(lively, "duckdb"))
        found = connection.execute("SELECT avg(wait_ms), count(wait_ms) FROM events").fetchall()
    assert found == [(sum(waits) / len(waits), len(waits))]


def test_log_and_archive_together_are_all_that_happened(golden: Shell) -> None:
    """As `docs/analyst.md` says."""
    import duckdb

    page = (Path(__file__).parents[2] / "docs" / "analyst.md").read_text(encoding="utf-8")
    query = page.partition("```sql\n")[2].partition("```")[0]
    view = definition(golden, "duckdb")
    archived = view.replace("VIEW events", "VIEW archived").replace(
        f"{golden.data}/log/*.jsonl", f"{golden.data}/archive/*.jsonl.gz"
    )
    with duckdb.connect() as connection, Queue(golden.data) as queue:
        connection.execute(view)
        connection.execute(archived)
        found = connection.execute(f'SELECT "offset", type FROM ({query}) ORDER BY ALL').fetchall()
        events = [event for events in queue.events() for event in events]
    assert found == [(event.offset, v.wire_name(event)) for event in events]


def test_clickhouse_is_told_every_key() -> None:
    """It is too heavy to be run here: what is printed was, when it was written."""
    printed = FOR["clickhouse"]("/data/log/*.jsonl")
    table, insert = printed.split("INSERT INTO")
    for key in schema.line_keys():
        assert f"`{key.name}` " in table
        assert f"`{key.name}` " in insert.partition("FROM file(")[2]


# ---- JSON Schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    document = json.loads(FOR["jsonschema"](""))
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_every_line_of_a_log_is_valid(
    played: Shell, validator: jsonschema.Draft202012Validator
) -> None:
    for path in (played.data / "log").glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            validator.validate(json.loads(line))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"type":"job.enqueued"', '"type":"job.queued"'),
        ('"command":"make report"', '"command":["make report"]'),
        ('"offset":4', '"offset":"4"'),
        ('"crc":"', '"crc":"X'),
        ('"job":"good",', ""),
    ],
)
def test_a_line_that_is_not_as_described_is_not_valid(
    lively: Shell, validator: jsonschema.Draft202012Validator, old: str, new: str
) -> None:
    text = "".join(path.read_text() for path in sorted((lively.data / "log").glob("*.jsonl")))
    line = next(line for line in text.split("\n") if '"job":"good"' in line)
    document = json.loads(line)
    validator.validate(document)
    document["offset"] = 4
    plain = json.dumps(document, separators=(",", ":"))
    assert old in plain
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(json.loads(plain.replace(old, new, 1)))


def test_the_page_s_schema_is_the_one_that_is_printed(lively: Shell) -> None:
    page = Path(__file__).parents[2] / "docs" / "events.schema.json"
    assert page.read_text(encoding="utf-8") == definition(lively, "jsonschema")


# ---- the vocabulary


def test_a_key_has_one_json_type_in_every_event() -> None:
    kinds: dict[str, set[str]] = {}
    for event in get_args(v.AnyEvent):
        for name, hint in event.__annotations__.items():
            plain = re.sub(r"^typing\.Optional\[(.*)\]$|\s*\|\s*None", r"\1", str(hint))
            kinds.setdefault(name, set()).add(plain)
    assert {name for name, found in kinds.items() if len(found) > 1} == set()
    assert {key.name for key in schema.line_keys()} >= set(kinds)
    for frame in ("crc", "offset", "at", "more", "type"):
        assert frame in {key.name for key in schema.line_keys()}


def test_a_key_of_two_types_would_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(v.Event, frozen=True, tag="odd.happened"):
        """Something odd."""

        command: int = 0
        """A number, of all things."""

    schema.line_keys.cache_clear()
    monkeypatch.setattr(v, "AnyEvent", v.AnyEvent | Odd)
    with pytest.raises(TypeError, match=r"command is text, and in odd\.happened integer"):
        schema.line_keys()
    schema.line_keys.cache_clear()


def test_times_are_told_from_other_text(played: Shell) -> None:
    kinds = {key.name: key.kind for key in schema.line_keys()}
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    for document in lines(played):
        for name, value in document.items():
            is_time = isinstance(value, str) and bool(moment.fullmatch(value))
            assert is_time == (kinds[name] == schema.TIME), (name, value)
