"""Questions in SQL: answered over what the queue knows, with nothing else in reach."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from playing import SECRET
from programs import Shell, tree
from workers import eventually

from queuectl.exports.views import VIEWS, View


@pytest.fixture(autouse=True)
def scratch(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tables are made meanwhile; nothing may be left there."""
    import tempfile

    place = shell.directory / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def lines(answer: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer.split("\n") if line]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_table_is_what_export_says_it_is(played: Shell, view: View, scratch: Path) -> None:
    exported = lines(played.ok("export", "--to", "-", "--format", "jsonl", "--view", view.name).out)
    rows = lines(played.ok("sql", f"select * from {view.name}", "--jsonl").out)
    assert [set(row) for row in rows] == [set(view.names)] * len(rows)
    if view.name == "events":
        exported = exported[1:]  # what the file is
    assert [row[view.key] for row in rows] == [row[view.key] for row in exported]
    for row, other in zip(rows, exported, strict=True):
        assert {name: row[name] for name in other if name != "crc"} == {
            name: value for name, value in other.items() if name != "crc"
        }
    assert not list(scratch.iterdir())


QUESTION = "select state, count(*) as n from jobs group by state order by n desc, state limit 2"


def test_the_forms_of_an_answer(lively: Shell) -> None:
    rows = [{"state": "pending", "n": 13}, {"state": "completed", "n": 2}]
    answer = lively.ok("sql", QUESTION, "--json")
    assert (answer.json, answer.err) == (rows, "")
    assert lines(lively.ok("sql", QUESTION, "--jsonl").out) == rows
    assert lively.ok("sql", QUESTION, "--csv").out == "state,n\npending,13\ncompleted,2\n"
    assert lively.ok("sql", QUESTION).lines == ["STATE      N", "pending    13", "completed  2"]
    assert lively.ok("sql", "-", "--json", stdin=QUESTION.encode()).json == rows
    nothing = "select 1 as a where false"
    assert lively.ok("sql", nothing, "--json").json == []
    assert lively.ok("sql", nothing, "--jsonl").out == ""
    assert lively.ok("sql", nothing, "--csv").out == "a\n"
    assert lively.ok("sql", nothing).out == "A\n"


def test_every_type_has_a_form(lively: Shell) -> None:
    question = r"""
        select 1.50::decimal(4, 2) as d, 3::decimal(4, 2) as w, interval 90 second as i,
          'nan'::double as n, '\x00\xff'::blob as b, date '2026-01-02' as day,
          {'a': [1, null]} as s, map {'k': 2} as m,
          timestamptz '2026-01-02 03:04:05+01' as t, true as yes, null as no,
          uuid '123e4567-e89b-12d3-a456-426614174000' as u, 2::hugeint ** 100 as h, 'x' as x, 1 as x
    """
    (row,) = lively.ok("sql", question, "--json").json
    assert row == {
        "d": 1.5,
        "w": 3,
        "i": 90.0,
        "n": None,
        "b": "00ff",
        "day": "2026-01-02",
        "s": {"a": [1, None]},
        "m": {"k": 2},
        "t": "2026-01-02T02:04:05.000000Z",
        "yes": True,
        "no": None,
        "u": "123e4567-e89b-12d3-a456-426614174000",
        "h": 2.0**100,
        "x": "x",
        "x_2": 1,
    }
    table = list(csv.DictReader(io.StringIO(lively.ok("sql", question, "--csv").out)))
    assert (table[0]["s"], table[0]["yes"], table[0]["no"]) == ('{"a":[1,null]}', "true", "")
    evil = lively.ok("sql", r"select e'\033[31m' || 'red' as c")
    assert evil.out == "C\n\\x1b[31mred\n"


@pytest.mark.parametrize("form", ["", "--json", "--jsonl", "--csv"])
def test_a_terminal_is_not_commanded(lively: Shell, form: str) -> None:
    answer = lively.terminal("sql", r"select e'\033[31m' || 'red\u009b' as c", *form.split())
    assert answer.code == 0 and "red" in answer.out
    assert "\x1b[31m" not in answer.out and "\x9b" not in answer.out


def test_a_long_answer_comes_as_it_is_made(lively: Shell) -> None:
    answer = lively.pipeline('queuectl sql "from range(100000000000)" | head -n 3')
    assert answer.stdout.split() == [b"RANGE", b"0", b"1"]
    counted = lively.ok("sql", "select range as n, 'a' as a from range(2500)")
    assert (len(counted.lines), counted.lines[-1]) == (2501, "2499  a")
    assert len(lively.ok("sql", "from range(2500)", "--json").json) == 2500


@pytest.mark.parametrize("form", ["", "--json", "--jsonl", "--csv"])
def test_without_a_query_it_says_what_there_is(shell: Shell, form: str, scratch: Path) -> None:
    scratch.rmdir()
    answer = shell.ok("sql", *form.split())
    for view in VIEWS.values():
        for column in view.columns:
            assert f"{view.name}" in answer.out and f"{column.name}" in answer.out
    assert not list(shell.directory.iterdir()), "neither a queue nor DuckDB is needed for that"


REFUSED = [
    ("selec 1", 'syntax error at or near "selec"'),
    ("select colour from jobs", 'Referenced column "colour" not found'),
    ("select * from job", "Table with name job does not exist"),
    ("select 1; select 2", "2 statements"),
    ("", "there is no query"),
    (" -- nothing", "there is no query"),
    ("select 'x'::int", "Could not convert string 'x'"),
    ("create table mine (a int)", "it can only read"),
    ("insert into jobs select * from jobs", "it can only read"),
    ("drop table jobs", "it can only read"),
    ("copy jobs to 'stolen.csv'", "it can only read"),
    ("copy jobs from 'mine.csv'", "it can only read"),
    ("export database 'stolen'", "it can only read"),
    ("attach 'other.duckdb'", "it can only read"),
    ("install httpfs", "it can only read"),
    ("load httpfs", "it can only read"),
    ("set memory_limit = '1TB'", "it can only read"),
    ("pragma memory_limit = '1TB'", "it can only read"),
    ("call enable_logging()", "it can only read"),
    ("explain analyze copy jobs to 'stolen.csv'", "disabled by configuration"),
    ("select * from read_text('mine.csv')", "disabled by configuration"),
    ("select * from read_csv('mine.csv')", "disabled by configuration"),
    ("select * from glob('*')", "disabled by configuration"),
    ("select * from 'mine.csv'", "disabled by configuration"),
    ("select * from read_json('data/log/*.jsonl')", "disabled by configuration"),
    ("select * from read_csv('https://example.org/a.csv')", ""),
    ("select * from read_parquet('s3://bucket/a')", ""),
]


@pytest.mark.parametrize(("query", "told"), REFUSED)
def test_what_is_no_question(lively: Shell, query: str, told: str, scratch: Path) -> None:
    (lively.directory / "mine.csv").write_text("a\n1\n")
    before = tree(lively.directory)
    answer = lively("sql", query)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err and len(answer.err.splitlines()) == 1
    assert answer.err.startswith("queuectl: sql: ")
    assert tree(lively.directory) == before


def test_two_forms_at_once_are_refused(lively: Shell) -> None:
    assert lively("sql", "select 1", "--json", "--csv").code == 2


def test_what_is_not_utf_8_is_no_query(lively: Shell) -> None:
    answer = lively("sql", "-", stdin=b"select '\xff'")
    assert (answer.code, answer.out) == (2, "")
    assert "UTF-8" in answer.err


def test_secrets_stay_where_they_are(lively: Shell) -> None:
    for table in ("jobs", "events"):
        answer = lively.ok("sql", f"select env from {table} where env is not null", "--json")
        assert answer.json == [{"env": ["TOKEN"]}]
        assert SECRET not in lively.ok("sql", f"from {table}").out


def test_without_duckdb_it_says_how_to_get_it(
    lively: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    answer = lively("sql", "select 1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "queuectl: this needs DuckDB, which is not installed: pip install duckdb, or install"
        " queuectl with its extra duckdb\n"
    )


def test_of_a_damaged_log_comes_what_stands_before_the_damage(lively: Shell) -> None:
    segments = sorted((lively.data / "log").glob("*.jsonl"))
    place = segments[len(segments) // 2]
    first = int(place.stem)
    data = bytearray(place.read_bytes())
    data[-20] ^= 1
    place.write_bytes(data)
    for table, what in (("events", '"offset"'), ("runs", "token"), ("jobs", "updated")):
        answer = lively("sql", f"select max({what}) as last from {table}", "--json")
        assert answer.code == 6
        assert 0 < answer.json[0]["last"] < int(segments[len(segments) // 2 + 1].stem)
        assert "as far as event" in answer.err and "log repair" in answer.err
        assert len(answer.err.splitlines()) == 1
    assert first > 1


def test_an_interrupted_question_leaves_nothing(lively: Shell, scratch: Path) -> None:
    endless = "select sum(a.range * b.range) from range(100000000) a, range(100000) b, events"
    asked = lively.start("sql", endless, TMPDIR=str(scratch))
    eventually(lambda: list(scratch.rglob("queuectl-*")) or asked.process.poll() is not None)
    asked.signal(signal.SIGINT)
    answer = asked.ended()
    assert (answer.code, answer.out, answer.err.strip()) == (130, "", "queuectl: interrupted")
    assert not os.listdir(scratch)
