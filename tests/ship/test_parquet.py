"""A sink in Parquet files: each event in one of them exactly once, or yet to come in JSON lines."""

from __future__ import annotations

import errno
import random
import resource
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from killing import kill_without_end
from programs import Shell
from shipping_logs import Site, contents, expected, shipped
from workers import eventually

from queuectl.engines.file import FileLog
from queuectl.errors import Invalid
from queuectl.ship.sink import Refused

EVENTS = 30


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tables(out: Path) -> list[tuple[int, str, list[str] | None]]:
    """(offset, job, env) of what is in the Parquet files, in their order."""
    found: list[tuple[int, str, list[str] | None]] = []
    for path in sorted(out.glob("*.parquet")):
        query = f"""SELECT "offset", job, env FROM read_parquet('{path}')"""
        found += duckdb.execute(query).fetchall()
    return found


def wanted(log: FileLog, first: int = 1) -> list[tuple[int, str, list[str] | None]]:
    return [
        (event["offset"], event["job"], event.get("env"))
        for event in expected(log)
        if event["offset"] >= first
    ]


def whole(out: Path) -> list[tuple[int, str, list[str] | None]]:
    """The same, with the JSON lines that are none yet."""
    rest = [(event["offset"], event["job"], event.get("env")) for event in shipped(out)]
    return tables(out) + rest


def rotating(site: Site, out: Path, **given: Any) -> None:
    site.add("a", f"parquet:{out}", **{"file_events": 7, "send_events": 5, **given})


def test_what_is_complete_is_a_parquet_file(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    assert site.ship("a") == EVENTS
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{first:020d}.parquet" for first in (1, 8, 15, 22)),
        f"{29:020d}.jsonl",
        "LOCK",
    ]
    assert [offset for offset, _, _ in tables(out)] == [*range(1, 29)]
    assert whole(out) == wanted(site.log)
    site.append(20)
    site.ship("a")
    assert whole(out) == wanted(site.log)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in out.iterdir())


def test_its_columns_are_those_of_the_table_of_events(site: Site, out: Path) -> None:
    site.append(8)
    rotating(site, out, send_events=8)
    site.ship("a")
    (path,) = out.glob("*.parquet")
    columns = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    types = {name: kind for name, kind, *_ in columns}
    assert (types["offset"], types["run_ms"], types["env"]) == ("BIGINT", "BIGINT", "VARCHAR[]")
    assert types["at"] == "TIMESTAMP WITH TIME ZONE"


@pytest.mark.parametrize("offset", [0, 3, 7, 20, 28, 29])
def test_what_is_there_is_not_written_again(site: Site, out: Path, offset: int) -> None:
    site.append(EVENTS)
    rotating(site, out)
    site.ship("a")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    site.sinks.reset("a", offset)
    site.ship("a")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("send_events", [2, 5, 100])
@pytest.mark.parametrize("cut", [0, 2, 8, 14, 25])
def test_what_was_skipped_is_filled_in_when_shipping_begins_anew(
    site: Site, out: Path, send_events: int, cut: int
) -> None:
    """Also where that was interrupted, and went on from there."""
    site.append(EVENTS)
    rotating(site, out, send_events=send_events)
    site.sinks.reset("a", 12)
    site.ship("a")
    assert whole(out) == wanted(site.log, 13)
    before = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    site.sinks.reset("a", 0)
    shipping = site.shipping("a")
    shipping.until = cut
    shipping.turn()
    shipping.close()
    site.ship("a")
    assert whole(out) == wanted(site.log)
    assert before.items() <= {p.name: p.read_bytes() for p in out.glob("*.parquet")}.items()


def test_after_any_call_that_fails_it_goes_on(site: Site, out: Path) -> None:
    site.append(8)
    rotating(site, out)
    calls = Counter[str]()
    for host in site.ship_in_spite_of("a", out, errno.EIO):
        assert whole(out) == wanted(site.log), host.calls
        assert not list(out.glob(".*"))
        calls.update(set(host.calls))
    assert min(calls[name] for name in ("link", "make_private", "fsync", "rename")) > 30


def test_a_crash_on_the_way_to_a_parquet_file_is_made_up_for(
    site: Site, tmp_path: Path, out: Path
) -> None:
    """Cut short before, while and after a file was turned into one."""
    site.append(EVENTS)
    rotating(site, out)
    site.ship("a")
    site.add("lines", f"jsonl:{tmp_path}/lines", file_events=7)
    site.ship("lines")
    before = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
    for names in ([8], [22], [15, 22], [1, 8, 15, 22]):
        for is_made in (False, True):
            for first in names:
                shutil.copy(tmp_path / "lines" / f"{first:020d}.jsonl", out)
                if not is_made:
                    (out / f"{first:020d}.parquet").unlink()
            (out / f".{8:020d}.parquet.0123abcd").mkdir()
            site.append(1)
            site.ship("a")
            assert {
                path.name: path.read_bytes() for path in sorted(out.glob("*.parquet"))[:4]
            } == before
            assert whole(out) == wanted(site.log)
            assert not list(out.glob(".*"))


def test_what_a_reader_has_taken_away_does_not_come_back(site: Site, out: Path) -> None:
    site.append(EVENTS)
    rotating(site, out)
    site.ship("a")
    for path in out.glob("0*"):
        path.unlink()
    site.append(10)
    site.ship("a")
    assert whole(out) == wanted(site.log, EVENTS + 1)


def test_files_of_others_are_left_alone(site: Site, out: Path) -> None:
    site.append(3)
    out.mkdir()
    (out / "mine.parquet").write_text("mine\n")
    rotating(site, out)
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    assert contents(out) == {}


def test_what_is_no_directory(site: Site) -> None:
    with pytest.raises(Invalid, match="name a directory"):
        site.add("a", "parquet:")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.add("true")
    yield shell
    shell.close()


def test_without_the_extra_it_says_what_to_do(shell: Shell) -> None:
    hidden = shell.directory / "hidden"
    (hidden / "duckdb").mkdir(parents=True)
    missing = "raise ModuleNotFoundError('hidden')"
    (hidden / "duckdb" / "__init__.py").write_text(missing)
    words = ("ship", "add", "a", "--to", "parquet:out")
    answer = shell.program(*words, PYTHONPATH=str(hidden))
    assert answer.code == 1
    assert "pip install duckdb, or install queuectl with its extra duckdb" in answer.err


def test_what_the_system_refuses_duckdb_is_tried_again(shell: Shell) -> None:
    """A limit on the size of files, which the first lines fit into and no Parquet file does."""
    for number in range(10):
        shell.add(f"echo {number}")
    shell.ok("ship", "add", "a", "--to", "parquet:out", "--file-events", "3")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, {limits[1]}))"
    running = shell.start_changed(code, "ship", "run")
    out = shell.directory / "out"
    eventually(lambda: "it is tried again" in running.err or running.process.poll() is not None)
    assert f"sink a: File too large ({out}); it is tried again\n" in running.err
    (row,) = shell.ok("ship", "status", "--json").json
    assert (row["state"], row["error"]) == ("failing", f"File too large ({out})")
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, limits)
    eventually(lambda: "sink a: it goes on\n" in running.err)
    running.signal()
    assert running.ended().code == 0
    assert len(tables(out)) == 9
    log = FileLog(str(shell.data / "log"))
    assert whole(out) == wanted(log)
    log.close()


def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice(
    shell: Shell, chance: random.Random
) -> None:
    shell.ok("ship", "add", "a", "--to", "parquet:out", "--file-events", "300")
    head = kill_without_end(shell.directory, chance, 6)
    log = FileLog(str(shell.data / "log"))
    assert whole(shell.directory / "out") == wanted(log)
    log.close()
    assert len(tables(shell.directory / "out")) >= head - 300
