"""`ship` as somebody uses it: sinks are defined, looked at, reset and removed; what they have not
got is held back for them, and giving them up is loud."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from programs import Answer, Shell, tree

from queuectl import Queue
from queuectl.cli.sinks import sink_document
from queuectl.engines.file import cursors
from queuectl.runtime.sinks import Sinks


def refused(answer: Answer, code: int, *says: str) -> None:
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("queuectl: ") and answer.err.count("\n") == 1
    for words in says:
        assert words in answer.err


@pytest.fixture
def one(shell: Shell) -> Shell:
    """A queue with a job in it."""
    shell.add("--env", "TOKEN=hush", "true")
    return shell


def shipped(directory: Path) -> list[dict[str, Any]]:
    return [
        msgspec.json.decode(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def status(shell: Shell, name: str) -> dict[str, Any]:
    (row,) = shell.ok("ship", "status", name, "--json").json
    return dict(row)


# ---- defining


@pytest.mark.parametrize(
    "words, says",
    [
        ("a b --to jsonl:out", "unexpected extra argument"),
        ("a/b --to jsonl:out", "no name for a sink"),
        (".a --to jsonl:out", "no name for a sink"),
        ("new-a --to jsonl:out", "no name for a sink"),
        (f"{'a' * 65} --to jsonl:out", "no name for a sink"),
        ("a", "Missing option '--to'"),
        ("a --to out", "no such kind of sink is known; it is one of jsonl:DIRECTORY, parquet"),
        ("a --to ftp://host/", "no such kind of sink"),
        ("a --to jsonl:", "name a directory"),
        ("a --to jsonl:out --from never", "neither start nor end nor an offset"),
        ("a --to jsonl:out --from 99", "event 99: there are only 1 yet"),
        ("a --to jsonl:out --send-bytes 0", "at least one byte"),
        ("a --to jsonl:out --send-bytes x", "a size looks like"),
        ("a --to jsonl:out --send-events 0", "--send-events"),
        ("a --to jsonl:out --timeout 5s", "--timeout: a sink at jsonl: has no such option"),
        ("a --to https://ann:pass@host/", "a password in a URL can be seen by everybody"),
        ("a --to https://host/ --token-file x --token-env Y", "name one of them"),
        ("a --to jsonl:out --max-lag soon", "a duration looks like"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(one: Shell, words: str, says: str) -> None:
    before = tree(one.directory)
    answer = one("ship", "add", *words.split())
    refused(answer, 2, says)
    assert tree(one.directory) == before


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_directory_that_is_not_there_is_not_found(one: Shell, kind: str) -> None:
    before = tree(one.directory)
    refused(one("ship", "add", "a", "--to", f"{kind}:missing/out"), 3, "there is no directory")
    assert tree(one.directory) == before


def test_sinks_belong_to_a_queue_that_is_there(shell: Shell) -> None:
    for words in ("add a --to jsonl:out", "status", "run", "remove a", "reset a --to-start"):
        refused(shell("ship", *words.split()), 3, "there is no queue")


def test_unknown_sinks_are_not_found(one: Shell) -> None:
    one.ok("ship", "add", "audit", "--to", "jsonl:out")
    for words in ("status audti", "run audti", "remove audti", "reset audti --to-start"):
        refused(one("ship", *words.split()), 3, "no sink audti", "did you mean 'audit'")


def test_a_sink_is_defined_once(one: Shell) -> None:
    one.ok("ship", "add", "audit", "--to", "jsonl:out")
    before = tree(one.data)
    refused(one("ship", "add", "audit", "--to", "jsonl:other"), 4, "there is a sink audit already")
    assert tree(one.data).keys() == before.keys()


def test_only_what_comes_after_it_if_so_wanted(one: Shell) -> None:
    one.ok("ship", "add", "new", "--to", "jsonl:new", "--from", "end")
    one.ok("ship", "add", "all", "--to", "jsonl:all", "--from", "0")
    one.add("true")
    one.ok("ship", "run", "--once")
    assert [event["offset"] for event in shipped(one.directory / "new")] == [2]
    assert [event["offset"] for event in shipped(one.directory / "all")] == [1, 2]


def test_values_of_the_environment_are_shipped_only_if_asked_for(one: Shell) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:a")
    one.ok("ship", "add", "b", "--to", "jsonl:b", "--show-env")
    one.ok("ship", "run", "--once")
    assert shipped(one.directory / "a")[0]["env"] == ["TOKEN"]
    assert shipped(one.directory / "b")[0]["env"] == ["TOKEN=hush"]


def test_there_may_be_none(one: Shell) -> None:
    answer = one.ok("ship")
    assert answer.out == "" and "there is no sink" in answer.err
    assert one.ok("ship", "list", "--json").json == []
    refused(one("ship", "run"), 2, "there is no sink to ship to")


# ---- looking


def test_the_status_is_for_people_and_for_programs(one: Shell) -> None:
    one.ok("ship", "add", "audit", "--to", "jsonl:out")
    size = (one.data / "log" / f"{1:020d}.jsonl").read_bytes().split(b"\n", 1)[1]
    row = status(one, "audit")
    assert row.pop("lag_seconds") >= 0
    assert row == {
        "sink": "audit",
        "to": f"jsonl:{one.directory}/out",
        "state": "idle",
        "lost": False,
        "cursor": 0,
        "head": 1,
        "lag_events": 1,
        "held_bytes": len(size),
        "error": None,
        "error_at": None,
        "failures": 0,
        "retry_at": None,
        "retry_seconds": None,
    }
    head, line = one.ok("ship").lines
    assert head.split() == ["SINK", "IS", "SHIPPED", "LAG", "BEHIND", "HELD", "TO"]
    assert line.split()[:4] == ["audit", "idle", "0", "1"]
    one.ok("ship", "run", "--once")
    row = status(one, "audit")
    assert (row["cursor"], row["lag_events"], row["lag_seconds"], row["held_bytes"]) == (1, 0, 0, 0)
    assert one.ok("ship", "list").out == one.ok("ship", "status").out == one.ok("ship").out


def test_doctor_sees_who_is_not_served(one: Shell) -> None:
    def about() -> list[str]:
        return [line for line in one.ok("doctor").lines if " sinks:" in line]

    assert about() == []
    one.ok("ship", "add", "audit", "--to", "jsonl:out")
    (line,) = about()
    assert line.startswith("warn") and "1 event to ship to audit, and nobody does" in line
    one.ok("ship", "run", "--once")
    (line,) = about()
    assert line.startswith("ok")
    (one.directory / "out" / f"{1:020d}.jsonl").write_text("another\n")
    one.ok("ship", "reset", "audit", "--to-start")
    refused_run = one("ship", "run", "--once")
    assert refused_run.code == 1 and "another past" in refused_run.err
    (line,) = about()
    assert line.startswith("warn") and "sink audit is stopped" in line


@pytest.mark.parametrize("text", [b"\xff\xfe", b"", b'{"name":"a","to":"jsonl:\xff"}', b"{}"])
def test_a_definition_that_cannot_be_understood_is_told(one: Shell, text: bytes) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    (one.data / "sinks" / "a.json").write_bytes(text)
    for words in ("status", "run", "reset a --to-start", "remove a"):
        refused(one("ship", *words.split()), 1, "the definition of sink a cannot be understood")
    assert any("the definition of sink a" in line for line in one.ok("doctor").lines)


@pytest.mark.parametrize("text", [b"\xff \xfe", b"x y", b"1 2", b"-1 -2", b"\0" * 41])
def test_what_else_is_altered_is_as_if_it_were_not_there(one: Shell, text: bytes) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    for path in ("sinks/a.lock", "sinks/a.status"):
        (one.data / path).write_bytes(text)
    row = status(one, "a")
    assert (row["cursor"], row["error"]) == (0, None)
    one.ok("ship", "run", "--once")
    assert len(shipped(one.directory / "out")) == 1


# ---- resetting and removing


def test_a_reset_says_where_to_go_on(one: Shell) -> None:
    for _ in range(4):
        one.add("true")
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    one.ok("ship", "run", "--once")
    for words, cursor in (("--to-start", 0), ("--to-offset 3", 3), ("--to-end", 5)):
        one.ok("ship", "reset", "a", *words.split())
        assert status(one, "a")["cursor"] == cursor
        one.ok("ship", "run", "--once")
        assert [event["offset"] for event in shipped(one.directory / "out")] == [1, 2, 3, 4, 5]
    for words, says in (
        ("", "give one of --to-start, --to-end and --to-offset N"),
        ("--to-start --to-offset 3", "give one of"),
        ("--to-offset 6", "event 6: there are only 5 yet"),
        ("--to-offset -1", "offsets begin with 1"),
        ("--to-offset x", "--to-offset"),
    ):
        refused(one("ship", "reset", "a", *words.split()), 2, says)
    assert status(one, "a")["cursor"] == 5


@pytest.mark.parametrize(
    "altered",
    [
        *("", "nonsense", "0", "1\n", "3\n"),
        *("2 00000000\n", "1 {crc}\n", "2 {crc}\n2\n", "2 {crc}", None),
    ],
)
def test_a_cursor_that_was_altered_is_not_believed(one: Shell, altered: str | None) -> None:
    one.add("true")
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    one.ok("ship", "run", "--once")
    one.add("true")
    cursor = one.data / "cursors" / "a"
    crc = cursor.read_text().split()[1]
    cursor.unlink()
    if altered is None:
        cursor.mkdir()
    else:
        cursor.write_text(altered.format(crc=crc))
    says = ("the cursor of sink a was altered", str(cursor), "queuectl ship reset")
    refused(one("ship", "run", "--once"), 7, *says)
    row = status(one, "a")
    assert (row["state"], row["cursor"], row["lag_events"]) == ("stopped", None, 3)
    answer = one.ok("ship", "status")
    assert answer.lines[1].split()[:3] == ["a", "stopped", "?"]
    assert all(text in answer.lines[2] for text in says)
    assert any("sink a is stopped: the cursor" in line for line in one.ok("doctor").lines)
    one.ok("log", "compact")
    if altered is None:
        cursor.rmdir()
    one.ok("ship", "reset", "a", "--to-start")
    one.ok("ship", "run", "--once")
    assert [event["offset"] for event in shipped(one.directory / "out")] == [1, 2, 3]


def test_a_cursor_that_was_altered_holds_up_no_other_sink(one: Shell) -> None:
    for name in ("a", "b"):
        one.ok("ship", "add", name, "--to", f"jsonl:{name}")
    shutil.copy(one.data / "cursors" / "b", one.data / "cursors" / "a")
    answer = one("ship", "run", "--once")
    assert answer.code == 6
    assert "the cursor of sink a was altered" in answer.err
    assert [event["offset"] for event in shipped(one.directory / "b")] == [1]
    assert not (one.directory / "a").exists()


def test_a_log_that_ends_before_its_cursor_is_not_shipped(one: Shell) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    shutil.copytree(one.data / "log", one.directory / "older")
    one.add("true")
    one.ok("ship", "run", "--once")
    shutil.rmtree(one.data / "log")
    (one.directory / "older").rename(one.data / "log")
    says = "sink a has been shipped all up to event 2, and the log ends with event 1"
    refused(one("ship", "run", "--once"), 7, says, "queuectl ship reset")
    assert says in one.ok("ship", "status").lines[2]
    assert [event["offset"] for event in shipped(one.directory / "out")] == [1, 2]


def test_a_definition_under_another_name_is_not_taken_for_that_of_two(one: Shell) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    sinks = one.data / "sinks"
    shutil.copy(sinks / "a.json", sinks / "b.json")
    says = f"{sinks / 'b.json'} is the definition of sink a"
    refused(one("ship", "run", "--once"), 7, says, "queuectl ship add")
    assert not (one.directory / "out").exists()
    one.ok("ship", "run", "--once", "a")
    (sinks / "c.json").write_text("{")
    lines = [line for line in one.ok("doctor").lines if "sinks:" in line]
    assert len(lines) == 2 and says in lines[0]
    assert "the definition of sink c cannot be understood" in lines[1]


def test_compaction_waits_for_a_sink_of_which_the_cursor_was_altered(old: Shell) -> None:
    before = everything(old)
    old.ok("ship", "add", "a", "--to", "jsonl:out")
    (old.data / "cursors" / "a").write_text(f"{before[-1]['offset']}\n")
    assert old.ok("log", "compact", "--json").json["rewritten"] == []


def test_compaction_waits_for_a_sink_of_which_the_cursor_is_ahead_of_the_log(old: Shell) -> None:
    last = everything(old)[-1]["offset"]
    old.ok("ship", "add", "a", "--to", "jsonl:out")
    with Queue(old.data) as queue:
        Sinks(queue.home, queue.host).move("a", last + 1)
    assert old.ok("log", "compact", "--json").json["rewritten"] == []
    assert status(old, "a")["lag_events"] == last


def test_who_looks_while_something_is_shipped_sees_no_log_that_was_cut_off(
    one: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    read = cursors.read
    with Queue(one.data) as queue, Queue(one.data) as other:
        sinks = Sinks(queue.home, queue.host)

        def meanwhile(*given: Any, **named: Any) -> int | None:
            other.enqueue("true")
            sinks.move("a", other.log.head())
            return read(*given, **named)

        monkeypatch.setattr(cursors, "read", meanwhile)
        document = sink_document(queue, sinks, "a")
    assert (document["state"], document["error"]) == ("idle", None)
    assert document["lag_events"] <= 1


def test_who_else_holds_compaction_up_is_told(one: Shell) -> None:
    cursor = one.data / "cursors" / "theirs"
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    for said, told in (
        (b"1\n", None),
        (b"0\n", "compaction waits for theirs, which is no sink, at event 0 of 1"),
        ("1\n".encode("utf-16"), "compaction takes nothing out"),
        (b"", "compaction takes nothing out"),
    ):
        cursor.write_bytes(said)
        lines = [line for line in one.ok("doctor").lines if "cursors:" in line]
        assert len(lines) == (told is not None)
        assert all(told in line for line in lines if told)


def test_what_was_removed_is_gone_and_what_it_shipped_is_not(one: Shell) -> None:
    one.ok("ship", "add", "a", "--to", "jsonl:out")
    one.ok("ship", "run", "--once")
    one.ok("ship", "remove", "a")
    assert list((one.data / "sinks").iterdir()) == list((one.data / "cursors").iterdir()) == []
    assert len(shipped(one.directory / "out")) == 1
    one.ok("ship", "add", "b", "--to", "jsonl:out")
    one.ok("ship", "run", "--once")
    assert len(shipped(one.directory / "out")) == 1


def test_what_was_shipped_before_it_was_redacted_is_told(one: Shell) -> None:
    one.add("--id", "known", "echo s3cret")
    one.drain()
    one.ok("ship", "add", "a", "--to", "jsonl:out", "--file-events", "2")
    one.ok("ship", "run", "--once")
    one.ok("log", "redact", "known", "--field", "command", "-y")
    one.ok("ship", "run", "--once")
    out = one.directory / "out"
    assert any("redacting" in event["type"] for event in shipped(out)), "it goes on"
    one.ok("ship", "reset", "a", "--to-start")
    before = tree(out)
    answer = one("ship", "run", "--once")
    assert answer.code == 1 and "has event 2 as it was before it was redacted" in answer.err
    assert tree(out) == before
    (out / f"{1:020d}.jsonl").unlink()
    one.ok("ship", "run", "--once")
    assert [event["offset"] for event in shipped(out)] == [*range(1, status(one, "a")["head"] + 1)]
    assert "s3cret" not in str(shipped(out))


# ---- what is held back


def everything(shell: Shell) -> list[dict[str, Any]]:
    """Each event of the log, before compaction."""
    return [
        {key: value for key, value in msgspec.json.decode(line).items() if key != "crc"}
        for path in sorted((shell.data / "log").glob("*.jsonl"))
        for line in path.read_bytes().split(b"\n")[1:-1]
    ]


def test_compaction_waits_for_what_was_not_shipped(old: Shell) -> None:
    before = everything(old)
    old.ok("ship", "add", "a", "--to", "jsonl:out")
    assert old.ok("log", "compact", "--json").json["rewritten"] == []
    assert status(old, "a")["lost"] is False
    old.ok("ship", "run", "--once")
    assert old.ok("log", "compact", "--json").json["rewritten"] != []
    assert shipped(old.directory / "out") == before


@pytest.mark.parametrize("limit", [("--max-lag", "1d"), ("--max-held", "1k")])
def test_who_lags_too_far_is_given_up_loudly_and_still_gets_everything(
    old: Shell, limit: tuple[str, str]
) -> None:
    before = everything(old)
    old.ok("ship", "add", "slow", "--to", "jsonl:out", *limit)
    old.ok("ship", "add", "far", "--to", "jsonl:far", "--from", "end")
    old.ok("ship", "reset", "slow", "--to-offset", "100")
    would = old.ok("log", "compact", "--dry-run", "--json").json["rewritten"]
    assert would and not status(old, "slow")["lost"], "a dry run only says so"
    assert old.ok("log", "compact", "--json").json["rewritten"] != []
    row = status(old, "slow")
    assert row["lost"] is True
    assert "slow: it lagged too far behind" in old.ok("ship").out
    assert "LOST" in old.ok("ship").out
    (event,) = old.ok("log", "tail", "-n", "1", "--json").json
    assert (event["type"], event["sink"], event["shipped"]) == ("sink.lost", "slow", 100)
    assert limit[0].strip("-") in event["reason"]
    assert any("slow" in line and line.startswith("warn") for line in old("doctor").lines)
    old.ok("log", "compact")
    assert old.ok("log", "tail", "-n", "1", "--json").json == [event], "it is said once"
    assert old.ok("log", "verify")

    old.ok("ship", "reset", "slow", "--to-start")
    answer = old.ok("ship", "run", "slow", "--once")
    assert shipped(old.directory / "out")[: len(before)] == before
    assert "archive" not in answer.err
    assert status(old, "slow")["lost"] is False


def test_what_is_in_no_archive_any_more_is_told_and_the_rest_is_shipped(old: Shell) -> None:
    before = everything(old)
    old.ok("log", "compact")
    shutil.rmtree(old.data / "archive")
    old.ok("ship", "add", "a", "--to", "jsonl:out")
    answer = old.ok("ship", "run", "--once")
    assert "not in the archive any more" in answer.err
    found = shipped(old.directory / "out")
    left = [event for event in found if event["type"] != "log.compacted"]
    assert len(left) < len(found)
    assert {event["offset"] for event in found} < {event["offset"] for event in before}
    assert all("more" in event or event in before for event in left)
    assert found[-1]["offset"] == status(old, "a")["head"]
