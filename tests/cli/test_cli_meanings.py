"""Six meanings that earlier programs of this kind left open, each settled by real jobs."""

from __future__ import annotations

import json

import pytest
from programs import Shell


@pytest.mark.parametrize("given, runs", [("3", 3), ("2", 2), ("1", 1), ("0", 1)])
def test_max_retries_counts_runs(shell: Shell, given: str, runs: int) -> None:
    shell.add("--id", "a", "--max-retries", given, "--backoff", "0s", "-c", "echo x >>ran; false")
    shell.drain()
    job = shell.job("a")
    assert (job["state"], job["attempts"], job["max_retries"]) == ("dead", runs, int(given))
    assert (shell.directory / "ran").read_text() == "x\n" * runs
    assert f"{runs}/{max(1, int(given))}" in shell.ok("list").out
    assert "3: at most" in shell.ok("enqueue", "--help").out


def test_attempts_counts_runs_started(shell: Shell) -> None:
    shell.add("--id", "a", "true")
    assert shell.job("a")["attempts"] == 0
    shell.drain()
    assert (shell.job("a")["attempts"], shell.state("a")) == (1, "completed")
    shell.worker()
    shell.add("--id", "b", "-c", "sleep 30")
    shell.reaches("b", "processing")
    assert shell.job("b")["attempts"] == 1


def test_a_job_waiting_for_its_retry_is_failed_with_a_time(shell: Shell) -> None:
    shell.add("--id", "a", "--backoff", "1h", "-c", "false")
    shell.program("worker", "--burst=now")
    (job,) = shell.ok("list", "--state", "failed", "--json").json
    assert (job["id"], job["attempts"], job["error"]) == ("a", 1, "exit code 1")
    assert job["run_at"] > job["finished_at"]
    assert "due in 59m" in shell.ok("list").out or "due in 1h" in shell.ok("list").out
    assert shell.ok("dlq", "--json").json == []


def test_delays_are_the_base_to_the_power_of_attempts(shell: Shell) -> None:
    shell.add("--id", "small", "--max-retries", "4", "--backoff-base", "0.1", "-c", "false")
    shell.add("--id", "usual", "-c", "false")
    shell.program("worker", "--burst=now", "-c", "2")
    shell.ok("cancel", "usual")
    shell.drain()

    def delays(id: str) -> list[int]:
        return [event["delay_ms"] for event in shell.history(id) if "delay_ms" in event]

    assert delays("small")[:3] == [100, 10, 1]
    assert delays("usual")[0] == 2000
    assert "2s, 4s, 8s, 16s …" in shell.ok("config", "set", "backoff-base", "2").err


def test_order_is_priority_then_due_time_then_order_of_arrival(shell: Shell) -> None:
    put = "echo $QUEUECTL_JOB >>order"
    jobs = [
        {"id": "late", "delay": "600ms"},
        {"id": "first"},
        {"id": "second"},
        {"id": "low", "priority": -1},
        {"id": "high", "priority": 5, "delay": "500ms"},
    ]
    shell.ok("enqueue", json.dumps([{**job, "command": put} for job in jobs]))
    assert shell("wait", "low", "--timeout", "700ms").code == 5  # until all of them are due
    shell.drain()
    order = (shell.directory / "order").read_text().split()
    assert order == ["high", "first", "second", "late", "low"]


def test_settings_are_frozen_into_the_job(shell: Shell) -> None:
    shell.ok("config", "set", "max-retries", "1")
    shell.add("--id", "before", "-c", "false")
    for key, value in (("max-retries", "2"), ("backoff", "0s"), ("timeout", "7s")):
        shell.ok("config", "set", key, value)
    shell.add("--id", "after", "-c", "false")
    shell.drain()
    before, after = shell.job("before"), shell.job("after")
    assert (before["attempts"], before["timeout"], before["backoff"]) == (1, 300.0, "exponential")
    assert (after["attempts"], after["timeout"], after["backoff"]) == (2, 7.0, "0s")
