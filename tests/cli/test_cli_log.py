"""`log compact` and what comes of it, as somebody sees it who keeps a queue for long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import Untroubled
from programs import Shell, tree

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch

SEGMENT_BYTES = 20_000
READING = (
    *("status", "list --limit 0", "show job199", "show job1", "list --json", "worker list"),
    *("history job199", "history job39", "history job38", "history job38 --json", "history none"),
)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**FileLog.__init__.__kwdefaults__, "segment_bytes_max": SEGMENT_BYTES}  # type: ignore[dict-item]
    monkeypatch.setattr(FileLog.__init__, "__kwdefaults__", defaults)


@pytest.fixture
def old(shell: Shell) -> Shell:
    """A queue with a past: most of its jobs have been purged."""
    host = Untroubled()
    with Queue(shell.data, host=host) as queue:
        for worker in ("w1", "w2"):
            facts = [v.WorkerStarted(worker=worker), v.WorkerStopped(worker=worker)]
            queue.transact(lambda facts=facts: [Batch([fact]) for fact in facts])
        for start in range(0, 200, 10):
            ids = [f"job{n}" for n in range(start, start + 10)]
            queue.enqueue_many([{"id": id, "command": f"true {id}"} for id in ids])
            host.advance(1)
            claims = queue.turn([], worker="w3", slots=range(1, 11))
            host.advance(1)
            ended = [
                c.Finish(job=claim.job, token=claim.offset, now=queue.now(), exit_code=0, run_ms=9)
                for claim in claims
                if isinstance(claim, v.JobClaimed)
            ]
            queue.turn(ended, worker="w3", slots=[])
            queue.prune(*ids[:-1], reason="old")
    return shell


def files(shell: Shell) -> list[Path]:
    return sorted((shell.data / "log").glob("*.jsonl"))


def answers(shell: Shell) -> dict[str, object]:
    stats = {**shell.ok("stats", "--json").json, "uptime": 0, "throughput_per_second": 0}
    return {"stats": stats, **{words: shell(*words.split()) for words in READING}}


def test_compacting_changes_no_answer_and_gives_back_space(old: Shell) -> None:
    before = answers(old)
    size = sum(path.stat().st_size for path in files(old))
    answer = old.ok("log", "compact")
    assert len(files(old)) < 4
    assert sum(path.stat().st_size for path in files(old)) < size / 2
    assert answer.lines[0].startswith("events 1 to ")
    assert "events out" in answer.lines[0] and "files made one" in answer.lines[0]
    assert "into the archive" in answer.err
    assert answers(old) == before
    assert old.ok("log", "verify").out.startswith("head ")
    again = old.ok("log", "compact")
    assert (again.out, "nothing to take out" in again.err) == ("", True)


def test_a_dry_run_tells_the_same_and_changes_nothing(old: Shell) -> None:
    before = tree(old.directory)
    would = old.ok("log", "compact", "--dry-run")
    assert tree(old.directory) == before
    assert "nothing was changed" in would.err
    document = old.ok("log", "compact", "--dry-run", "--json").json
    assert document["dry_run"] is True
    assert tree(old.directory) == before
    assert old.ok("log", "compact").out == would.out


def test_the_document(old: Shell) -> None:
    document = old.ok("log", "compact", "--json").json
    assert set(document) == {
        *("dry_run", "bytes_before", "bytes_after", "events_removed", "archives", "rewritten"),
    }
    rows = document["rewritten"]
    assert sum(row["events_removed"] for row in rows) == document["events_removed"] > 500
    assert document["archives"] == len(list((old.data / "archive").glob("*.jsonl.gz")))
    assert rows[0]["first"] == 1
    assert document["bytes_after"] < document["bytes_before"]


def test_a_cursor_holds_it_back(old: Shell) -> None:
    (old.data / "cursors").mkdir()
    (old.data / "cursors" / "elsewhere").write_text("0\n")
    assert old.ok("log", "compact").out == ""
    (old.data / "cursors" / "elsewhere").write_text("300\n")
    assert all(row["last"] <= 300 for row in old.ok("log", "compact", "--json").json["rewritten"])
    assert old.ok("log", "verify")


def test_a_history_says_what_the_archive_no_longer_has(old: Shell) -> None:
    whole = old.ok("history", "job128")
    assert len(whole.lines) == 4 and whole.err == ""
    old.ok("log", "compact")
    archives = sorted((old.data / "archive").iterdir())
    archives[1].write_bytes(archives[1].read_bytes()[:-20])
    for path in archives[3:]:
        path.unlink()
    assert old.ok("history", "job8").err == "", "where nothing is missing, nothing is said"
    answer = old("history", "job128")
    assert (answer.code, answer.out) == (3, "")
    damaged, gone, nobody = answer.err.splitlines()
    assert str(archives[1]) in damaged
    assert "only what the log has kept" in damaged and "only what the log has kept" in gone
    assert "not in the archive any more" in gone
    assert "no job" in nobody
    assert len(old.ok("history", "job129").lines) == 3


def test_damage_is_told_and_nothing_is_compacted(old: Shell) -> None:
    segment = files(old)[1]
    segment.write_bytes(segment.read_bytes().replace(b"true job", b"rm -rf .", 1))
    before = tree(old.directory)
    answer = old("log", "compact")
    assert (answer.code, answer.out) == (7, "")
    assert str(segment) in answer.err
    assert tree(old.directory) == before
