"""Looking at a queue as it was: --at on what reads, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from playing import lose_an_end
from programs import Shell, tree

from queuectl import Queue
from queuectl.projections import past

AT = [
    "status",
    "list",
    "show good",
    "stats",
    "stats --by queue",
    "dlq list",
    "config list",
]


def events(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.ok("log", "tail", "-n", "0", "--json").json
    return found


def last(shell: Shell, type: str, job: str) -> int:
    (*_, offset) = [
        event["offset"]
        for event in events(shell)
        if (event["type"], event.get("job")) == (type, job)
    ]
    assert isinstance(offset, int)
    return offset


@pytest.mark.parametrize("words", AT)
def test_as_of_the_last_event_everything_is_as_it_is_now(played: Shell, words: str) -> None:
    head = str(events(played)[-1]["offset"])
    now = played.ok(*words.split(), "--json").json
    then = played.ok(*words.split(), "--json", "--at", head).json
    if words in ("status", "stats"):
        for changing in ("uptime", "throughput_per_second", "workers"):
            now.pop(changing, None), then.pop(changing, None)
    assert then == now


def test_the_queue_is_seen_as_it_was(played: Shell) -> None:
    claimed = last(played, "job.claimed", "bad")
    at = ("--at", str(claimed))
    assert played.ok("status", "--json", *at).json["jobs"]["dead"] == 0
    assert played.ok("status", "--json", *at).json["head"] == claimed
    assert played.ok("dlq", "--json", *at).json == []
    jobs = {job["id"]: job["state"] for job in played.ok("list", "--json", *at).json}
    assert jobs["bad"] == "processing"
    assert "later" not in jobs
    bad = played.ok("show", "bad", "--json", *at).json
    assert (bad["state"], bad["attempts"]) == ("processing", 2)
    assert [run["outcome"] for run in bad["attempts_made"]] == ["failed", "running"]
    assert played.ok("stats", "--json", *at).json["retries"] == 1
    assert played.ok("config", "list", "--json", "--at", "1").json["backoff"] == "exponential"
    assert played.ok("config", "list", "--json", "--at", "2").json["backoff"] == "fixed"
    gone = played("show", "later", *at)
    assert (gone.code, gone.out) == (3, "")


def test_workers_are_shown_as_the_log_knew_them(played: Shell) -> None:
    claimed = last(played, "job.claimed", "bad")
    (worker,) = played.ok("status", "--json", "--at", str(claimed)).json["workers"]
    assert worker["alive"] is None
    assert worker["current_job"] == "bad"
    assert "  started  " in played.ok("status", "--at", str(claimed)).out
    assert played.ok("status", "--json").json["workers"] == []


def test_what_a_moment_was_resolved_to_is_told_beside_the_answer(played: Shell) -> None:
    at = events(played)[1]["at"]
    answers = [
        played.ok("config", "list", "--at", moment)
        for moment in ("2", at, at.replace("Z", "+00:00"))
    ]
    assert len({answer.out for answer in answers}) == 1
    for answer in answers:
        assert answer.err.startswith(f"as of {at}, ")
        assert answer.err.endswith(", after event 2\n")
    head = events(played)[-1]["offset"]
    assert f"after event {head}\n" in played.ok("status", "--at", "0s").err
    quiet = played.ok("-q", "config", "list", "--at", "2")
    assert (quiet.out, quiet.err) == (answers[0].out, "")


@pytest.mark.parametrize(
    "moment, why",
    [
        ("0", "nothing had happened by then: the log begins at 2"),
        ("1000y", "is no moment"),
        ("9999", "has not happened yet: the last event is "),
        ("99999999999999999999999", "has not happened yet"),
        ("2000-01-01T00:00:00Z", "nothing had happened by then"),
        ("2999-01-01T00:00:00Z", "in the future"),
        ("100d", "nothing had happened by then"),
        ("2026-01-01T00:00:00", "with its zone"),
        ("yesterday", "is no moment: write the offset of an event"),
        ("-5", "is no moment"),
        ("1.5", "is no moment"),
        ("nan", "is no moment"),
        ("", "is no moment"),
        ("٣", "is no moment"),
    ],
)
@pytest.mark.parametrize("words", AT)
def test_a_moment_that_was_not_is_refused(played: Shell, words: str, moment: str, why: str) -> None:
    before = tree(played.data)
    answer = played(*words.split(), f"--at={moment}")
    assert (answer.code, answer.out) == (2, "")
    assert why in answer.err and answer.err.count("\n") == 1
    assert moment in answer.err
    assert tree(played.data) == before


def test_what_cannot_be_asked_of_the_past(played: Shell, shell: Shell) -> None:
    assert "not both" in played("status", "--at", "1", "--watch").err
    for words in (["status"], ["config", "list"]):
        nowhere = shell(*words, "--at", "1")
        assert (nowhere.code, nowhere.out) == (3, "")
        assert "there is no queue" in nowhere.err


TIMES = (
    *("errors --since", "report --since", "report --until", "simulate --last"),
    *(f"export --to - --format jsonl --show-env {option}" for option in ("--since", "--until")),
)
MOMENTS = (
    *("status --at", "diff --from", "log tail --since", "log replay --speed 9999999x --from"),
    *TIMES,
)


@pytest.mark.parametrize("words", MOMENTS)
def test_a_moment_is_written_the_same_way_everywhere(played: Shell, words: str) -> None:
    at = events(played)[-1]["at"]
    spellings = (at, at.replace("Z", "+00:00"), at[:-3] + "Z", "0s", "1h30m", "365d")
    for spelling in spellings:
        assert "no moment" not in played(*words.split(), spelling).err, spelling
    wrong = ["yesterday", at[:-1], "1.5", "0001-01-01T00:00:00+23:00"]
    for spelling in [*wrong, "8812"] if words in TIMES else wrong:
        answer = played(*words.split(), spelling)
        assert (answer.code, answer.out) == (2, "")
        assert f"{spelling!r} is no moment: write " in answer.err
        assert "a time with its zone like 2026-11-22T09:00:00Z, or how long ago" in answer.err


def test_an_export_begins_so_long_ago(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    words = ("export", "--to", "-", "--format", "jsonl", "--view", "jobs")
    assert len(shell.ok(*words, "--since", "1h").lines) == 1
    assert shell.ok(*words, "--until", "1h").lines == []
    assert shell.ok(*words, "--since", "0s").lines == []


def test_what_has_lost_its_end_does_not_go_on_for_ever(shell: Shell) -> None:
    lose_an_end(shell.data)
    assert shell.ok("export", "--to", "-", "--view", "runs", "--format", "jsonl").out == ""
    simulated = shell.ok("simulate", "--json").json
    assert (simulated["jobs"], simulated["happened"]["left"]) == (45, 45)
    assert "the originals of events up to 35 are not in the archive" in str(simulated)
    at_once = shell.ok("report", "concurrency", "--every", "10s", "--json").json
    peak, average = (series["values"] for series in at_once["reports"][0]["series"])
    assert (peak[0], max(peak[1:]), max(average)) == (1, 0, 0)


# ---- diff


def test_diff_counts_what_happened_and_tells_who_changed_what(played: Shell) -> None:
    found = played.ok("diff", "--from", "1", "--json").json
    happened = events(played)[1:]
    kinds = [event["type"] for event in happened]
    assert found["events"] == {kind: kinds.count(kind) for kind in kinds}
    assert found["from"]["offset"] == 1
    assert found["to"]["offset"] == happened[-1]["offset"]
    assert found["from"]["jobs"]["dead"] == 0
    assert found["to"]["jobs"] == played.ok("status", "--json").json["jobs"]
    assert [(c["key"], c["before"], c["after"]) for c in found["settings"]] == [
        ("backoff", "exponential", "fixed"),
        ("backoff-base", "2", "0.01"),
    ]
    assert all("@" in changed["actor"] for changed in found["settings"])
    (worker,) = found["workers"]
    assert worker["started_at"] and worker["stopped_at"]
    assert worker["reason"] == "nothing left to run"
    assert found["queues"] == []
    text = played.ok("diff", "--from", "1")
    assert "+1 dead" in text.out and "+5 enqueued" in text.out
    assert "  backoff exponential -> fixed (by " in text.out
    assert "completed  0       2      +2" in text.out
    assert f"after event {found['to']['offset']}: " in text.err


def test_diff_adds_up(played: Shell) -> None:
    head = events(played)[-1]["offset"]
    for middle in range(2, head):
        parts = [
            played.ok("diff", "--from", start, "--to", end, "--json").json["events"]
            for start, end in (("1", str(middle)), (str(middle), str(head)))
        ]
        whole = played.ok("diff", "--from", "1", "--json").json["events"]
        assert {k: sum(part.get(k, 0) for part in parts) for k in whole} == whole
    nothing = played.ok("diff", "--from", "2", "--to", "2")
    assert nothing.out == ""
    assert "0 events" in nothing.err


@pytest.mark.parametrize("start", ["0", "2020-01-01T00:00:00Z", "7d"])
def test_diff_from_before_the_first_event_is_all_that_happened(played: Shell, start: str) -> None:
    found = played.ok("diff", "--from", start, "--json").json
    happened = events(played)
    assert found["from"] == {
        "offset": 0,
        "at": happened[0]["at"],
        "jobs": dict.fromkeys(found["to"]["jobs"], 0),
    }
    assert sum(found["events"].values()) == len(happened)
    answer = played.ok("diff", "--from", start)
    assert f"from {happened[0]['at']}, before the first event, to " in answer.err
    assert "+1 dead" in answer.out


def test_diff_refuses_at_once_what_goes_backwards(played: Shell) -> None:
    """Both moments may be far back in a long log, and cost as much to work out."""
    segment = next((played.data / "log").glob("*.jsonl"))
    whole = segment.read_bytes()
    segment.write_bytes(b"spoiled" + whole[7:])
    try:
        answer = played("diff", "--from", "5m", "--to", "10m")
    finally:
        segment.write_bytes(whole)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "queuectl: --from 5m is after --to 10m: exchange them\n"


def test_diff_tells_of_queues(shell: Shell) -> None:
    shell.ok("enqueue", "true")
    shell.ok("queue", "pause", "mail", "--reason", "server down")
    shell.ok("queue", "resume", "mail")
    found = shell.ok("diff", "--from", "1", "--json").json["queues"]
    assert [(q["queue"], q["paused"], q["reason"]) for q in found] == [
        ("mail", True, "server down"),
        ("mail", False, None),
    ]
    assert ": server down\n" in shell.ok("diff", "--from", "1").out


def test_diff_refuses_what_makes_no_sense(played: Shell) -> None:
    for words, why in (
        (["--from", "3", "--to", "2"], "--from 3 is after --to 2: exchange them"),
        (["--from", "0s", "--to", "1h"], "--from 0s is after --to 1h: exchange them"),
        (["--from", "3", "--to", "1h"], "1h: nothing had happened by then"),
        (["--from", "0s", "--to", "2"], "--from is after --to"),
        (["--from", "0", "--to", "0"], "0: nothing had happened by then"),
        (["--from", "2999-01-01T00:00:00Z"], "that is in the future"),
        (["--from", "1", "--to", "9999"], "9999: that has not happened yet"),
        (["--to", "2"], "Missing option '--from'"),
    ):
        answer = played("diff", *words)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert why in answer.err


def test_diff_says_nothing_over_damage(old: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though both moments are known: from snapshots, one before the damage and one behind it."""
    monkeypatch.setattr(past, "_SPAN", 20)
    with Queue(old.data) as queue:
        queue.past.keep()
    firsts = sorted(int(path.stem) for path in (old.data / "log").glob("*.jsonl"))
    before, damaged, _, behind, *_ = firsts
    moments = ("--from", str(before + 1), "--to", str(behind))
    right = old.ok("diff", *moments, "--json").json
    path = old.data / "log" / f"{damaged:020d}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"job", b"jab", 1))
    for at in moments[1::2]:
        old.ok("status", "--at", at)
    for words in ([], ["--json"]):
        answer = old("diff", *moments, *words)
        assert (answer.code, answer.out) == (7, "")
        assert "the log is damaged" in answer.err
    path.write_bytes(whole)
    assert old.ok("diff", *moments, "--json").json == right
