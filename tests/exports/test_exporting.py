"""An export is whole or not there, tells what it could not have, and writes nothing else."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Shell

from queuectl import Queue
from queuectl.cli.export import export
from queuectl.cli.schema import schema
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.exports.definitions import FOR
from queuectl.exports.formats import FORMATS
from queuectl.exports.views import VIEWS

FILES = [f"out{format.endings[0]}" for format in FORMATS.values()]
by_file = pytest.mark.parametrize("file", FILES)


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory)) - {"data"}


@by_file
def test_a_file_is_private_and_nothing_lies_beside_it(lively: Shell, file: str) -> None:
    answer = lively.ok("export", "--to", file)
    assert answer.out == ""
    assert "exported to" in answer.err
    assert names(lively.directory) == {file}
    assert (lively.directory / file).stat().st_mode & 0o777 == 0o600


@by_file
def test_a_file_that_is_there_is_replaced_only_by_force(lively: Shell, file: str) -> None:
    path = lively.directory / file
    path.write_bytes(b"mine")
    answer = lively("export", "--to", file)
    assert (answer.code, path.read_bytes()) == (4, b"mine")
    assert "--force" in answer.err
    lively.ok("export", "--to", file, "--force")
    assert path.read_bytes() != b"mine"
    assert names(lively.directory) == {file}


def test_a_file_that_comes_meanwhile_is_not_replaced(
    lively: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queuectl.exports.target import Target

    path = lively.directory / "a.csv"
    write = Target.write

    def and_another(target: Target, pieces: Iterator[bytes]) -> None:
        write(target, pieces)
        path.write_bytes(b"mine")

    monkeypatch.setattr(Target, "write", and_another)
    assert lively("export", "--to", "a.csv").code == 4
    assert (path.read_bytes(), names(lively.directory)) == (b"mine", {"a.csv"})


# ---- damage


def damage(shell: Shell) -> tuple[int, int]:
    """Flip a bit in the middle of the log; returns the last event before that, and of all."""
    segments = sorted((shell.data / "log").glob("*.jsonl"))
    assert len(segments) > 3
    path = segments[len(segments) // 2]
    lines = path.read_bytes().splitlines(keepends=True)
    last = json.loads(segments[-1].read_bytes().splitlines()[-1])["offset"]
    good = json.loads(lines[2])["offset"]
    broken = bytearray(lines[3])
    broken[-4] ^= 1
    path.write_bytes(b"".join([*lines[:3], broken, *lines[4:]]))
    return good, last


@by_file
def test_from_a_damaged_log_comes_what_is_before_the_damage(lively: Shell, file: str) -> None:
    good, _ = damage(lively)
    answer = lively("export", "--to", file)
    assert answer.code == 6, answer
    assert f"as far as event {good}," in answer.err
    assert "log repair" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert names(lively.directory) == {file}


@pytest.mark.parametrize("format", ["jsonl", "csv", "cloudevents"])
def test_nothing_from_behind_the_damage_is_told(lively: Shell, format: str) -> None:
    good, _ = damage(lively)
    answer = lively("export", "--to", "-", "--format", format, "--view", "events")
    assert answer.code == 6
    rows = list(csv.reader(io.StringIO(answer.out)))
    assert len(rows if format == "cloudevents" else rows[1:]) == good


@pytest.mark.parametrize("view", ["events", "jobs", "runs"])
@pytest.mark.parametrize("where", ["log", "first line", "cut"])
def test_nor_by_duckdb_nor_by_a_snapshot_that_knows_more(
    lively: Shell, view: str, where: str
) -> None:
    import duckdb

    # A snapshot from when all was well.
    with Queue(lively.data) as queue:
        _ = queue.state
        assert queue.keep_snapshot()
    if where == "log":
        good, _ = damage(lively)
    else:
        segments = sorted((lively.data / "log").glob("*.jsonl"))
        path = segments[len(segments) // 2]
        good = int(path.stem) - 1
        data = path.read_bytes()
        if where == "cut":
            path.write_bytes(data[: len(data) // 2])
            good += data[: len(data) // 2].count(b"\n") - 1
        else:
            path.write_bytes(data.replace(b"log.segment", b"log.sagment", 1))
    answer = lively("export", "--to", "a.parquet", "--view", view)
    assert answer.code == 6, answer
    column = {"events": '"offset"', "jobs": "updated", "runs": "token"}[view]
    query = f"SELECT count(*), max({column}) FROM '{lively.directory}/a.parquet'"
    count, highest = duckdb.sql(query).fetchall()[0]
    assert 0 < highest <= good
    assert view != "events" or count == highest == good


# ---- the command line


def test_every_format_and_program_can_be_asked_for() -> None:
    options = {option.name: option for option in [*export.params, *schema.params]}
    assert list(options["name"].type.choices) == list(FORMATS)
    assert list(options["views"].type.choices) == list(VIEWS)
    assert list(options["program"].type.choices) == list(FOR)


@pytest.mark.parametrize("format", ["csv", "jsonl", "cloudevents", "chrome-trace", "joblog"])
def test_a_terminal_gets_nothing_that_it_would_obey(shell: Shell, format: str) -> None:
    shell.add("--max-retries", "1", "-c", "false # \x1b[31m\u202e\x9b")
    shell.drain()
    answer = shell.terminal("export", "--to", "-", "--format", format)
    assert answer.code == 0
    assert not set("\x1b\u202e\x9b\0") & set(answer.out)
    assert "false" in answer.out


# ---- what was asked for makes no sense


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--to", "a.txt"], 2, "--format"),
        (["--to", "-"], 2, "--format"),
        (["--to", "-", "--format", "parquet"], 2, "needs a file"),
        (["--to", "-", "--format", "sqlite"], 2, "needs a file"),
        (["--to", "a.json", "--view", "jobs"], 2, "chrome-trace is made of runs"),
        (["--to", "a.csv", "--view", "jobs", "--view", "runs"], 2, "one of them"),
        (["--to", "a.csv", "--since", "yesterday"], 2, "is no moment"),
        (["--to", "a.csv", "--until", "2026-11-22T14:00:00"], 2, "zone"),
        (["--to", "nowhere/a.csv"], 3, "no directory"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    lively: Shell, words: list[str], code: int, says: str
) -> None:
    answer = lively("export", *words)
    assert (answer.code, answer.out) == (code, "")
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert names(lively.directory) == set()


def test_where_there_is_no_queue_there_is_nothing_to_export(shell: Shell) -> None:
    answer = shell("export", "--to", "a.csv")
    assert answer.code == 3
    assert names(shell.directory) == set()


@by_file
def test_nothing_to_export_is_an_empty_file_of_its_kind(shell: Shell, file: str) -> None:
    shell.ok("config", "set", "max-retries", "4")
    shell.ok("export", "--to", file, "--until", "2001-01-01T00:00:00Z")
    assert names(shell.directory) == {file}


@pytest.mark.parametrize("view", ["jobs", "runs"])
def test_a_table_without_rows_has_its_columns_all_the_same(shell: Shell, view: str) -> None:
    import duckdb

    shell.ok("config", "set", "max-retries", "4")
    shell.ok("export", "--to", "a.parquet", "--view", view)
    described = duckdb.sql(f"DESCRIBE FROM '{shell.directory}/a.parquet'").fetchall()
    assert [row[0] for row in described] == VIEWS[view].names


def test_a_path_may_have_any_characters(lively: Shell) -> None:
    for file in ("it's {here}.parquet", "it's {here}.duckdb", "it's {here}.sqlite"):
        lively.ok("export", "--to", file)
        assert (lively.directory / file).exists()


@pytest.mark.parametrize("file", ["a.parquet", "a.duckdb"])
def test_without_duckdb_it_says_how_to_get_it(
    lively: Shell, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    answer = lively("export", "--to", file)
    assert answer.code == 1
    assert "pip install duckdb, or install queuectl with its extra duckdb" in answer.err
    assert names(lively.directory) == set()


def test_duckdb_is_imported_only_by_who_needs_it(lively: Shell) -> None:
    script = (
        "import sys; from queuectl.cli import run; code = run(sys.argv[1:]);"
        " sys.exit(code or 'duckdb' in sys.modules)"
    )
    for file, imported in (("a.csv", 0), ("a.sqlite", 0), ("a.parquet", 1)):
        done = subprocess.run(
            [sys.executable, "-c", script, "export", "--to", file],
            cwd=lively.directory,
            env=lively.environment({}),
            capture_output=True,
        )
        assert done.returncode == imported, done.stderr


# ---- the disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk on which next to nothing has room."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a tmpfs can be mounted only by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@by_file
def test_a_full_disk_is_told_and_nothing_is_left_on_it(
    lively: Shell, small: Path, file: str
) -> None:
    with contextlib.suppress(OSError), (small / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(b"x" * 1024):
            pass
    answer = lively("export", "--to", f"small/{file}")
    assert answer.code == 9, answer
    assert "no space left" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert os.listdir(small) == ["ballast"]


@pytest.mark.parametrize("file", ["out.csv", "out.parquet"])
def test_who_is_interrupted_leaves_nothing(lively: Shell, file: str) -> None:
    script = f"""
import os, signal, sys
from queuectl.cli import run
from queuectl.exports import duck, target

def interrupted(*_):
    os.kill(os.getpid(), signal.SIGINT)
    raise AssertionError("that was a signal")

{"target._write" if file.endswith("csv") else "target.Target.keep"} = interrupted
sys.exit(run(["export", "--to", {file!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=lively.directory,
        env=lively.environment({}),
        capture_output=True,
    )
    assert done.returncode == 130, done.stderr
    assert names(lively.directory) == set()


@pytest.mark.parametrize("file", ["a.csv", "a.parquet"])
def test_what_is_not_durable_is_not_in_it(lively: Shell, file: str) -> None:
    lively.ok("export", "--to", f"before-{file}")
    active = max((lively.data / "log").glob("*.jsonl"))
    with active.open("ab") as log:
        log.write(b'{"crc":"00000000","offset":99,"at":"2026')
    lively.ok("export", "--to", file)
    exported = (lively.directory / file).read_bytes()
    assert exported == (lively.directory / f"before-{file}").read_bytes()


@pytest.mark.parametrize("file", ["a.csv", "a.parquet", "a.duckdb"])
def test_an_event_of_a_later_version_is_not_passed_over(lively: Shell, file: str) -> None:
    class Odd(v.Event, frozen=True, tag="odd.happened"):
        """Something that will happen."""

    with Queue(lively.data) as queue:
        queue.log.append([Batch([Odd()])])
    answer = lively("export", "--to", file, "--view", "events")
    assert answer.code == 1
    assert "use a newer" in answer.err
    assert names(lively.directory) == set()


def test_what_is_appended_meanwhile_is_not_in_it(lively: Shell) -> None:
    from queuectl.exports import formats
    from queuectl.exports.source import Source
    from queuectl.exports.target import Target

    with Queue(lively.data, create=False, salvage=True) as queue:
        source = Source(queue)
        lively.add("true")
        for file in ("a.csv", "a.parquet"):
            format = formats.guessed(file)
            with Target(str(lively.directory / file), queue.host) as target:
                formats.export(source, format, format.views[:1], target)
    lines = (lively.directory / "a.csv").read_text(encoding="utf-8").splitlines()
    assert lines[-1].startswith(f"{source.through},")
    import duckdb

    query = f"SELECT max(\"offset\") FROM '{lively.directory}/a.parquet'"
    assert duckdb.sql(query).fetchall() == [(source.through,)]
