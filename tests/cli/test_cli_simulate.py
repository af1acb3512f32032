"""What would have happened: real runs, scheduled anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from programs import Shell, tree

FIGURES = """
    runs completed failed_runs lost_runs released_runs dead cancelled left makespan_seconds
    utilisation wait_seconds turnaround_seconds
"""
ANSWER = """
    since until jobs workers slots settings seed happened simulated drawn_runs refused_requests
    assumptions
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue with real runs by one worker with one slot; only to be read."""
    shell = Shell(tmp_path_factory.mktemp("ran"))
    for key, value in (("backoff", "fixed"), ("backoff-base", "0.01")):
        shell.ok("config", "set", key, value)
    lines = [f"sleep 0.0{n}; exit {int(n % 4 == 0)}" for n in range(1, 10)]
    shell.ok("enqueue", "-", stdin="\n".join(lines).encode())
    shell.add("--id", "urgent", "--priority", "9", "-c", "sleep 0.1")
    # It succeeds at its second run.
    shell.add("--id", "flaky", "-c", "test $QUEUECTL_ATTEMPT = 2")
    shell.add("--id", "gone", "--delay", "1h", "-c", "true")
    shell.ok("cancel", "gone")
    shell.drain("-c", "1")
    yield shell
    shell.close()


def simulated(shell: Shell, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = shell.ok("simulate", *words, "--json").json
    return answer


def counts(figures: dict[str, Any]) -> dict[str, int]:
    return {name: value for name, value in figures.items() if isinstance(value, int)}


def test_with_nothing_otherwise_it_is_what_really_happened(ran: Shell) -> None:
    files = tree(ran.directory)
    answer = simulated(ran)
    assert set(answer) == set(ANSWER.split())
    happened, figures = answer["happened"], answer["simulated"]
    assert set(happened) == set(figures) == set(FIGURES.split())
    assert counts(figures) == counts(happened)
    assert (figures["runs"], figures["dead"], figures["cancelled"]) == (9 + 4 + 1 + 2, 2, 1)
    assert (answer["drawn_runs"], answer["refused_requests"], answer["jobs"]) == (0, 0, 12)
    # It claims at once, and so real workers are a little slower; never the other way round, but for
    # a retry that another order of the jobs may leave to the end.
    assert figures["makespan_seconds"] <= happened["makespan_seconds"] + 0.02
    assert figures["wait_seconds"]["max"] <= happened["wait_seconds"]["max"] + 0.02
    assert 0 < figures["utilisation"] <= 1 and 0 < happened["utilisation"] <= 1
    assert tree(ran.directory) == files, "nothing is changed"
    assert simulated(ran) == answer, "and asked again it says the same"


def test_with_something_otherwise(ran: Shell) -> None:
    one = simulated(ran, "--set", "max_retries=1", "--workers", "30")
    assert (one["settings"], one["workers"], one["slots"]) == ({"max-retries": "1"}, 30, 1)
    assert (one["simulated"]["runs"], one["simulated"]["dead"]) == (11, 3)
    assert one["simulated"]["wait_seconds"]["max"] == 0
    assert one["happened"] == simulated(ran)["happened"]
    more = simulated(ran, "--set", "max-retries=5", "--seed", "3")
    assert (more["drawn_runs"] > 0, more["seed"]) == (True, 3)
    assert more == simulated(ran, "--set", "max-retries=5", "--seed", "3")
    lately = simulated(ran, "--last", "1h")
    assert lately["since"] < lately["until"]
    for name in ("happened", "simulated"):
        assert lately[name] == simulated(ran)[name], "before the first job nothing counts"


def test_for_people(ran: Shell) -> None:
    answer = ran.ok("simulate", "--workers", "2", "--set", "max-retries=4", "--set", "timeout=9s")
    table, _, said = answer.out.partition("\n\n")
    lines = table.splitlines()
    assert lines[0].split() == ["HAPPENED", "SIMULATED", "CHANGE"]
    assert lines[1].split() == ["runs", "16", "18", "+2"]
    assert [line.split("  ")[0] for line in lines[-4:]] == [
        f"turnaround {share}" for share in ("p50", "p95", "p99", "max")
    ]
    for sentence in (
        "12 jobs from ",
        "2 workers with 1 slot each",
        "max-retries is 4 for jobs that were not given their own",
        "drawn from the runs of the same kind of command, retries from retries (seed 1)",
        "a run that timed out would time out again",
    ):
        assert sentence in said
    assert all(line.startswith("- ") for line in said.splitlines())


def test_what_still_waits_is_run_too_and_that_is_said(shell: Shell) -> None:
    for n in range(4):
        shell.add("--id", f"job{n}", "-c", "sleep 0.05")
    shell.ok("worker", "start", "-c", "1", "--limit", "2")
    answer = simulated(shell, "--workers", "4")
    assert (answer["happened"]["completed"], answer["simulated"]["completed"]) == (2, 4)
    assert (answer["happened"]["left"], answer["simulated"]["left"]) == (2, 0)
    said = "- 2 jobs had not ended at the end of the log: here they are run to their end, too"
    assert said in shell.ok("simulate", "--workers", "4").out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--set max-retries", 2, "KEY=VALUE"),
        ("--set max-retrys=3", 2, "max-retries"),
        ("--set max-retries=many", 2, "whole number"),
        ("--set grace=5s", 2, "it changes nothing here"),
        ("--workers 0", 2, "workers"),
        ("--slots 0", 2, "slots"),
        ("--last never", 2, "is no moment"),
        ("--last 2999-01-01T00:00:00Z", 3, "no job since 2999-01-01"),
    ],
)
def test_what_cannot_be_simulated(ran: Shell, words: str, code: int, told: str) -> None:
    answer = ran("simulate", *words.split())
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err and len(answer.err.splitlines()) == 1


def test_an_empty_queue_and_none(shell: Shell) -> None:
    assert shell("simulate").code == 3
    shell.ok("config", "set", "grace", "5s")
    answer = shell("simulate")
    assert (answer.code, answer.out) == (3, "")
