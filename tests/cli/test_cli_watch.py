"""Reading events: some of them, since then, as they come, and going on where a reader left off."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Shell
from test_cli_past import events
from workers import eventually

from queuectl import Queue
from queuectl.runtime.compacting import compact


def offsets(lines: list[str]) -> list[int]:
    return [json.loads(line)["offset"] for line in lines]


# ---- log tail


def test_only_some_types_or_one_job(played: Shell) -> None:
    happened = events(played)
    for kinds in (["job.failed"], ["job.dead", "job.failed"], ["setting.changed", "log.repaired"]):
        words = [word for kind in kinds for word in ("--type", kind)]
        wanted = [event["offset"] for event in happened if event["type"] in kinds]
        assert offsets(played.ok("log", "tail", *words).lines) == wanted
        assert offsets(played.ok("log", "tail", *words, "-n", "1").lines) == wanted[-1:]
    bad = [event["offset"] for event in happened if event.get("job") == "bad"]
    assert offsets(played.ok("log", "tail", "--job", "bad").lines) == bad
    assert offsets(played.ok("log", "tail", "--job", "ba", "-n", "2").lines) == bad[-2:]
    both = played.ok("log", "tail", "--job", "bad", "--type", "job.dead").lines
    assert [json.loads(line)["type"] for line in both] == ["job.dead"]


def test_since_an_event_or_a_time(played: Shell) -> None:
    happened = events(played)
    for since in range(len(happened) + 1):
        later = [event["offset"] for event in happened if event["offset"] > since]
        assert offsets(played.ok("log", "tail", "--since", str(since)).lines) == later
        assert (
            offsets(played.ok("log", "tail", "--since", str(since), "-n", "3").lines)
            == (later[-3:])
        )
    for event in happened:
        later = [one["offset"] for one in happened if one["at"] > event["at"]]
        for words in ([], ["--type", "job.enqueued"], ["--job", "bad"]):
            found = played.ok("log", "tail", "--since", event["at"], *words, "--json").json
            assert [one["offset"] for one in found] == [
                one["offset"]
                for one in happened
                if one["offset"] in later
                and (not words or words[1] in (one["type"], one.get("job")))
            ]


def test_a_purged_job_is_followed_too(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    shell.ok("cancel", "a")
    with Queue(shell.data) as queue:
        queue.prune("a")
    types = [json.loads(line)["type"] for line in shell.ok("log", "tail", "--job", "a").lines]
    assert types == ["job.enqueued", "job.cancelled", "job.pruned"]
    nobody = shell("log", "tail", "--job", "nobody")
    assert (nobody.code, nobody.out) == (3, "")


@pytest.mark.parametrize(
    "words, why",
    [
        ("log tail --type job.daed", "did you mean 'job.dead'?"),
        ("log tail --type nothing", "there are job.enqueued, "),
        ("log tail --since 9999", "9999: that has not happened yet: the last event is "),
        ("log tail --since 2999-01-01T00:00:00Z", "in the future"),
        ("log tail --since x", "is no moment"),
        ("watch --from 9999", "9999: that has not happened yet: the last event is "),
        ("watch --from -1", "is no moment"),
        ("watch --type job", "is no type"),
    ],
)
def test_what_makes_no_sense_is_refused(played: Shell, words: str, why: str) -> None:
    answer = played(*words.split())
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert why in answer.err


def test_types_are_completed(shell: Shell) -> None:
    for words in ("queuectl watch --type job.de", "queuectl log tail --type job.de"):
        answer = shell.program(
            _QUEUECTL_COMPLETE="bash_complete",
            COMP_WORDS=words,
            COMP_CWORD=str(words.count(" ")),
        )
        assert answer.out == "plain,job.dead\n"


# ---- watch


def test_watching_begins_now_or_after_an_event(shell: Shell) -> None:
    for id in "abc":
        shell.add("--id", id, "true")
    now = shell.start("watch", "--type", "job.enqueued")
    all_of_it = shell.start("watch", "--from", "0")
    some = shell.start("watch", "--from", "2")
    eventually(lambda: len(offsets(all_of_it.out.splitlines())) == 3)
    eventually(lambda: len(offsets(some.out.splitlines())) == 1)
    # Who has just been started may not have looked yet.
    while not now.out:
        shell.add("true")
    shell.ok("cancel", "a")
    eventually(lambda: "job.cancelled" in all_of_it.out and "job.cancelled" in some.out)
    head = events(shell)[-1]["offset"]
    assert offsets(all_of_it.out.splitlines()) == list(range(1, head + 1))
    assert offsets(some.out.splitlines()) == list(range(3, head + 1))
    assert {json.loads(line)["type"] for line in now.out.splitlines()} == {"job.enqueued"}
    for watching in (now, all_of_it, some):
        watching.signal()
        answer = watching.ended()
        assert (answer.code, answer.err.strip()) == (130, "queuectl: interrupted")


def test_a_reader_that_is_killed_goes_on_where_it_left_off(shell: Shell) -> None:
    chance = random.Random(1)
    shell.add("true")
    seen: list[int] = []
    for _ in range(6):
        watching = shell.start("watch", "--from", str(seen[-1] if seen else 0))
        for _ in range(chance.randrange(1, 9)):
            shell.add("true")
        eventually(lambda watching=watching: watching.out.count("\n") > 0)
        watching.kill()
        # A line that was cut off has not been seen.
        whole = watching.out[: watching.out.rfind("\n") + 1]
        seen += offsets(whole.splitlines())
    assert seen == list(range(1, seen[-1] + 1))


@pytest.fixture
def small(shell: Shell) -> Iterator[Queue]:
    """A queue in small files."""
    with Queue(shell.data) as queue:
        queue.log.segment_bytes_max = 2000  # type: ignore[attr-defined]
        yield queue


def play(queue: Queue, number: int) -> None:
    """Some jobs, all but one of which are forgotten."""
    ids = [f"{number}-{index}" for index in range(8)]
    for id in ids:
        queue.enqueue("true", id=id)
    queue.cancel(*ids)
    queue.prune(*ids[1:])


def test_watching_goes_on_whatever_is_compacted(shell: Shell, small: Queue) -> None:
    play(small, 0)
    first = shell.start("watch", "--from", "0")
    removed = 0
    for number in range(1, 5):
        play(small, number)
        removed += sum(rewriting.events_removed for rewriting in compact(small))
        left_off = shell.start("watch", "--from", str(number * 5))
        head = small.log.head()
        eventually(lambda head=head: f'"offset":{head},' in first.out)
        eventually(lambda head=head, one=left_off: f'"offset":{head},' in one.out)
        assert offsets(left_off.out.splitlines()) == list(range(number * 5 + 1, head + 1))
        left_off.kill()
    assert removed > 50
    assert offsets(first.out.splitlines()) == list(range(1, head + 1))
    assert len(shell.ok("log", "tail", "-n", "0").lines) == head


def test_what_has_left_the_archive_is_told(shell: Shell, small: Queue) -> None:
    play(small, 0)
    play(small, 1)
    list(compact(small))
    for path in Path(small.home.archive).iterdir():
        path.unlink()
    answer = shell.ok("log", "tail", "-n", "0")
    assert answer.err.startswith("of events 1 to ")
    assert "only what the log has kept" in answer.err
    found: list[dict[str, Any]] = [json.loads(line) for line in answer.lines]
    assert "log.compacted" in [event["type"] for event in found]


# ---- history


def test_a_history_tells_how_long_everything_took(played: Shell) -> None:
    answer = played.ok("history", "bad")
    claims = [line for line in answer.lines if "  job.claimed  " in line]
    assert len(claims) == 2
    assert all(", after waiting " in line for line in claims)
    assert " in all: " in answer.err
    assert " running in 2 runs" in answer.err and " waiting" in answer.err
    later = played.ok("history", "later")
    assert later.err.endswith(" held back\n")
    assert played.ok("-q", "history", "bad") == (0, answer.out, "")
