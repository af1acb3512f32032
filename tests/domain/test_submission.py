"""What may be submitted: every field, every alias, and every way to get it wrong."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl import instants
from queuectl.domain.settings import Settings
from queuectl.domain.submission import ALIASES, COMMAND_BYTES_MAX, FIELDS, Submission
from queuectl.errors import Invalid
from queuectl.events.vocabulary import JobEnqueued

NOW = "2026-01-01T00:00:00.000000Z"


def job(settings: Settings | None = None, /, **fields: Any) -> JobEnqueued:
    submission = Submission(settings or Settings(), now=NOW, cwd="/here", actor="me@here")
    if not {"command", "argv"} & fields.keys():
        fields["command"] = "true"
    return submission.job(fields, lambda: "made")


def test_what_is_left_out_comes_from_the_settings_in_force() -> None:
    settings = Settings(
        max_retries=7,
        backoff="linear",
        backoff_base=3.0,
        backoff_max_ms=5,
        jitter=0.5,
        timeout_ms=9,
    )
    assert job(settings, command="echo hi") == JobEnqueued(
        job="made",
        queue="default",
        attempt=0,
        command="echo hi",
        cwd="/here",
        actor="me@here",
        max_retries=7,
        backoff="linear",
        backoff_base=3.0,
        backoff_max_ms=5,
        jitter=0.5,
        timeout_ms=9,
    )


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "job1", {"job": "job1"}),
        ("id", 17, {"job": "17"}),
        ("command", "echo 'ü'", {"command": "echo 'ü'"}),
        ("argv", ["echo", "a b"], {"argv": ["echo", "a b"], "command": "echo 'a b'"}),
        ("max_retries", 5, {"max_retries": 5}),
        ("max_retries", "5", {"max_retries": 5}),
        ("max_attempts", 4, {"max_retries": 4}),
        ("priority", -3, {"priority": -3}),
        ("priority", "9", {"priority": 9}),
        ("run_at", "2030-01-31T09:00:00+02:00", {"run_at": "2030-01-31T07:00:00.000000Z"}),
        ("run_after", "2030-01-31T09:00:00Z", {"run_at": "2030-01-31T09:00:00.000000Z"}),
        ("run_at", NOW, {"run_at": NOW}),
        ("delay", "1m30s", {"run_at": instants.later(NOW, 90_000)}),
        ("delay", 0.5, {"run_at": instants.later(NOW, 500)}),
        ("timeout", "5s", {"timeout_ms": 5000, "timeout_own": True}),
        ("timeout", 0, {"timeout_ms": 0, "timeout_own": True}),
        ("backoff", "linear", {"backoff": "linear"}),
        ("backoff", "5s,30s", {"backoff": "5s,30s"}),
        ("backoff", [5, "30s"], {"backoff": "5s,30s"}),
        ("backoff_base", 1.5, {"backoff_base": 1.5, "backoff_base_own": True}),
        ("backoff_base", "3", {"backoff_base": 3.0, "backoff_base_own": True}),
        ("queue", "mail/eu", {"queue": "mail/eu"}),
        ("cwd", "/tmp", {"cwd": "/tmp"}),
        ("env", {"A": "1", "B": ""}, {"env": ["A=1", "B="]}),
        ("env", ["A=1=2", "B=2", "A=3"], {"env": ["A=3", "B=2"]}),
        ("env", {}, {"env": None}),
        ("secret_env", ["TOKEN"], {"secret_env": ["TOKEN"]}),
        ("tags", ["a", "b", "a"], {"tags": ["a", "b"]}),
        ("tags", "a,b", {"tags": ["a", "b"]}),
        ("tags", [], {"tags": None}),
        ("priority", None, {"priority": 0}),
        ("timeout", None, {"timeout_ms": 300_000, "timeout_own": False}),
    ],
)
def test_every_field(field: str, value: object, expected: dict[str, Any]) -> None:
    spec = job(**{field: value})
    assert {name: getattr(spec, name) for name in expected} == expected


BAD: list[tuple[str, Any]] = [
    *[("id", bad) for bad in ("", "a/b", "..", ".a", "-a", "a b", "a\n", "x" * 129, 1.5, True)],
    *[("id", bad) for bad in (["a"], "é", "a\0", -1)],
    *[("command", bad) for bad in ("", "  \t\n", 5, ["echo"], None, "a\0b", "\ud800")],
    *[("command", bad) for bad in ("x" * (COMMAND_BYTES_MAX + 1), "x" * 10_000_000)],
    ("command", "ü" * (COMMAND_BYTES_MAX // 2 + 1)),
    *[("argv", bad) for bad in ([], "echo", [""], ["echo", 5], ["echo", "\0"], {"a": 1})],
    ("argv", ["x" * 131_000] * 5),
    *[("max_retries", bad) for bad in (-1, 1.5, "many", True, 10**7, "1.0", [3], "9" * 5000)],
    *[("priority", bad) for bad in (1.0, "high", False, 10**30, -(10**30))],
    *[("run_at", bad) for bad in ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00", "soon", 5, "")],
    ("run_at", "0001-01-01T00:00:00+14:00"),
    *[("delay", bad) for bad in (-1, "-5s", "soon", True, [5], float("nan"), 10**400, "1e300")],
    *[("timeout", bad) for bad in (-1, "never", True, {}, float("inf"))],
    *[("backoff", bad) for bad in ("sometimes", 5, "", [], ["x"], {"a": 1}, "-5s")],
    *[("backoff_base", bad) for bad in (-1, "x", True, float("nan"), 10**400, [2])],
    *[("queue", bad) for bad in ("", "a b", "-q", 5, "x" * 129, "q\n")],
    *[("cwd", bad) for bad in ("relative", "", 5, "/a\0", "/" + "x" * 5000)],
    *[("env", bad) for bad in ("A=1", ["A"], {"A": 1}, {"A": None}, {"1A": "x"}, {"A B": "x"})],
    *[("env", bad) for bad in ({"A": "\0"}, {"A": "\udc80"}, {"": "x"}, [5], {"A": "x" * 131_072})],
    *[("secret_env", bad) for bad in ("TOKEN", ["A=1"], [5], [""])],
    *[("tags", bad) for bad in (5, ["a b"], [5], ["t"] * 101, [""], {"a": 1})],
]


@pytest.mark.parametrize(("field", "value"), BAD, ids=lambda value: str(value)[:20])
def test_every_bad_value_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(Invalid) as raised:
        job(**{field: value})
    message = str(raised.value)
    assert message.startswith(field)
    assert "\n" not in message
    assert len(message) < 300
    message.encode()
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("comand", "command"),
        ("priorty", "priority"),
        ("max-retries", "max_retries"),
        ("tag", "tags"),
    ],
)
def test_an_unknown_field_gets_a_did_you_mean(wrong: str, meant: str) -> None:
    with pytest.raises(Invalid, match=f"{wrong}.*did you mean '{meant}'"):
        job(**{wrong: "x"})


def test_a_field_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(Invalid) as raised:
        job(zzzzzz=1)
    assert all(field in str(raised.value) for field in FIELDS)


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "true", "argv": ["true"]},
        {"delay": 5, "run_at": "2030-01-01T00:00:00Z"},
        {"delay": 5, "run_after": "2030-01-01T00:00:00Z"},
    ],
)
def test_two_fields_that_say_two_things(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="two different things"):
        job(**fields)


def test_nothing_to_run_is_no_job() -> None:
    submission = Submission(Settings(), now=NOW, cwd="/", actor="")
    with pytest.raises(Invalid, match="command: it is missing"):
        submission.job({"priority": 1}, lambda: "made")


def test_aliases_stand_for_fields_that_exist() -> None:
    assert set(ALIASES.values()) <= set(FIELDS)
    assert not ALIASES.keys() & set(FIELDS)


def test_the_longest_command_that_a_program_can_be_given() -> None:
    assert len(job(command="x" * COMMAND_BYTES_MAX).command) == COMMAND_BYTES_MAX
