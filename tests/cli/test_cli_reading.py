"""What commands that read answer: for people, and as JSON whose keys scripts rely on."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pytest
from hosts import Untroubled
from programs import Shell, tree

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v

JOB = """
    id command argv state attempts max_retries priority queue tags created_at updated_at run_at
    started_at finished_at exit_code error worker timeout backoff backoff_base cwd env secret_env
    wait_seconds run_seconds actor redacted payloads
"""
ATTEMPT = """
    number round token worker slot started_at ended_at outcome reason exit_code error wait_seconds
    run_seconds cpu_seconds stdout_bytes stderr_bytes
"""
WORKER = "id host pid alive stopping slots queues started_at heartbeat_at jobs current_job"
STATES = ["pending", "processing", "completed", "failed", "dead", "cancelled"]
SETTINGS = """
    max-retries backoff backoff-base backoff-max backoff-jitter timeout worker-poll-interval lease
    grace output-limit retain-completed retain-completed-max retain-cancelled retain-cancelled-max
    retain-dead retain-dead-max archive-retention
"""
SHARES = {"p50", "p95", "p99", "max"}


def keys(text: str) -> set[str]:
    return set(text.split())


def test_list(played: Shell) -> None:
    jobs = {job["id"]: job for job in played.ok("list", "--json").json}
    assert list(jobs) == ["gone", "later", "evil", "bad", "good"], "newest first"
    assert all(set(job) == keys(JOB) for job in jobs.values())
    bad = jobs["bad"]
    assert (bad["state"], bad["attempts"], bad["exit_code"], bad["error"]) == (
        "dead",
        2,
        3,
        "exit code 3",
    )
    assert (jobs["good"]["exit_code"], jobs["good"]["error"]) == (0, None)
    assert jobs["later"]["started_at"] is None and jobs["later"]["exit_code"] is None
    assert [json.loads(line) for line in played.ok("list", "--jsonl").lines] == list(jobs.values())


@pytest.mark.parametrize(
    "words, ids",
    [
        ("--state dead", "bad"),
        ("--state dlq", "bad"),
        ("-s completed", "evil good"),
        ("-s done", "evil good"),
        ("-s succeeded", "evil good"),
        ("-s COMPLETED", "evil good"),
        ("-s processing", ""),
        ("-s running", ""),
        ("-s active", ""),
        ("-s pending -s cancelled", "gone later"),
        ("--queue mail", "bad"),
        ("--queue mail --queue default --state dead", "bad"),
        ("--queue nowhere", ""),
        ("--tag a", "later good"),
        ("--tag a --tag b", "later"),
        ("--limit 2", "gone later"),
        ("--limit 0", "gone later evil bad good"),
    ],
)
def test_list_filters(played: Shell, words: str, ids: str) -> None:
    answer = played.ok("list", "--json", *words.split())
    assert [job["id"] for job in answer.json] == ids.split()
    shown = played.ok("list", *words.split())
    assert [line.split()[0] for line in shown.lines[1:]] == ids.split()
    assert bool(shown.out) == bool(ids), "where there is nothing, nothing is printed"


def test_list_shows_twenty_and_says_so(shell: Shell) -> None:
    shell.ok("enqueue", "-", stdin=b"true\n" * 25)
    answer = shell.ok("list")
    assert len(answer.lines) == 21
    assert answer.err == "20 of 25 jobs; --limit 0 shows all\n"
    assert shell("-q", "list").err == ""
    assert len(shell.ok("list", "--json").json) == 20
    assert len(shell.ok("list", QUEUECTL_LIST_LIMIT="3").lines) == 4


def test_a_table_in_a_pipe_is_exact(shell: Shell) -> None:
    long = "echo " + "x" * 300
    id = "j" * 128
    shell.add("--id", id, "--queue", "q" * 60, "-c", long)
    shell.add("--id", "b", "--priority", "-12", "-c", "echo\t\x1b[31m\nb")
    first, second, third = shell.program("list").lines
    assert first.split() == ["ID", "STATE", "RUNS", "PRIO", "QUEUE", "UPDATED", "COMMAND"]
    assert second.split(None, 6)[:5] == ["b", "pending", "0/3", "-12", "default"]
    assert second.endswith(r"  echo\t\x1b[31m\nb")
    assert third.startswith(f"{id}  pending  0/3   0     {'q' * 60}  ")
    assert third.endswith(f"  {long}")
    assert first.index("COMMAND") == third.index(long) == second.index("echo")


def test_show(played: Shell) -> None:
    job = played.ok("show", "bad", "--json").json
    assert set(job) == {*keys(JOB), "attempts_made"}
    assert [set(run) for run in job["attempts_made"]] == [keys(ATTEMPT)] * 2
    assert [run["outcome"] for run in job["attempts_made"]] == ["failed", "failed"]
    assert [run["number"] for run in job["attempts_made"]] == [1, 2]
    shown = played.ok("show", "bad").out
    for line in ("id:            bad", "state:         dead", "error:         exit code 3"):
        assert line in shown.splitlines()
    assert shown.count("failed") == 2


def test_the_start_of_an_id_is_enough(played: Shell) -> None:
    assert played.job("ba")["id"] == "bad"
    assert played.ok("logs", "goo").out == "out\n"
    assert played.ok("wait", "goo").out == "good completed\n"
    assert played.ok("history", "ev", "--json").json[0]["job"] == "evil"
    answer = played("show", "go")
    assert (answer.code, answer.out) == (2, "")
    assert "good" in answer.err and "gone" in answer.err


def test_logs(played: Shell) -> None:
    assert played.ok("logs", "good").out == "out\n"
    assert played.ok("logs", "good", "--stderr").out == "err\n"
    assert played.ok("logs", "bad").out == "run 2\n"
    assert played.ok("logs", "bad", "--attempt", "1").out == "run 1\n"
    assert played.ok("logs", "bad", "--attempt", "2").out == "run 2\n"
    assert played.ok("logs", "good", "-f").out == "out\n", "one that has ended is not waited for"
    document = played.ok("logs", "good", "--json").json
    assert (document.pop("token") > 0, document) == (
        True,
        {"id": "good", "stdout": "out\n", "stderr": "err\n"},
    )
    raw = "plain \x1b[31mred\x07 \x9b \u202eturned\n"
    assert played.program("logs", "evil").out == raw, "a pipe gets what was printed"


def test_history(played: Shell) -> None:
    events = played.ok("history", "bad", "--json").json
    assert [event["type"] for event in events] == [
        "job.enqueued",
        "job.claimed",
        "job.failed",
        "job.retried",
        "job.claimed",
        "job.failed",
        "job.dead",
    ]
    assert sorted(event["offset"] for event in events) == [event["offset"] for event in events]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", event["at"]) for event in events)
    lines = played.ok("history", "bad").lines
    assert [event["type"] in line for event, line in zip(events, lines, strict=True)] == [True] * 7
    assert "new -> pending" in lines[0] and "pending -> processing" in lines[1]
    assert "processing -> failed" in lines[2] and "exit code 3" in lines[2]
    assert [json.loads(line) for line in played.ok("history", "bad", "--jsonl").lines] == events
    assert "not needed" in played.ok("history", "gone").out


def test_status(played: Shell) -> None:
    document = played.ok("status", "--json").json
    assert set(document) == {"jobs", "workers", "settings", "paused_queues", "head"}
    assert list(document["jobs"]) == STATES
    assert document["jobs"] == dict(zip(STATES, (1, 0, 2, 0, 1, 1), strict=True))
    assert document["workers"] == [] and document["paused_queues"] == []
    assert set(document["settings"]) == keys(SETTINGS)
    assert document["head"] == played.ok("log", "tail", "-n1", "--json").json[0]["offset"]
    shown = played.ok("status").out
    for name, count in document["jobs"].items():
        assert re.search(rf"(?m)^  {name} +{count}$", shown)
    for key in document["settings"]:
        assert re.search(rf"(?m)^  {key} +\S", shown)
    assert "Workers: none is running" in shown


def test_stats(played: Shell) -> None:
    document = played.ok("stats", "--json").json
    required = {"total_jobs", "completed_jobs", "uptime", "total_commands", "average_runtime"}
    assert {*required, "max_runtime", "failure_rate", "throughput_per_second"} <= set(document)
    assert set(document["wait_seconds"]) == set(document["run_seconds"]) == SHARES
    figures = {key: document[key] for key in ("total_jobs", "completed_jobs", "total_commands")}
    assert figures == {"total_jobs": 5, "completed_jobs": 2, "total_commands": 4}
    assert (document["failed_runs"], document["failure_rate"]) == (2, 0.5)
    assert played.ok("metrics", "--json").json.keys() == document.keys()
    shown = dict(line.split(":", 1) for line in played.ok("stats").lines)
    assert (shown["runs"].strip(), shown["failure rate"].strip()) == ("4", "50.0%")
    assert "age of the log" in shown
    assert not {"total commands", "uptime"} & set(shown), "they would say what they are not"


@pytest.mark.parametrize(
    "by, names",
    [("queue", ["default", "mail"]), ("command", ["echo", "printf"]), ("worker", None)],
)
def test_stats_by(played: Shell, by: str, names: list[str] | None) -> None:
    rows = played.ok("stats", "--by", by, "--json").json
    assert sum(row["total_jobs"] for row in rows) == 3
    assert names is None or [row[by] for row in rows] == names
    assert all(set(row["run_seconds"]) == SHARES for row in rows)
    assert len(played.ok("stats", "--by", by).lines) == len(rows) + 1


def test_stats_by_keeps_no_jobs_however_many_there_are(shell: Shell) -> None:
    with Queue(shell.data, host=Untroubled()) as queue:
        queue.enqueue_many([{"id": f"job{n}", "command": f"echo {n}"} for n in range(3000)])
        ended = [
            c.Finish(job=claim.job, token=claim.offset, now=queue.now(), exit_code=0, run_ms=9)
            for claim in queue.turn([], worker="w", slots=range(1, 3001))
            if isinstance(claim, v.JobClaimed)
        ]
        queue.turn(ended, worker="w", slots=[])
        queue.keep_snapshot()

    def peak(*words: str) -> int:
        shell.ok(*words)
        tracemalloc.start()
        try:
            shell.ok(*words)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # That goes through all jobs, too, and keeps none.
    assert peak("stats", "--by", "queue") < 2 * peak("list", "--tag", "none")
    (row,) = shell.ok("stats", "--by", "queue", "--json").json
    assert (row["total_jobs"], row["completed_jobs"], row["max_runtime"]) == (3000, 3000, 0.009)


def test_queues(played: Shell) -> None:
    rows = played.ok("queue", "list", "--json").json
    assert [row["queue"] for row in rows] == ["default", "mail"]
    assert rows[1] == {"queue": "mail", "paused": False, **dict.fromkeys(STATES, 0), "dead": 1}


def test_dlq(played: Shell) -> None:
    (job,) = played.ok("dlq", "--json").json
    assert set(job) == keys(JOB) and job["id"] == "bad"
    assert "[exit code 3]" in played.ok("dlq").out
    assert played.ok("dlq", "list", "--queue", "default", "--json").json == []
    assert played.ok("dlq", "--limit", "1").err == ""


def test_log(played: Shell) -> None:
    (segment,) = played.ok("log", "segments", "--json").json
    assert set(segment) == {"file", "first_offset", "bytes", "sealed"}
    assert segment["file"] in played.ok("log", "segments").out
    events = played.ok("log", "tail", "-n", "0", "--json").json
    assert [event["offset"] for event in events] == list(range(1, len(events) + 1))
    assert [json.loads(line) for line in played.ok("log", "tail", "-n", "0").lines] == events
    assert played.ok("log", "tail", "--jsonl").out == played.ok("log", "tail").out
    assert [json.loads(line) for line in played.ok("log", "tail", "--lines", "3").lines] == events[
        -3:
    ]
    report = played.ok("log", "verify", "--json").json
    assert (report["events"], report["head"]) == (len(events), events[-1]["offset"])
    anchor = "head {head} crc {crc} sha256 {sha256} root {root}\n".format(**report)
    assert played.ok("log", "verify").out == anchor


def test_settings(played: Shell) -> None:
    document: dict[str, Any] = played.ok("config", "list", "--json").json
    assert set(document) == keys(SETTINGS)
    assert (document["max-retries"], document["backoff"], document["backoff-base"]) == (
        2,
        "fixed",
        0.01,
    )
    assert played.ok("config", "get", "max_retries", "--json").json == {"max-retries": 2}
    assert [line.split()[0] for line in played.ok("config").lines] == ["KEY", *document]


READING = (
    *("status", "list", "show good", "logs good", "history good", "wait good", "stats", "dlq"),
    *("queue", "config", "worker list", "log segments", "log tail", "log verify"),
)


def test_nothing_is_written_by_reading(played: Shell) -> None:
    before = tree(played.directory)
    for words in READING:
        played.ok(*words.split())
        assert tree(played.directory) == before, words


def test_damage_is_told_with_its_own_exit_code(shell: Shell) -> None:
    ids = [shell.add("true") for _ in range(3)]
    (log,) = (shell.data / "log").glob("*.jsonl")
    log.write_bytes(log.read_bytes().replace(ids[1].encode(), ids[2].encode(), 1))
    for words in ("list", "log verify", "status"):
        answer = shell(*words.split())
        assert answer.code == 7
        assert answer.err.count("\n") == 1 and "byte" in answer.err and str(log) in answer.err
    assert shell("enqueue", "true").code == 7
    assert shell("doctor").code in (1, 7)


@pytest.mark.parametrize(
    "words",
    [
        "list",
        "list --limit 1",
        "dlq list",
        "dlq retry first",
        "dlq retry --all --dry-run",
        "retry --all",
        "retry --all --dry-run",
        "cancel --all --dry-run",
        "cancel third",
        "show third",
        "history third",
        "logs third",
        "logs first",
        "wait third",
        "worker list",
        "worker stop",
        "queue list",
        "config list",
        "config set max-retries 5",
        "status",
        "stats",
        "log tail",
    ],
)
def test_of_a_damaged_log_nothing_is_claimed_beside_the_answer(shell: Shell, words: str) -> None:
    for name in ("first", "second", "third"):
        shell.add("--id", name, "true")
    (log,) = (shell.data / "log").glob("*.jsonl")
    log.write_bytes(log.read_bytes()[:-2] + b"]\n")
    answer = shell(*words.split())
    assert answer.code == 7
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("queuectl: the log is damaged")
    changes = "dry-run" in words or words.split()[0] in ("cancel", "retry", "dlq", "wait")
    assert not (changes and answer.out), "what is to be done is not chosen from a part"


# ---- settings

SETS = [
    ("max-retries", "5", "5", "at most 5 times"),
    ("max_retries", "0", "0", "at most 1 time,"),
    ("MAX-RETRIES", "1", "1", "at most 1 time,"),
    ("max-attempts", "4", "4", "at most 4 times"),
    ("backoff", "exponential", "exponential", "2s, 4s, 8s, 16s …"),
    ("backoff", "linear", "linear", "2s, 4s, 6s, 8s …"),
    ("backoff", "fixed", "fixed", "2s, 2s, 2s, 2s …"),
    ("backoff", "doubling", "doubling", "2s, 4s, 8s, 16s …"),
    ("backoff", "5s,30s,5m", "5s,30s,5m", "5s, 30s, 5m, 5m …"),
    ("backoff-base", "3", "3", "3s, 9s, 27s, 1m21s …"),
    ("backoff_base", "1.5", "1.5", "1.5s, 2.25s, 3.375s"),
    ("delay-base", "3000", "3000", "3s, 9s, 27s, 1m21s …"),
    ("delay_base", "500", "500", "500ms, 250ms, 125ms"),
    ("backoff-max", "5s", "5s", "2s, 4s, 5s, 5s …"),
    ("backoff-jitter", "10%", "0.1", "up to 10% more"),
    ("jitter", "0.5", "0.5", "up to 50% more"),
    ("timeout", "90", "1m30s", "ended after 1m30s"),
    ("job-timeout", "1h", "1h", "ended after 1h"),
    ("job_timeout", "0", "0s", "as long as it likes"),
    ("worker-poll-interval", "500ms", "500ms", "500ms"),
    ("worker_poll_interval", "2", "2s", "2s"),
    ("poll-interval", "2", "2s", "2s"),
    ("lease", "30s", "30s", "30s"),
    ("grace", "1m", "1m", "1m"),
    ("output-limit", "64M", "64MiB", "64MiB"),
    ("output_limit", "0", "0B", "as much as it likes"),
]


@pytest.mark.parametrize("key, value, shown, effect", SETS)
def test_set_echoes_its_effect(shell: Shell, key: str, value: str, shown: str, effect: str) -> None:
    answer = shell.ok("config", "set", key, value)
    assert answer.out.endswith(f" = {shown}\n")
    assert effect in answer.err
    assert shell.ok("config", "get", key).out == f"{shown}\n"
    again = shell.data.parent / "again"
    shell.ok("--data", str(again), "config", "set", key, shown)
    assert shell.ok("--data", str(again), "config", "get", key).out == f"{shown}\n"


def test_delay_base_is_backoff_base_in_milliseconds(shell: Shell) -> None:
    shell.ok("config", "set", "delay-base", "1500")
    assert shell.ok("config", "get", "backoff-base").out == "1.5\n"
    shell.ok("config", "set", "backoff-base", "3")
    assert shell.ok("config", "get", "delay-base").out == "3000\n"


def test_the_defaults(shell: Shell) -> None:
    document = shell.ok("config", "list", "--json").json
    assert (document["max-retries"], document["backoff"], document["backoff-base"]) == (
        3,
        "exponential",
        2.0,
    )
    assert document["timeout"] == "5m"
    assert shell.ok("config", "get", "delay-base").out == "2000\n"


def test_logs_after_a_retry_are_those_of_the_last_run(shell: Shell) -> None:
    id = shell.add("echo first; exit 1", "--max-retries", "1")
    shell.drain()
    shell.ok("dlq", "retry", id)
    assert shell.ok("logs", id).out == "first\n"
