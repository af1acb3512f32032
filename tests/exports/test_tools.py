"""Programs that others have written read what we export, and the log itself: jq, GNU parallel, and
the rules of CloudEvents and of Chrome's traces."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from programs import Shell

from queuectl import Queue
from queuectl.events import vocabulary as v


def needed(program: str, package: str) -> str:
    """The path of a program; skips where it is not there, and says how to get it."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing: apt-get install {package}")
    return path


def jq(query: str, *files: Path) -> list[str]:
    words = [needed("jq", "jq"), "-r", query, *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


# ---- jq


def test_jq_reads_the_log_as_it_lies_there(lively: Shell) -> None:
    files = sorted((lively.data / "log").glob("*.jsonl"))
    query = 'select(.type == "job.failed") | [.offset, .job, .error] | @tsv'
    with Queue(lively.data) as queue:
        failed = [
            f"{event.offset}\t{event.job}\t{event.error}"
            for events in queue.events()
            for event in events
            if isinstance(event, v.JobFailed)
        ]
    assert jq(query, *files) == failed
    assert len(failed) == 3


def test_jq_reads_what_is_exported(lively: Shell) -> None:
    lively.ok("export", "--to", "runs.jsonl", "--view", "runs")
    lively.ok("export", "--to", "trace.json")
    lively.ok("export", "--to", "a.cloudevents")
    runs = jq(".outcome", lively.directory / "runs.jsonl")
    with Queue(lively.data) as queue:
        assert runs == [run.outcome for told in queue.all_runs() for run in told]
    spans = jq('.traceEvents[] | select(.ph != "M") | .cat', lively.directory / "trace.json")
    assert spans == runs
    assert len(jq(".id", lively.directory / "a.cloudevents")) > 40


# ---- DuckDB


def test_duckdb_reads_csv_when_it_is_told_of_quotes(shell: Shell) -> None:
    commands = [*(f"echo {n}" for n in range(20_500)), 'echo "one", two']
    shell.ok("enqueue", "-", stdin="\n".join(commands).encode())
    shell.ok("export", "--to", "jobs.csv", "--view", "jobs")
    # As docs/analyst.md says: so many rows without a quote make it believe that there are none.
    table = f"read_csv('{shell.directory / 'jobs.csv'}', quote = '\"')"
    assert duckdb.sql(f"SELECT command FROM {table}").fetchall() == [(c,) for c in commands]


# ---- CloudEvents


def test_cloudevents_are_as_their_specification_says(played: Shell) -> None:
    played.ok("export", "--to", "a.cloudevents")
    text = (played.directory / "a.cloudevents").read_text(encoding="utf-8")
    documents: list[dict[str, Any]] = [json.loads(line) for line in text.split("\n")[:-1]]
    with Queue(played.data) as queue:
        events = [event for events in queue.events() for event in events]
    for document, event in zip(documents, events, strict=True):
        assert document["specversion"] == "1.0"
        for name in ("id", "source", "type"):
            assert isinstance(document[name], str)
            assert document[name]
        # Names of attributes are lower-case letters and digits.
        assert all(name.isalnum() and name.islower() for name in document)
        assert datetime.fromisoformat(document["time"]).tzinfo is not None
        assert document["type"] == f"queuectl.{v.wire_name(event)}"
        assert document.get("subject", "x")
        assert not {"offset", "at", "more", "type"} & set(document["data"])
        if isinstance(event, v.JobEvent):
            assert document["subject"] == document["data"]["job"] == event.job
    assert len({document["source"] for document in documents}) == 1
    assert len({document["id"] for document in documents}) == len(documents)
    order = [document["sequence"] for document in documents]
    assert order == sorted(order)


# ---- Chrome's traces


def test_a_trace_has_one_lane_for_each_slot_and_one_run_at_a_time_in_it(lively: Shell) -> None:
    lively.ok("export", "--to", "a.json")
    document = json.loads((lively.directory / "a.json").read_text(encoding="utf-8"))
    entries = document["traceEvents"]
    processes = {
        entry["pid"]: entry["args"]["name"] for entry in entries if entry["name"] == "process_name"
    }
    assert sorted(processes.values()) == ["lovelace w1", "lovelace w2"]
    lanes = {
        (entry["pid"], entry["tid"]): entry["args"]["name"]
        for entry in entries
        if entry["name"] == "thread_name"
    }
    spans = [entry for entry in entries if entry["ph"] in "XB"]
    assert {(span["pid"], span["tid"]) for span in spans} == set(lanes)
    assert all(name == f"slot {slot}" for (_, slot), name in lanes.items())
    ends: dict[tuple[int, int], int] = {}
    for span in sorted(spans, key=lambda span: span["ts"]):
        lane = span["pid"], span["tid"]
        assert span["ts"] >= ends.get(lane, 0)
        ends[lane] = span["ts"] + span.get("dur", 0)
    (running,) = [span for span in spans if span["ph"] == "B"]
    assert (running["args"]["job"], running["args"]["outcome"]) == ("flaky", "running")
    first = next(span for span in spans if span["args"]["job"] == "good")
    assert (first["ts"], first["dur"]) == (1767225601250000, 500000)


# ---- GNU parallel

HEADER = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"


def joblog(shell: Shell, *words: str) -> list[list[str]]:
    header, *lines = shell.ok("export", "--to", "-", "--format", "joblog", *words).out.split("\n")
    assert header == HEADER
    return [line.split("\t", 8) for line in lines[:-1]]


def test_a_joblog_has_a_line_for_each_job_that_is_over(lively: Shell) -> None:
    rows = joblog(lively)
    printing = "printf '%s\0' 'two words'"
    assert [(row[0], row[6], row[7], row[8]) for row in rows] == [
        ("1", "0", "0", "make report"),
        ("2", "3", "0", printing),
        ("3", "0", "10", "line 1\0line 2\t“,\"'"),
        ("2", "0", "0", printing),
    ]
    assert rows[0][1:6] == ["lovelace", "1767225601.250", "     0.480", "0", "7"]


def test_gnu_parallel_goes_on_where_the_queue_stopped(shell: Shell) -> None:
    parallel = needed("parallel", "parallel")
    script = """
number=$1; echo "$number" >> "$2/$3"
[ "$number" != 4 ] || exit 7
[ "$number" != 5 ] || kill -USR1 $$
"""
    (shell.directory / "job.sh").write_text(script)
    commands = [f"sh job.sh {n} '{shell.directory}' $BY  # “{n}”" for n in range(1, 11)]
    (shell.directory / "commands").write_text("\n".join(commands) + "\n", encoding="utf-8")
    # The queue does the first six of them, in its own order.
    shell.ok("enqueue", "-f", "commands", "--max-retries", "1", BY="")
    shell.ok("cancel", *[job["id"] for job in shell.ok("list", "--json").json[:4]])
    done = shell.program("worker", "start", "--burst", "-c", "2", BY="ours")
    assert done.code == 0, done.err
    shell.ok("export", "--to", "done.joblog")

    def run(option: str) -> list[int]:
        (shell.directory / "theirs").unlink(missing_ok=True)
        words = [parallel, "--will-cite", "-j2", option, "--joblog", "done.joblog"]
        with (shell.directory / "commands").open("rb") as stdin:
            subprocess.run(
                words,
                cwd=shell.directory,
                env=shell.environment({"BY": "theirs", "HOME": str(shell.directory)}),
                stdin=stdin,
                capture_output=True,
            )
        path = shell.directory / "theirs"
        return sorted(map(int, path.read_text().split())) if path.exists() else []

    ours = sorted(map(int, (shell.directory / "ours").read_text().split()))
    assert ours == [1, 2, 3, 4, 5, 6]
    assert run("--resume") == [7, 8, 9, 10]
    # By now its own lines stand below ours, and it knows all ten.
    assert run("--resume") == []
    assert run("--resume-failed") == [4, 5]
