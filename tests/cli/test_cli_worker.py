"""Workers as they are started, watched and stopped by hand, and those who wait for their jobs."""

from __future__ import annotations

import fcntl
import json
import signal
import time

import pytest
from programs import Shell
from workers import alive, eventually


def test_burst_waits_for_retries_and_delays(shell: Shell) -> None:
    shell.add("--id", "flaky", "--backoff", "200ms", "-c", "test $QUEUECTL_ATTEMPT = 2")
    shell.add("--id", "later", "--delay", "300ms", "true")
    answer = shell.program("worker", "start", "--burst", "-c", "2", "-v")
    assert answer.code == 0 and answer.out == ""
    assert (shell.state("flaky"), shell.state("later")) == ("completed", "completed")
    assert "2 slots, all queues" in answer.err
    assert "nothing left to run (2 completed, 1 failed runs)" in answer.err
    for words in ("flaky run 1 starts", "flaky run 1 failed", "flaky runs again", "later run 1"):
        assert words in answer.err


def test_burst_now_does_not(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    shell.add("--id", "later", "--delay", "1h", "true")
    answer = shell.program("-q", "worker", "start", "--burst=now")
    assert answer == (0, "", "")
    assert (shell.state("a"), shell.state("later")) == ("completed", "pending")


@pytest.mark.parametrize("option", ["-l", "--limit", "--max-jobs"])
def test_limit(shell: Shell, option: str) -> None:
    shell.ok("enqueue", "-", stdin=b"true\n" * 5)
    answer = shell.program("worker", option, "2", "-c", "4")
    assert answer.code == 0 and "limit reached (2 completed" in answer.err
    assert shell.ok("status", "--json").json["jobs"]["completed"] == 2


def test_only_some_queues(shell: Shell) -> None:
    for queue in ("a", "b", "c"):
        shell.add("--id", queue, "--queue", queue, "true")
    answer = shell.drain("--queue", "a", "--queue", "b")
    assert "queue a, b" in answer.err
    assert [shell.state(id) for id in "abc"] == ["completed", "completed", "pending"]
    shell.program("worker", "--burst", QUEUECTL_WORKER_START_QUEUE="c d")
    assert shell.state("c") == "completed"


def test_options_that_are_defaults_for_jobs_without_their_own(shell: Shell) -> None:
    """`--timeout`, `--backoff-base`, `--grace`."""
    shell.add("--id", "long", "--max-retries", "1", "-c", "trap '' TERM; sleep 30")
    shell.add("--id", "own", "--timeout", "1h", "-c", "sleep 0.5")
    shell.add("--id", "again", "--max-retries", "2", "--backoff", "fixed", "-c", "false")
    shell.add("--id", "based", "--max-retries", "2", "--backoff", "fixed", "--backoff-base",
              "0.02", "-c", "false")  # fmt: skip
    answer = shell.program(
        *("worker", "start", "--burst", "-c", "4", "--timeout", "300ms"),
        *("--backoff-base", "0.01", "--grace", "100ms"),
    )
    assert answer.code == 0
    assert shell.job("long")["error"] == "timed out after 300ms"
    assert 0.3 < shell.job("long")["run_seconds"] < 10
    assert shell.state("own") == "completed"
    delays = [
        event["delay_ms"]
        for id in ("again", "based")
        for event in shell.history(id)
        if event["type"] == "job.retried"
    ]
    assert delays == [10, 20]


@pytest.mark.parametrize("option", ["-s", "--sleep", "--poll-interval"])
def test_poll_interval(shell: Shell, option: str) -> None:
    shell.add("--id", "a", "true")
    assert shell.program("worker", "--burst", option, "50ms").code == 0
    assert shell.state("a") == "completed"


def test_count_by_variable_and_in_status(shell: Shell) -> None:
    shell.ok("enqueue", "-", stdin=b"sleep 30\n" * 2)
    worker = shell.start("worker", "start", QUEUECTL_WORKER_START_COUNT="3")
    eventually(lambda: shell.ok("status", "--json").json["jobs"]["processing"] == 2)
    (row,) = shell.ok("status", "--json").json["workers"]
    wanted = "id host pid alive stopping slots queues started_at heartbeat_at jobs current_job"
    assert set(row) == set(wanted.split())
    assert (row["slots"], row["alive"], row["pid"]) == (3, True, worker.process.pid)
    assert row["current_job"] == row["jobs"][0] and len(row["jobs"]) == 2
    assert shell.ok("worker", "list", "--json").json[0]["id"] == row["id"]
    for words in ("worker list", "status"):
        shown = shell.ok(*words.split()).out
        assert row["id"] in shown and "2/3" in shown and "sleep 30" in shown


STOPS = ["worker stop", "worker --stop"]


@pytest.mark.parametrize("words", STOPS)
def test_stop_returns_when_they_have_stopped(shell: Shell, words: str) -> None:
    workers = [shell.worker(), shell.worker()]
    shell.add("--id", "a", "-c", "sleep 0.3; echo done")
    shell.reaches("a", "processing")
    answer = shell.ok(*words.split())
    assert len(answer.lines) == 2 and answer.err == "2 workers stopped\n"
    for worker in workers:
        assert worker.ended().code == 0
    assert shell.state("a") == "completed", "what runs may finish"
    assert shell.ok(*words.split()).err == "no worker is running\n"
    assert shell.ok("worker", "list", "--json").json == []


@pytest.mark.parametrize("words", STOPS)
def test_stop_without_waiting(shell: Shell, words: str) -> None:
    worker = shell.worker()
    shell.add("--id", "a", "-c", f"until test -e {shell.directory}/go; do sleep 0.02; done")
    shell.reaches("a", "processing")
    answer = shell.ok(*words.split(), "--no-wait")
    assert answer.err == "1 worker asked to stop\n"
    assert worker.process.poll() is None
    assert shell.ok("worker", "list", "--json").json[0]["stopping"] is True
    answer = shell(*words.split(), "--timeout", "20ms")
    assert answer.code == 5 and "still finishing" in answer.err
    # A stop is not for those who come later.
    other = shell.worker()
    (shell.directory / "go").touch()
    assert worker.ended().code == 0
    assert other.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(shell: Shell, number: int) -> None:
    worker = shell.worker("-c", "2", "--grace", "30s")
    shell.add("--id", "a", "-c", "sleep 30")
    shell.reaches("a", "processing")
    worker.signal(number)
    eventually(lambda: "a second signal ends them at once" in worker.err)
    worker.signal(number)
    assert worker.ended().code == 0
    assert (shell.state("a"), shell.job("a")["attempts"]) == ("pending", 0)


def test_cancel_ends_the_whole_group(shell: Shell) -> None:
    shell.worker()
    shell.add("--id", "a", "-c", f"sleep 60 & echo $! > {shell.directory}/pid; wait")
    shell.reaches("a", "processing")
    written = shell.directory / "pid"
    pid = eventually(lambda: written.exists() and written.read_text().strip())
    shell.ok("cancel", "a")
    assert shell.program("wait", "a") == (1, "a cancelled\n", "")
    eventually(lambda: not alive(int(pid)))


# ---- waiting and following


def test_wait(shell: Shell) -> None:
    shell.add("--id", "good", "true")
    shell.add("--id", "bad", "--max-retries", "1", "-c", "exit 7")
    shell.add("--id", "never", "--max-retries", "1", "--", "no-such-program")
    shell.add("--id", "later", "--delay", "1h", "true")
    waiting = shell.start("wait", "bad", "good", "bad")
    shell.program("worker", "--burst=now", "-c", "3")
    answer = waiting.ended()
    assert (answer.code, sorted(answer.out.splitlines())) == (1, ["bad dead", "good completed"])
    assert shell("wait", "good").code == 0
    assert shell("wait", "good", "--exit-code").code == 0
    assert shell("wait", "bad", "--exit-code").code == 7
    assert shell("wait", "never", "--exit-code").code == 127
    assert shell.program("wait", "bad", "--exit-code").code == 7
    assert shell("wait", "good", "bad", "--exit-code").code == 2
    since = time.monotonic()
    answer = shell("wait", "good", "later", "--timeout", "100ms")
    assert (answer.code, answer.out) == (5, "good completed\n") and "later" in answer.err
    assert time.monotonic() - since >= 0.1
    assert [job["id"] for job in shell("wait", "bad", "good", "--json").json] == ["bad", "good"]
    assert shell("wait", "later", QUEUECTL_WAIT_TIMEOUT="10ms").code == 5


def test_follow_the_output_of_a_running_job(shell: Shell) -> None:
    go = shell.directory / "go"
    body = f"echo one $QUEUECTL_ATTEMPT; until test -e {go}; do sleep 0.02; done; echo two"
    shell.add("--id", "a", "--max-retries", "2", "--backoff", "0s", "-c", f"{body}; exit 1")
    following = shell.start("logs", "-f", "a")
    shell.worker()
    eventually(lambda: following.out == "one 1\n")
    assert following.process.poll() is None
    go.touch()
    answer = following.ended()
    assert answer == (0, "one 1\ntwo\none 2\ntwo\n", ""), "run after run, until it has ended"
    assert shell.ok("logs", "a", "--attempt", "1").out == "one 1\ntwo\n"


def test_follow_the_log(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    following = shell.start("log", "tail", "-f", "-n", "1")
    eventually(lambda: following.out.count("\n") == 1)
    shell.add("--id", "b", "true")
    eventually(lambda: following.out.count("\n") == 2)
    assert [json.loads(line)["job"] for line in following.out.splitlines()] == ["a", "b"]
    following.signal()
    assert following.ended().code == 130
    assert following.err.strip() == "queuectl: interrupted"


def test_watch_the_status(shell: Shell) -> None:
    shell.add("true")
    watching = shell.start("status", "--watch", "--json", "--interval", "100ms")
    eventually(lambda: watching.out.count("\n") >= 1)
    shell.add("true")
    eventually(lambda: '"pending":2' in watching.out)
    watching.signal()
    assert watching.ended().code == 130
    documents = [json.loads(line) for line in watching.out.splitlines()]
    assert documents[0]["jobs"]["pending"] == 1
    shown = shell.start("status", "--watch", "--interval", "100ms")
    eventually(lambda: shown.out.count("Jobs\n") >= 2)
    assert "\x1b" not in shown.out


# ---- doctor


def findings(shell: Shell) -> dict[str, str]:
    return {row["about"]: row["level"] for row in shell("doctor", "--json").json}


def test_doctor(shell: Shell) -> None:
    id = shell.add("true")
    assert findings(shell) | {"disk": "ok", "space": "ok"} == {
        **dict.fromkeys(["directory", "space", "log", "clock", "disk", "locks", "workers"], "ok"),
        "jobs": "warn",
    }
    answer = shell.ok("doctor")
    assert any(line.startswith("warn  jobs:") and id in line for line in answer.lines)
    worker = shell.worker("--queue", "mail")
    assert findings(shell)["queues"] == "warn"
    worker.kill()
    assert findings(shell)["workers"] == "warn"
    shell.program("worker", "--burst=now")
    assert "jobs" not in findings(shell) and findings(shell)["workers"] == "ok"


def test_doctor_finds_a_file_system_whose_locks_lock_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.add("true")
    before = sorted(path.name for path in (shell.data / "log").iterdir())
    monkeypatch.setattr(fcntl, "flock", lambda fd, how: None)
    answer = shell("doctor")
    assert answer.code == 1
    assert "given to others" in answer.out
    monkeypatch.undo()
    assert findings(shell)["locks"] == "ok"
    assert sorted(path.name for path in (shell.data / "log").iterdir()) == before
