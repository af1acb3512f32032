"""From the fields that somebody gives to the job that is enqueued: what is allowed, and what is
filled in from the settings; pure."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from queuectl import ids, instants
from queuectl.domain import backoff
from queuectl.domain.settings import COUNT_MAX, Settings, parse_base
from queuectl.errors import Invalid
from queuectl.events.vocabulary import JobEnqueued
from queuectl.instants import Instant
from queuectl.quantities import parse_duration_ms
from queuectl.suggestion import did_you_mean

COMMAND_BYTES_MAX = 131_071
"""Linux refuses to start a program with a longer single argument."""
WORDS_BYTES_MAX = 512 * 1024
"""For all words of an argv and all given environment variables together."""
PRIORITY_MAX = 1 << 53
TAGS_MAX = 100
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}")

DEFAULT_QUEUE = "default"
ALIASES = {"max_attempts": "max_retries", "run_after": "run_at"}
FIELDS = (
    "id",
    "command",
    "argv",
    "max_retries",
    "priority",
    "run_at",
    "delay",
    "timeout",
    "backoff",
    "backoff_base",
    "queue",
    "cwd",
    "env",
    "secret_env",
    "tags",
)


def listed(parsed: Any, where: str = "") -> list[dict[str, Any]]:
    """The jobs in what was parsed: one, or a list. Raises `Invalid`, beginning with `where`."""
    jobs = parsed if isinstance(parsed, list) else [parsed]
    for job in jobs:
        if not isinstance(job, dict):
            raise Invalid(f"{where}a job is a JSON object, and this is not one: {job!r:.60}")
    if not jobs:
        raise Invalid(f"{where}the list holds no job")
    return jobs


class Submission:
    """Turns fields into jobs, all submitted by the same person at the same moment."""

    def __init__(self, settings: Settings, *, now: Instant, cwd: str, actor: str) -> None:
        self._now = now
        self._defaults: dict[str, Any] = {
            "queue": DEFAULT_QUEUE,
            "attempt": 0,
            "cwd": cwd,
            "actor": actor,
            "max_retries": settings.max_retries,
            "timeout_ms": settings.timeout_ms,
            "backoff": settings.backoff,
            "backoff_base": settings.backoff_base,
            "backoff_max_ms": settings.backoff_max_ms,
            "jitter": settings.jitter,
        }
        _check_text("cwd", cwd)
        self._plain = JobEnqueued(**self._defaults)

    def job(self, fields: Mapping[str, Any], new_id: Callable[[], str]) -> JobEnqueued:
        """The job that `fields` describe; `new_id` is asked where they name none.

        Raises `Invalid`, naming the field and what would be right.
        """
        if len(fields) == 1 and (command := fields.get("command")) is not None:
            # Most jobs are so, and then all else is the same: a copy takes a third of the time.
            command = _check_command("command", command)
            return msgspec.structs.replace(self._plain, job=new_id(), command=command)
        given = dict(self._defaults)
        job = None
        for name, value in fields.items():
            if name in ALIASES:
                name = ALIASES[name]
                if name in fields:
                    raise Invalid(f"{name}: it is given twice, under two of its names")
            if name == "id":
                job = None if value is None else _id(value)
                continue
            reader = _READERS.get(name)
            if reader is None:
                raise Invalid(f"unknown field {_shorten(name)}{_right_fields(name)}")
            if value is not None:
                given.update(reader(name, value))
        delay_ms = given.pop("delay_ms", None)
        if delay_ms is not None:
            if "run_at" in given:
                raise Invalid("run_at and delay say two different things: give one of them")
            given["run_at"] = instants.later(self._now, delay_ms)
        elif given.get("run_at", self._now) < self._now:
            raise Invalid(f"run_at: {given['run_at']} is in the past; leave it out to run at once")
        if ("command" in given) == ("argv" in given):
            if "command" in given:
                raise Invalid("command and argv say two different things: give one of them")
            raise Invalid("command: it is missing; give what is to be run")
        if "argv" in given:
            given["command"] = shlex.join(given["argv"])
        return JobEnqueued(job=job or new_id(), **given)


def _right_fields(name: str) -> str:
    return did_you_mean(str(name), [*FIELDS, *ALIASES]) or f": a job has {', '.join(FIELDS)}"


def _wrong(name: str, value: object, right: str) -> Invalid:
    return Invalid(f"{name}: {_shorten(value)} is not {right}")


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"


def _check_text(name: str, value: object, bytes_max: int = 4096) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    if "\0" in value:
        raise Invalid(f"{name}: it holds a NUL byte, which no program can be given")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{name}: it is not valid UTF-8") from None
    if size > bytes_max:
        raise Invalid(f"{name}: {size} bytes are too long, the limit is {bytes_max}")
    return value


def _id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not ids.is_valid(value):
        raise _wrong(
            "id", value, "an id: 1 to 128 of A-Z a-z 0-9 . _ : -, not beginning with '.' or '-'"
        )
    return value


def _command(name: str, value: object) -> dict[str, Any]:
    return {"command": _check_command(name, value)}


def _check_command(name: str, value: object) -> str:
    command = _check_text(name, value, COMMAND_BYTES_MAX)
    if not command or command.isspace():
        raise Invalid(f"{name}: it is empty; give what is to be run")
    return command


def _argv(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, list | tuple) or not value:
        raise _wrong(name, value, "a list of words")
    words = [_check_text(name, word, COMMAND_BYTES_MAX) for word in value]
    if sum(len(word.encode()) for word in words) > WORDS_BYTES_MAX:
        raise Invalid(f"{name}: all words together are over {WORDS_BYTES_MAX} bytes")
    if not words[0]:
        raise Invalid(f"{name}: the first word is the program, and it is empty")
    return {"argv": words}


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise _wrong(name, value, "a whole number")
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, value, "a whole number")
    if not low <= value <= high:
        raise Invalid(f"{name}: {_shorten(value)} is out of range, it is from {low} to {high}")
    return value


def _max_retries(name: str, value: object) -> dict[str, Any]:
    return {"max_retries": _whole(name, value, 0, COUNT_MAX)}


def _priority(name: str, value: object) -> dict[str, Any]:
    return {"priority": _whole(name, value, -PRIORITY_MAX, PRIORITY_MAX)}


def _duration_ms(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(name, value, "a duration like 500ms, 30s, 5m or 1h30m")
    try:
        return parse_duration_ms(value)
    except ValueError as error:
        raise _wrong(name, value, f"a duration: {error}") from None


def _delay(name: str, value: object) -> dict[str, Any]:
    return {"delay_ms": _duration_ms(name, value)}


def _timeout(name: str, value: object) -> dict[str, Any]:
    return {"timeout_ms": _duration_ms(name, value), "timeout_own": True}


def _run_at(name: str, value: object) -> dict[str, Any]:
    try:
        return {"run_at": instants.parse(_check_text(name, value))}
    except (ValueError, OverflowError):
        raise _wrong(
            name, value, "a time with its zone, like 2030-01-31T09:00:00Z or …T09:00:00+02:00"
        ) from None


def _backoff(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, list):
        value = ",".join(map(str, value))
    try:
        return {"backoff": backoff.check(_check_text(name, value))}
    except ValueError as error:
        raise Invalid(f"{name}: {_shorten(value)}: {error}") from None


def _backoff_base(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(name, value, "a number of seconds")
    try:
        base = parse_base(value)
    except ValueError as error:
        raise Invalid(f"{name}: {_shorten(value)}: {error}") from None
    if not math.isfinite(base):
        raise _wrong(name, value, "a number of seconds")
    return {"backoff_base": base, "backoff_base_own": True}


def _queue(name: str, value: object) -> dict[str, Any]:
    return {"queue": check_queue(value)}


def check_reason(value: object) -> str:
    """Why somebody asked for something. Raises `Invalid`."""
    return _check_text("reason", value)


def check_queue(value: object) -> str:
    """The name of a queue. Raises `Invalid`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _wrong("queue", value, "a name: 1 to 128 of A-Z a-z 0-9 . _ : / @ + -")
    return value


def _cwd(name: str, value: object) -> dict[str, Any]:
    path = _check_text(name, value)
    if not path.startswith("/"):
        raise _wrong(name, value, "an absolute path")
    return {"cwd": path}


def _env(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        pairs = [(key, text) for key, text in value.items()]
    elif isinstance(value, list | tuple) and all(isinstance(pair, str) for pair in value):
        pairs = [tuple(pair.partition("=")[::2]) if "=" in pair else (pair, None) for pair in value]
    else:
        raise _wrong(name, value, 'an object like {"NAME": "value"} or a list of "NAME=value"')
    for key, text in pairs:
        if text is None:
            raise Invalid(f"{name}: {_shorten(key)} has no value; write NAME=value")
        _check_env_name(name, key)
        _check_text(f"{name} {key}", text, COMMAND_BYTES_MAX - len(key) - 1)
    given = [f"{key}={text}" for key, text in dict(pairs).items()]
    if sum(len(pair.encode()) for pair in given) > WORDS_BYTES_MAX:
        raise Invalid(f"{name}: all variables together are over {WORDS_BYTES_MAX} bytes")
    return {"env": given} if given else {}


def _check_env_name(name: str, key: object) -> str:
    if not isinstance(key, str) or not _ENV_NAME.fullmatch(key) or len(key) > 256:
        raise _wrong(name, key, "the name of an environment variable")
    return key


def _secret_env(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list of names")
    return {"secret_env": [_check_env_name(name, key) for key in value]} if value else {}


def _tags(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, str):
        value = [tag for tag in value.split(",") if tag]
    if not isinstance(value, list | tuple) or len(value) > TAGS_MAX:
        raise _wrong(name, value, f"a list of at most {TAGS_MAX} names")
    for tag in value:
        if not isinstance(tag, str) or not _NAME.fullmatch(tag):
            raise _wrong(name, tag, "a tag: 1 to 128 of A-Z a-z 0-9 . _ : / @ + -")
    return {"tags": list(dict.fromkeys(value))} if value else {}


_READERS: dict[str, Callable[[str, Any], dict[str, Any]]] = {
    "command": _command,
    "argv": _argv,
    "max_retries": _max_retries,
    "priority": _priority,
    "run_at": _run_at,
    "delay": _delay,
    "timeout": _timeout,
    "backoff": _backoff,
    "backoff_base": _backoff_base,
    "queue": _queue,
    "cwd": _cwd,
    "env": _env,
    "secret_env": _secret_env,
    "tags": _tags,
}
