"""`log replay`: everything once more, to compare with what is known, or to look on."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import pytest
from programs import Shell
from test_cli_past import events
from workers import eventually

from queuectl import Queue


def test_what_is_known_is_what_replay_gives(played: Shell) -> None:
    head = events(played)[-1]["offset"]
    found = played.ok("log", "replay", "--json").json
    assert found["head"] == head
    assert found["jobs"] == 5
    assert found["lost"] is None
    assert set(found["compared"]) >= {"jobs", "counts", "settings", "workers", "statistics"}
    answer = played.ok("log", "replay")
    assert answer.out.startswith(f"replayed {head} events in ")
    assert " a second: 5 jobs, their counts, settings, " in answer.out
    assert answer.err == ""


@pytest.mark.parametrize(
    "right, wrong, what",
    [
        ('"max_retries":2', '"max_retries":4', "settings"),
        ('"paused":[]', '"paused":["mail"]', "paused"),
        ('"completed":1', '"completed":2', "statistics"),
    ],
)
def test_a_difference_is_told_and_exits_7(shell: Shell, right: str, wrong: str, what: str) -> None:
    shell.ok("config", "set", "max-retries", "2")
    shell.add("--id", "a", "true")
    shell.drain()
    with Queue(shell.data) as queue:
        queue.catch_up()
        assert queue.keep_snapshot()
        head = Path(queue.home.snapshots) / "HEAD"
    _, _, text = head.read_bytes().partition(b"\n")
    assert right.encode() in text
    text = text[::-1].replace(right.encode()[::-1], wrong.encode()[::-1], 1)[::-1]
    head.write_bytes(b"%08x\n%s" % (crc32(text), text))
    answer = shell("log", "replay")
    assert (answer.code, answer.out) == (7, "")
    assert what in answer.err and answer.err.count("\n") == 1
    head.unlink()
    assert shell("log", "replay").code == 0


def test_history_is_played_in_its_order(played: Shell) -> None:
    happened = events(played)
    lines = played.ok("log", "replay", "--speed", "1e9x", "--jsonl").lines
    assert [json.loads(line) for line in lines] == happened
    told = played.ok("log", "replay", "--speed", "1e9").lines
    assert len(told) == len(happened)
    for event, line in zip(happened, told, strict=True):
        assert line.startswith(f"{event['at']}  {event['offset']:>6}  {event['type']}")
        assert event.get("job", "") in line
    some = played.ok("log", "replay", "--speed", "1e9", "--from", "3", "--to", "7").lines
    assert some == told[3:7]
    since = played.ok("log", "replay", "--speed", "1e9", "--from", happened[2]["at"]).lines
    assert since == told[3:]
    nothing = played.ok("log", "replay", "--speed", "1", "--from", "7", "--to", "3")
    assert (nothing.out, nothing.err) == ("", "nothing happened then\n")


def test_pauses_are_as_long_as_they_were_by_the_speed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from queuectl.host import Host

    for id in "abc":
        shell.add("--id", id, "true")
    first, _, last = (event["at"] for event in events(shell))
    clock = 0.0

    def sleep(self: Host, seconds: float) -> None:
        nonlocal clock
        clock += seconds

    monkeypatch.setattr(Host, "sleep", sleep)
    monkeypatch.setattr(Host, "monotonic_s", lambda self: clock)
    shell.ok("log", "replay", "--speed", "0.5x")
    (first_s, last_s) = (float(at[17:26]) for at in (first, last))
    assert clock == pytest.approx((last_s - first_s) % 60 * 2, abs=1e-5)


def test_an_interrupt_ends_it_cleanly(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    shell.add("--id", "b", "true")
    playing = shell.start("log", "replay", "--speed", "0.00001x", "--jsonl")
    eventually(lambda: playing.out.count("\n") == 1)
    playing.signal()
    answer = playing.ended()
    assert answer.code == 130
    assert answer.err.strip() == "queuectl: interrupted"
    assert [json.loads(line)["job"] for line in answer.out.splitlines()] == ["a"]


@pytest.mark.parametrize(
    "words, why",
    [
        ("--speed 0", "is no speed"),
        ("--speed -1x", "is no speed"),
        ("--speed nan", "is no speed"),
        ("--speed inf", "is no speed"),
        ("--speed fast", "is no speed: write 10x"),
        ("--from 1", "go with --speed"),
        ("--jsonl", "go with --speed"),
        ("--speed 1 --json", "use --jsonl"),
    ],
)
def test_what_makes_no_sense_is_refused(played: Shell, words: str, why: str) -> None:
    answer = played("log", "replay", *words.split())
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert why in answer.err
