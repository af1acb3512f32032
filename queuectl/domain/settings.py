"""What can be set for a queue, under which names, and what each value means; pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from queuectl.domain import backoff
from queuectl.errors import Invalid
from queuectl.quantities import (
    format_duration,
    format_size,
    parse_duration_ms,
    parse_size,
)
from queuectl.suggestion import did_you_mean

COUNT_MAX = 1_000_000
_NUMBER_MAX = 1_000_000_000


class Settings(msgspec.Struct, frozen=True):
    """The values in force. Those a job runs under are copied into it when it is enqueued."""

    max_retries: int = 3
    backoff: str = "exponential"
    backoff_base: float = 2.0
    backoff_max_ms: int = 3_600_000
    jitter: float = 0.0
    timeout_ms: int = 300_000
    worker_poll_interval_ms: int = 1_000
    lease_ms: int = 60_000
    grace_ms: int = 10_000
    output_limit_bytes: int = 1 << 30
    retain_completed_ms: int = 30 * 86_400_000
    retain_completed_max: int = 1_000_000
    retain_cancelled_ms: int = 30 * 86_400_000
    retain_cancelled_max: int = 1_000_000
    retain_dead_ms: int = 0
    retain_dead_max: int = 0
    archive_retention_ms: int = 0


class Setting(NamedTuple):
    """One thing that can be set."""

    key: str
    """Its name on the command line."""
    field: str
    """The field of `Settings` that it sets."""
    parse: Callable[[str], object]
    """Text to value; raises `ValueError` with what would be right."""
    show: Callable[..., str]
    """Value to text."""
    meaning: str
    """One line for people."""


def _count(text: str, highest: int = COUNT_MAX) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= highest:
        raise ValueError(f"it is a whole number from 0 to {highest}")
    return number


def _number(text: str) -> int:
    return _count(text, _NUMBER_MAX)


def parse_base(text: str | float) -> float:
    """The base of a backoff, in seconds. Raises `ValueError` unless it is from 0 to a million."""
    try:
        number = float(text)
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1e6:
        raise ValueError("it is a number of seconds from 0 to 1000000")
    return number


def _delay_base(text: str) -> float:
    try:
        return parse_base(float(text) / 1000)
    except ValueError:
        raise ValueError("it is a number of milliseconds from 0 to 1000000000") from None


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("it is a share from 0 to 1, or 0% to 100%")
    return share


def _positive_duration(text: str) -> int:
    duration = parse_duration_ms(text)
    if duration < 10:
        raise ValueError("it is a duration of at least 10ms")
    return duration


def _show_number(number: float) -> str:
    # As many digits as anybody writes: what is shown, the log records.
    return f"{number:.15g}"


def _show_size(size: int) -> str:
    text = format_size(size)
    return text if parse_size(text) == size else f"{size}B"


SETTINGS = (
    Setting("max-retries", "max_retries", _count, str, "runs a job has before it is dead"),
    Setting("backoff", "backoff", backoff.check, str, "how retry delays grow: a shape or a list"),
    Setting("backoff-base", "backoff_base", parse_base, _show_number, "base of it, in seconds"),
    Setting(
        "backoff-max", "backoff_max_ms", parse_duration_ms, format_duration, "longest retry delay"
    ),
    Setting(
        "backoff-jitter", "jitter", _share, _show_number, "share by which chance stretches delays"
    ),
    Setting(
        "timeout",
        "timeout_ms",
        parse_duration_ms,
        format_duration,
        "how long a run may take; 0 any",
    ),
    Setting(
        "worker-poll-interval",
        "worker_poll_interval_ms",
        _positive_duration,
        format_duration,
        "how often a worker looks without being woken",
    ),
    Setting(
        "lease", "lease_ms", _positive_duration, format_duration, "how long a claim holds unrenewed"
    ),
    Setting(
        "grace", "grace_ms", parse_duration_ms, format_duration, "from asking a job to end to KILL"
    ),
    Setting(
        "output-limit",
        "output_limit_bytes",
        parse_size,
        _show_size,
        "most a run may print; 0 any",
    ),
    *(
        setting
        for state in ("completed", "cancelled", "dead")
        for setting in (
            Setting(
                f"retain-{state}",
                f"retain_{state}_ms",
                parse_duration_ms,
                format_duration,
                f"how long {state} jobs are kept; 0 for ever",
            ),
            Setting(
                f"retain-{state}-max",
                f"retain_{state}_max",
                _number,
                str,
                f"how many {state} jobs are kept; 0 any",
            ),
        )
    ),
    Setting(
        "archive-retention",
        "archive_retention_ms",
        parse_duration_ms,
        format_duration,
        "how long the archive keeps what compaction put there; 0 for ever",
    ),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_ALIASES = {
    "max-attempts": "max-retries",
    "job-timeout": "timeout",
    "jitter": "backoff-jitter",
    "poll-interval": "worker-poll-interval",
}
_DELAY_BASE = Setting(
    "delay-base",
    "backoff_base",
    _delay_base,
    lambda base: _show_number(base * 1000),
    "backoff-base in milliseconds",
)


def keys() -> list[str]:
    """Every accepted key, the aliases last."""
    return [*_BY_KEY, _DELAY_BASE.key, *_ALIASES]


def find(key: str) -> Setting:
    """The setting that `key` names, in any accepted spelling. Raises `Invalid`."""
    plain = key.strip().lower().replace("_", "-")
    if plain == _DELAY_BASE.key:
        return _DELAY_BASE
    setting = _BY_KEY.get(_ALIASES.get(plain, plain))
    if setting is None:
        hint = did_you_mean(plain, keys()) or f": it is one of {', '.join(_BY_KEY)}"
        raise Invalid(f"unknown setting {key!r}{hint}")
    return setting


def canonical(key: str) -> Setting:
    """The setting that `key` names, under the name and in the unit that the log records."""
    field = find(key).field
    return next(setting for setting in SETTINGS if setting.field == field)


def changed(settings: Settings, key: str, value: str) -> Settings:
    """The settings with one more in force. Raises `Invalid` for a bad key or value."""
    setting = find(key)
    try:
        parsed = setting.parse(value.strip())
    except ValueError as error:
        raise Invalid(f"{value!r} is no value for {setting.key}: {error}") from None
    return msgspec.structs.replace(settings, **{setting.field: parsed})


def shown(settings: Settings, key: str) -> str:
    """The value in force, as text that `changed` accepts."""
    setting = find(key)
    return setting.show(getattr(settings, setting.field))


def effect(settings: Settings, key: str) -> str:
    """What a setting now does, in a sentence for people."""
    setting = find(key)
    value = setting.show(getattr(settings, setting.field))
    match setting.field:
        case "max_retries":
            runs = max(1, settings.max_retries)
            return f"A job runs at most {runs} time{'s' if runs > 1 else ''}, then it is dead."
        case "backoff" | "backoff_base" | "backoff_max_ms" | "jitter":
            delays = backoff.describe(
                settings.backoff, settings.backoff_base, settings.backoff_max_ms, settings.jitter
            )
            return f"Retry delays will be {delays}"
        case "timeout_ms" if not settings.timeout_ms:
            return "A run may take as long as it likes."
        case "timeout_ms":
            return f"A run is ended after {value}."
        case "output_limit_bytes" if not settings.output_limit_bytes:
            return "A run may print as much as it likes."
        case "output_limit_bytes":
            return f"A run that prints more than {value} is ended."
        case "retain_dead_ms" | "retain_completed_ms" | "retain_cancelled_ms":
            state = setting.key.removeprefix("retain-")
            kept = f"for {value}" if getattr(settings, setting.field) else "for ever"
            return (
                f"Jobs that are {state} are kept {kept}; their history is kept as the archive is."
            )
        case "archive_retention_ms" if not settings.archive_retention_ms:
            return "The archive is kept for ever, and with it the history of every job."
        case "archive_retention_ms":
            return f"What is older than {value} leaves the archive, and history with it."
        case _:
            return f"{setting.key} is now {value}: {setting.meaning}."
