"""The three tables say in every format what the queue knows, and the same bytes every time."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playing import SECRET
from programs import Shell

from queuectl import Queue
from queuectl.events import schema
from queuectl.events import vocabulary as v
from queuectl.exports.views import VIEWS, View

Rows = list[dict[str, Any]]
by_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


def quoted(name: str) -> str:
    return f'"{name}"'


def instant(moment: datetime | None) -> str | None:
    return moment and moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_csv(path: Path, view: View) -> Rows:
    def value(kind: str, cell: str) -> Any:
        if cell == "":
            return None
        return json.loads(cell) if kind not in (schema.TEXT, schema.TIME) else cell

    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == view.names
    kinds = [column.kind for column in view.columns]
    return [dict(zip(header, map(value, kinds, row), strict=True)) for row in rows]


def from_sqlite(path: Path, view: View) -> Rows:
    def value(kind: str, cell: Any) -> Any:
        if cell is None:
            return None
        if kind == schema.BOOLEAN:
            return bool(cell)
        return json.loads(cell) if kind in schema.LISTS else cell

    connection = sqlite3.connect(path)
    names = ", ".join(map(quoted, view.names))
    rows = connection.execute(f"SELECT {names} FROM {view.name} ORDER BY rowid").fetchall()
    connection.close()
    kinds = [column.kind for column in view.columns]
    return [dict(zip(view.names, map(value, kinds, row), strict=True)) for row in rows]


def from_duckdb(path: Path, view: View) -> Rows:
    import duckdb

    # Asked for as text: to make a time with its zone, DuckDB wants one more package.
    columns = ", ".join(
        f"strftime({quoted(key.name)}::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%fZ') AS {quoted(key.name)}"
        if key.kind == schema.TIME
        else quoted(key.name)
        for key in view.columns
    )
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        if path.suffix == ".duckdb":
            connection.execute(f"ATTACH '{path}' AS other (READ_ONLY)")
            source = f"other.{view.name}"
        else:
            source = f"'{path}'"
        rows = connection.execute(f"SELECT {columns} FROM {source}").fetchall()
    return [dict(zip(view.names, row, strict=True)) for row in rows]


def from_polars(path: Path, view: View) -> Rows:
    import polars

    frame = polars.read_parquet(path)
    assert frame.columns == view.names
    return [
        {name: instant(cell) if isinstance(cell, datetime) else cell for name, cell in row.items()}
        for row in frame.to_dicts()
    ]


READERS: dict[str, Callable[[Path, View], Rows]] = {
    "csv": from_csv,
    "sqlite": from_sqlite,
    "duckdb": from_duckdb,
    "parquet": from_polars,
}


def expected(shell: Shell, view: View) -> Rows:
    """What the table has to hold, by what the Python API says."""
    with Queue(shell.data) as queue:
        if view is VIEWS["events"]:
            return [event_row(event) for events in queue.events() for event in events]
        if view is VIEWS["runs"]:
            return [
                {name: getattr(run, name) for name in view.names}
                for runs in queue.all_runs()
                for run in runs
            ]
        return [job_row(job, view) for job in queue.jobs()]


def event_row(event: v.Event) -> dict[str, Any]:
    """All that an event says, what its line leaves out included."""
    row: dict[str, Any] = dict.fromkeys(VIEWS["events"].names)
    for name in event.__struct_fields__:
        value = getattr(event, name)
        row[name] = (
            None if value == "" or (name, value) in (("token", 0), ("attempt", -1)) else value
        )
    row["type"] = v.wire_name(event)
    if row["env"]:
        row["env"] = [pair.split("=")[0] for pair in row["env"]]
    return row


def job_row(job: Any, view: View) -> dict[str, Any]:
    others = {
        "enqueued": job.spec.offset,
        "enqueued_at": job.spec.at,
        "updated": job.offset,
        "wait_ms": job.wait_ms if job.finished_at else None,
        "run_ms": job.run_ms if job.finished_at else None,
        "env": job.spec.env and [pair.split("=")[0] for pair in job.spec.env],
    }
    row = {}
    for name in view.names:
        value = others[name] if name in others else getattr(job, name, None)
        if name not in others and not hasattr(job, name):
            value = getattr(job.spec, name)
        may_be_nothing = name in ("started_at", "finished_at", "worker", "token", "error")
        row[name] = (value or None) if may_be_nothing else value
    return row


@by_view
@pytest.mark.parametrize("format", READERS)
def test_a_table_says_what_the_queue_knows(played: Shell, view: View, format: str) -> None:
    file = f"out.{format}"
    played.ok("export", "--to", file, "--view", view.name)
    rows = READERS[format](played.directory / file, view)
    assert rows == expected(played, view)
    assert len(rows) > 5


@pytest.mark.parametrize("format", ["sqlite", "duckdb"])
def test_a_database_holds_all_three_unless_some_are_named(lively: Shell, format: str) -> None:
    lively.ok("export", "--to", f"all.{format}")
    for view in VIEWS.values():
        read = READERS[format](lively.directory / f"all.{format}", view)
        assert read == expected(lively, view)
    lively.ok("export", "--to", f"two.{format}", "--view", "jobs", "--view", "runs")
    with pytest.raises(Exception, match="events"):
        READERS[format](lively.directory / f"two.{format}", VIEWS["events"])


@by_view
def test_json_lines_have_every_column(lively: Shell, view: View) -> None:
    answer = lively.ok("export", "--to", "-", "--format", "jsonl", "--view", view.name)
    documents = [json.loads(line) for line in answer.lines]
    if view is VIEWS["events"]:
        head, *documents = documents
        assert (head["type"], head["through"]) == ("log.export", documents[-1]["offset"])
        rows = expected(lively, view)
        for document, row in zip(documents, rows, strict=True):
            del document["crc"]
            assert document.items() <= row.items()
    else:
        assert [list(document) for document in documents] == [view.names] * len(documents)
        assert documents == expected(lively, view)


@pytest.mark.parametrize("file", ["a.parquet", "a.duckdb"])
def test_what_duckdb_reads_from_the_log_itself_is_what_it_is_given_line_by_line(
    lively: Shell, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    read = READERS[file.partition(".")[2]]
    events = VIEWS["events"]
    words = ("export", "--to", file, "--view", "events", "--force", "--show-env")
    with Queue(lively.data) as queue:
        pinned = queue.pinned()
        assert pinned is not None
        pinned.close()
    lively.ok(*words)
    itself = read(lively.directory / file, events)
    monkeypatch.setattr(Queue, "pinned", lambda queue: None)
    lively.ok(*words)
    assert read(lively.directory / file, events) == itself


@pytest.mark.parametrize(
    "words",
    [
        *[[f"out.{ending}"] for ending in ("jsonl", "csv", "cloudevents", "json", "joblog")],
        ["out.sqlite"],
        *[["out.parquet", "--view", view] for view in VIEWS],
    ],
    ids=lambda words: "-".join(words),
)
def test_the_same_input_gives_the_same_bytes(played: Shell, words: list[str]) -> None:
    file = played.directory / words[0]
    played.ok("export", "--to", *words)
    first = file.read_bytes()
    played.ok("export", "--force", "--to", *words)
    assert file.read_bytes() == first


@pytest.mark.parametrize(
    "file",
    ["a.jsonl", "a.csv", "a.parquet", "a.sqlite", "a.duckdb", "a.cloudevents"],
)
def test_values_given_with_env_are_hidden_unless_asked_for(lively: Shell, file: str) -> None:
    path = lively.directory / file
    lively.ok("export", "--to", file, "--view", "events")
    texts = [SECRET.encode(), json.dumps(SECRET)[1:-1].encode(), b"s3cr"]
    assert not any(text in path.read_bytes() for text in texts)
    lively.ok("export", "--to", file, "--view", "events", "--show-env", "--force")
    if file.rpartition(".")[2] in READERS:
        rows = READERS[file.rpartition(".")[2]](path, VIEWS["events"])
        assert [f"TOKEN={SECRET}"] in [row["env"] for row in rows]
    else:
        assert b"s3cr" in path.read_bytes()


@pytest.mark.parametrize("format", ["csv", "sqlite"])
def test_values_of_jobs_are_hidden_too(lively: Shell, format: str) -> None:
    for option, env in (("--force", ["TOKEN"]), ("--show-env", [f"TOKEN={SECRET}"])):
        lively.ok("export", "--to", f"a.{format}", "--view", "jobs", "--force", option)
        rows = READERS[format](lively.directory / f"a.{format}", VIEWS["jobs"])
        assert rows[0]["env"] == env


@by_view
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_since_and_until_choose_by_the_time_each_began(
    lively: Shell, view: View, format: str
) -> None:
    began = {"events": "at", "jobs": "enqueued_at", "runs": "claimed_at"}[view.name]
    rows = expected(lively, view)
    times = sorted({row[began] for row in rows})
    since, until = times[len(times) // 3], times[-1]
    words = ["--to", f"a.{format}", "--view", view.name, "--since", since, "--until", until]
    lively.ok("export", *words)
    chosen = [row for row in rows if since <= row[began] < until]
    assert READERS[format](lively.directory / f"a.{format}", view) == chosen
    assert 0 < len(chosen) < len(rows)
