"""Every way to hand in a job, every field of it under every name, and every unit."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from hosts import START, SteadyHost
from programs import Shell

from queuectl import instants

# ---- ways


@pytest.mark.parametrize(
    "words, command, argv",
    [
        (['{"command":"echo hi"}'], "echo hi", None),
        (['  {"command":"echo hi"}'], "echo hi", None),
        (["echo hi"], "echo hi", None),
        (["-c", "echo hi"], "echo hi", None),
        (["--command", "echo hi"], "echo hi", None),
        (["--command=echo hi"], "echo hi", None),
        (["-c", "{ echo hi; }"], "{ echo hi; }", None),
        (["-c", "[ -f x ]"], "[ -f x ]", None),
        (["--", "echo", "hi  you", "-n"], "echo 'hi  you' -n", ["echo", "hi  you", "-n"]),
        (["--priority", "3", "--", "ls", "-l"], "ls -l", ["ls", "-l"]),
        (["--", '{"command":"x"}'], """'{"command":"x"}'""", ['{"command":"x"}']),
        (["echo", "hi"], "echo hi", ["echo", "hi"]),
        (['{"argv":["echo","hi"]}'], "echo hi", ["echo", "hi"]),
    ],
)
def test_one_job(shell: Shell, words: list[str], command: str, argv: list[str] | None) -> None:
    job = shell.job(shell.add(*words))
    assert (job["command"], job["argv"], job["state"]) == (command, argv, "pending")


MANY = {
    "an array": b'[{"id":"a","command":"true"},\n {"id":"b","command":"true"}]',
    "JSON lines": b'{"id":"a","command":"true"}\n{"id":"b","command":"true"}\n',
    "no newline at the end": b'{"id":"a","command":"true"}\n{"id":"b","command":"true"}',
    "blank lines": b'\n  {"id":"a","command":"true"}\n\n\t{"id":"b","command":"true"} \r\n',
}


@pytest.mark.parametrize("text", MANY.values(), ids=MANY)
@pytest.mark.parametrize("way", [["-"], ["-f", "-"], ["--file", "jobs"], ["-f", "jobs"]], ids=str)
def test_many_jobs_from_a_file_or_a_pipe(shell: Shell, way: list[str], text: bytes) -> None:
    (shell.directory / "jobs").write_bytes(text)
    answer = shell.ok("enqueue", *way, stdin=text)
    assert answer.out == "a\nb\n"
    assert answer.err.startswith("enqueued 2 jobs\n")
    assert shell.ok("log", "segments").code == 0
    events = [json.loads(line) for line in shell.ok("log", "tail", "-n", "0").lines]
    assert [event["type"] for event in events] == ["job.enqueued", "job.enqueued"]


def test_an_array_of_jobs_as_a_word(shell: Shell) -> None:
    answer = shell.ok("enqueue", MANY["an array"].decode())
    assert answer.out == "a\nb\n"


def test_plain_commands_a_line_each_share_the_options(shell: Shell) -> None:
    (shell.directory / "jobs").write_text('echo "1  2"\n\necho \u00fc\n')
    ids = shell.ok("enqueue", "-f", "jobs", "--priority", "4", "--tag", "x").lines
    assert [shell.job(id)["command"] for id in ids] == ['echo "1  2"', "echo \u00fc"]
    assert [shell.job(id)["priority"] for id in ids] == [4, 4]
    assert len(shell.ok("list", "--tag", "x", "--json").json) == 2


def test_a_real_pipe(shell: Shell) -> None:
    done = shell.pipeline("seq 3 | sed 's/^/echo /' | queuectl -q enqueue - | wc -l")
    assert (done.stdout.strip(), done.stderr) == (b"3", b"")


# ---- fields

FIELDS: list[tuple[str, str, Any, str, Any]] = [
    # option, what is given, field, what is given in JSON, key and value that come of it
    ("--id", "job.1:a_b-c", "id", "job.1:a_b-c", ("id", "job.1:a_b-c")),
    ("--max-retries", "5", "max_retries", 5, ("max_retries", 5)),
    ("--max-attempts", "5", "max_attempts", 5, ("max_retries", 5)),
    ("--max-retries", "5", "max_retries", "5", ("max_retries", 5)),
    ("--max-retries", "0", "max_retries", 0, ("max_retries", 0)),
    ("--priority", "7", "priority", 7, ("priority", 7)),
    ("--priority", "-7", "priority", -7, ("priority", -7)),
    ("--run-at", "2100-01-31T09:00:00Z", "run_at", "2100-01-31T09:00:00Z", None),
    ("--run-after", "2100-01-31T10:00:00+01:00", "run_after", "2100-01-31T09:00:00.0Z", None),
    ("--timeout", "90", "timeout", 90, ("timeout", 90.0)),
    ("--timeout", "1.5", "timeout", 1.5, ("timeout", 1.5)),
    ("--timeout", "500ms", "timeout", "500ms", ("timeout", 0.5)),
    ("--timeout", "30s", "timeout", "30s", ("timeout", 30.0)),
    ("--timeout", "5m", "timeout", "5m", ("timeout", 300.0)),
    ("--timeout", "1h30m", "timeout", "1h30m", ("timeout", 5400.0)),
    ("--timeout", "2d", "timeout", "2d", ("timeout", 172_800.0)),
    ("--timeout", "0", "timeout", 0, ("timeout", 0.0)),
    ("--backoff", "exponential", "backoff", "exponential", ("backoff", "exponential")),
    ("--backoff", "linear", "backoff", "linear", ("backoff", "linear")),
    ("--backoff", "fixed", "backoff", "fixed", ("backoff", "fixed")),
    ("--backoff", "doubling", "backoff", "doubling", ("backoff", "doubling")),
    ("--backoff", "5s,30s,5m", "backoff", ["5s", "30s", "5m"], ("backoff", "5s,30s,5m")),
    ("--backoff-base", "1.5", "backoff_base", 1.5, ("backoff_base", 1.5)),
    ("--queue", "mail/in", "queue", "mail/in", ("queue", "mail/in")),
    ("--cwd", "/tmp", "cwd", "/tmp", ("cwd", "/tmp")),
    ("--env", "K=V=W", "env", {"K": "V=W"}, ("env", ["K"])),
    ("--env", "K=V", "env", ["K=V"], ("env", ["K"])),
    ("--secret-env", "TOKEN", "secret_env", ["TOKEN"], ("secret_env", ["TOKEN"])),
    ("--tag", "nightly", "tags", ["nightly"], ("tags", ["nightly"])),
    ("--tags", "nightly", "tags", "nightly", ("tags", ["nightly"])),
]


@pytest.mark.parametrize("option, text, field, value, comes", FIELDS)
def test_a_field_is_an_option(
    shell: Shell, option: str, text: str, field: str, value: Any, comes: tuple[str, Any] | None
) -> None:
    key, wanted = comes or ("run_at", "2100-01-31T09:00:00.000000Z")
    assert shell.job(shell.add(option, text, "-c", "true"))[key] == wanted
    shell.data.rename(shell.directory / "by-option")
    assert shell.job(shell.add(json.dumps({"command": "true", field: value})))[key] == wanted
    shell.data.rename(shell.directory / "by-field")
    variable = f"QUEUECTL_ENQUEUE_{option[2:].upper().replace('-', '_')}"
    (id,) = shell.ok("enqueue", "-c", "true", **{variable: text}).lines
    assert shell.job(id)[key] == wanted


@pytest.mark.parametrize("unit, seconds", [("500ms", 0.5), ("2", 2), ("1h30m", 5400), (3, 3)])
def test_a_delay_is_echoed_as_a_time(shell: Shell, unit: str | int, seconds: float) -> None:
    given = (
        ["--delay", unit, "true"]
        if isinstance(unit, str)
        else [f'{{"command":"true","delay":{unit}}}']
    )
    with mock.patch("queuectl.queueview.Host", SteadyHost):
        answer = shell.ok("enqueue", "--id", "a", *given)
    run_at = instants.later(START, round(seconds * 1000))
    assert shell.job("a")["run_at"] == run_at
    assert f", to run at {run_at}" in answer.err


def test_a_job_without_fields_takes_the_settings(shell: Shell) -> None:
    for key, value in (
        ("max-retries", "7"),
        ("backoff", "linear"),
        ("backoff-base", "4"),
        ("timeout", "9s"),
    ):
        shell.ok("config", "set", key, value)
    job = shell.job(shell.add("true"))
    wanted = {"max_retries": 7, "backoff": "linear", "backoff_base": 4.0, "timeout": 9.0}
    assert {key: job[key] for key in wanted} == wanted
    assert (job["queue"], job["priority"], job["cwd"]) == ("default", 0, str(shell.directory))


def test_null_leaves_a_field_out(shell: Shell) -> None:
    job = shell.job(shell.add('{"command":"x","id":null,"priority":null,"queue":null,"env":null}'))
    assert (job["priority"], job["queue"], job["env"]) == (0, "default", [])


def test_options_and_fields_go_together(shell: Shell) -> None:
    job = shell.job(shell.add("--priority", "2", '{"command":"x","queue":"mail"}'))
    assert (job["priority"], job["queue"]) == (2, "mail")


def test_a_relative_directory_is_resolved_here(shell: Shell) -> None:
    (shell.directory / "below").mkdir()
    assert shell.job(shell.add("--cwd", "below", "pwd"))["cwd"] == f"{shell.directory}/below"


# ---- what is said


def test_the_id_is_the_answer_and_the_sentence_goes_beside_it(shell: Shell) -> None:
    answer = shell.program("enqueue", "--id", "job1", "true")
    assert answer.out == "job1\n"
    assert answer.err == (
        "enqueued job1: true\nno worker is running; start one with: queuectl worker start\n"
    )
    assert shell("-q", "enqueue", "--id", "job2", "true") == (0, "job2\n", "")
    assert shell("enqueue", "--id", "job3", "true", QUEUECTL_QUIET="1") == (0, "job3\n", "")


def test_values_of_variables_stay_out_of_sight_unless_asked(shell: Shell) -> None:
    shell.add("--id", "a", "--env", "K=hidden", "true")
    for words in (["show", "a"], ["history", "a"], ["log", "tail"], ["list", "--json"]):
        assert "hidden" not in shell.ok(*words).out
    for words in (["show", "a"], ["history", "a"], ["log", "tail"], ["history", "a", "--json"]):
        assert "hidden" in shell.ok(*words, "--show-env").out


def test_options_of_a_program_that_was_not_quoted_are_explained(shell: Shell) -> None:
    refused = shell("enqueue", "ls", "-la")
    assert refused.code == 2
    assert "quotes" in refused.err


def test_global_options_behind_the_command_are_explained(shell: Shell) -> None:
    refused = shell("list", "--data", "elsewhere")
    assert refused.code == 2
    assert "--data goes before the command" in refused.err
