"""`ship run` as a process: woken, stopped, killed; and what becomes of one sink is nothing to
another."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import kill_without_end
from programs import Background, Shell
from shipping_logs import contents, expected, shipped
from workers import eventually

from queuectl.engines.file import FileLog


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.add("true")
    yield shell
    shell.close()


def log_of(shell: Shell) -> FileLog:
    return FileLog(str(shell.data / "log"))


def settled(shell: Shell, name: str) -> list[dict[str, Any]]:
    """The status of all sinks, once that one has acknowledged everything; until then nothing."""
    rows: list[dict[str, Any]] = shell.ok("ship", "status", "--json").json
    return rows if any(row["sink"] == name and not row["lag_events"] for row in rows) else []


def begun(shell: Shell, *words: str) -> Background:
    started = shell.start("ship", "run", *words)
    eventually(lambda: "shipping to" in started.err or started.process.poll() is not None)
    return started


def test_what_happens_is_shipped_as_it_happens_until_it_is_asked_to_stop(shell: Shell) -> None:
    out = shell.directory / "out"
    shell.ok("ship", "add", "a", "--to", "jsonl:out")
    running = begun(shell)
    for number in range(1, 4):
        eventually(lambda: len(shipped(out)) == number)  # noqa: B023
        shell.add("true")
    shell.worker("--burst").ended()
    head = log_of(shell).head()
    eventually(lambda: shipped(out)[-1]["offset"] == head)
    (row,) = eventually(lambda: settled(shell, "a"))
    assert (row["state"], row["lag_events"], row["held_bytes"]) == ("running", 0, 0)
    running.signal(signal.SIGTERM)
    answer = running.ended()
    assert answer.code == 0
    assert f"sink a: shipped up to event {head}" in answer.err
    assert shipped(out) == expected(log_of(shell))
    (row,) = shell.ok("ship", "status", "--json").json
    assert row["state"] == "idle"


def test_while_nothing_happens_it_sleeps(shell: Shell) -> None:
    """It is woken by the log, and looks by itself only once a second."""
    shell.ok("ship", "add", "a", "--to", "jsonl:out")
    running = begun(shell)
    pid = running.process.pid
    eventually(lambda: len(shipped(shell.directory / "out")) == 1)
    # What ends a shipment is several syncs, for each of which it sleeps.
    eventually(lambda: shell.ok("ship", "status", "--json").json[0]["cursor"] == 1)

    tasks = Path(f"/proc/{pid}/task")

    def woken() -> int:
        texts = [(task / "status").read_text() for task in tasks.iterdir()]
        return sum(int(text.partition("voluntary_ctxt_switches:")[2].split()[0]) for text in texts)

    before = woken()
    time.sleep(2)  # the subject of the test
    assert woken() - before < 20


def test_a_sink_that_is_down_holds_up_no_other(shell: Shell) -> None:
    (shell.directory / "mounted").mkdir()
    shell.ok("ship", "add", "down", "--to", "jsonl:mounted/out")
    shell.ok("ship", "add", "up", "--to", "jsonl:out")
    (shell.directory / "mounted").rmdir()
    running = begun(shell)
    eventually(lambda: len(shipped(shell.directory / "out")) == 1)
    eventually(lambda: "sink down: No such file or directory" in running.err)
    shell.add("true")
    eventually(lambda: len(shipped(shell.directory / "out")) == 2)
    down, up = eventually(lambda: settled(shell, "up"))
    assert (down["state"], down["lag_events"]) == ("failing", 2)
    assert down["failures"] >= 1 and down["retry_at"] > down["error_at"]
    assert (up["state"], up["lag_events"], up["error"]) == ("running", 0, None)
    assert "No such file or directory" in shell.ok("ship", "status").out
    (shell.directory / "mounted").mkdir()
    eventually(lambda: len(shipped(shell.directory / "mounted" / "out")) == 2)
    eventually(lambda: "sink down: it goes on" in running.err)
    running.signal()
    assert running.ended().code == 0


def test_what_a_sink_will_never_take_stops_it_alone(shell: Shell) -> None:
    for name in ("bad", "good"):
        shell.ok("ship", "add", name, "--to", f"jsonl:{name}")
    (shell.directory / "bad").mkdir()
    (shell.directory / "bad" / f"{1:020d}.jsonl").write_text("something else\n")
    running = begun(shell)
    eventually(lambda: "nothing more is shipped to it" in running.err)
    shell.add("true")
    eventually(lambda: len(shipped(shell.directory / "good")) == 2)
    bad, good = shell.ok("ship", "status", "--json").json
    assert (bad["state"], good["state"]) == ("stopped", "running")
    running.signal()
    answer = running.ended()
    assert answer.code == 6
    assert answer.err.endswith("queuectl: shipping to 1 of 2 sinks failed: see above\n")
    answer = shell("ship", "run", "bad", "--once")
    assert answer.code == 1
    assert "did not put there" in answer.err
    (row,) = shell.ok("ship", "status", "bad", "--json").json
    assert row["state"] == "stopped", "also when nobody ships any more"


def test_one_run_serves_a_sink(shell: Shell) -> None:
    shell.ok("ship", "add", "a", "--to", "jsonl:out")
    shell.ok("ship", "add", "b", "--to", "jsonl:other")
    running = begun(shell, "a")
    for words in (["run"], ["run", "b", "a"], ["remove", "a"], ["reset", "a", "--to-start"]):
        answer = shell("ship", *words)
        assert (answer.code, answer.out) == (4, "")
        assert "somebody else is shipping to a" in answer.err
    shell.ok("ship", "run", "b", "--once")
    running.signal()
    assert running.ended().code == 0
    shell.ok("ship", "run", "--once")


def test_damage_is_shipped_up_to_and_then_told(shell: Shell) -> None:
    for number in range(5):
        shell.add("--id", f"job{number}", "true")
    shell.ok("ship", "add", "a", "--to", "jsonl:out")
    (path,) = (shell.data / "log").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"job3", b"jobs"))
    answer = shell("ship", "run", "--once")
    assert (answer.code, answer.out) == (7, "")
    assert "the log is damaged" in answer.err
    assert [event["job"] for event in shipped(shell.directory / "out")][1:] == [
        "job0",
        "job1",
        "job2",
    ]
    (row,) = shell("ship", "status", "--json").json
    assert row["state"] == "stopped" and "damaged" in row["error"]


def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_there_twice(
    shell: Shell, chance: random.Random
) -> None:
    shell.ok("ship", "add", "a", "--to", "jsonl:out", "--file-events", "700")
    shell.ok("ship", "add", "b", "--to", "jsonl:same", "--file-events", "700")
    head = kill_without_end(shell.directory, chance, 10)
    assert shipped(shell.directory / "out") == expected(log_of(shell))
    assert shipped(shell.directory / "out")[-1]["offset"] == head
    assert contents(shell.directory / "out") == contents(shell.directory / "same")
