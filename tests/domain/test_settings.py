"""Settings: every key and spelling, what it is worth, and that showing it loses nothing."""

from __future__ import annotations

import msgspec
import pytest

from queuectl.domain import settings as rules
from queuectl.domain.settings import SETTINGS, Settings
from queuectl.errors import Invalid


def test_the_defaults() -> None:
    shown = {setting.key: rules.shown(Settings(), setting.key) for setting in SETTINGS}
    assert shown == {
        "max-retries": "3",
        "backoff": "exponential",
        "backoff-base": "2",
        "backoff-max": "1h",
        "backoff-jitter": "0",
        "timeout": "5m",
        "worker-poll-interval": "1s",
        "lease": "1m",
        "grace": "10s",
        "output-limit": "1GiB",
        "retain-completed": "30d",
        "retain-completed-max": "1000000",
        "retain-cancelled": "30d",
        "retain-cancelled-max": "1000000",
        "retain-dead": "0s",
        "retain-dead-max": "0",
        "archive-retention": "0s",
    }
    assert {setting.field for setting in SETTINGS} == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("key", "value", "field", "worth"),
    [
        ("max-retries", "5", "max_retries", 5),
        ("max_retries", "0", "max_retries", 0),
        ("MAX-RETRIES", " 7 ", "max_retries", 7),
        ("max-attempts", "4", "max_retries", 4),
        ("backoff", "5s,30s", "backoff", "5s,30s"),
        ("backoff-base", "1.5", "backoff_base", 1.5),
        ("delay-base", "1500", "backoff_base", 1.5),
        ("delay_base", "1234567", "backoff_base", 1234.567),
        ("backoff-max", "10m", "backoff_max_ms", 600_000),
        ("jitter", "25%", "jitter", 0.25),
        ("backoff_jitter", "0.1", "jitter", 0.1),
        ("timeout", "30", "timeout_ms", 30_000),
        ("job-timeout", "1h30m", "timeout_ms", 5_400_000),
        ("timeout", "0", "timeout_ms", 0),
        ("poll-interval", "250ms", "worker_poll_interval_ms", 250),
        ("worker-poll-interval", "10ms", "worker_poll_interval_ms", 10),
        ("lease", "2m", "lease_ms", 120_000),
        ("grace", "0", "grace_ms", 0),
        ("retain-dead", "90d", "retain_dead_ms", 90 * 86_400_000),
        ("retain_completed_max", "5", "retain_completed_max", 5),
        ("archive-retention", "365d", "archive_retention_ms", 365 * 86_400_000),
        ("output-limit", "64M", "output_limit_bytes", 64 << 20),
        ("output-limit", "1234567", "output_limit_bytes", 1_234_567),
    ],
)
def test_a_setting_is_worth_what_was_written(
    key: str, value: str, field: str, worth: object
) -> None:
    after = rules.changed(Settings(), key, value)
    assert after == msgspec.structs.replace(Settings(), **{field: worth})
    # The log records what is shown, under the canonical name: reading it must give the same.
    name = rules.canonical(key).key
    for shown in (rules.shown(after, key), rules.shown(after, name)):
        by = key if shown == rules.shown(after, key) else name
        assert rules.changed(Settings(), by, shown) == after
    assert rules.changed(Settings(), name, rules.shown(after, name)) == after


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max-retries", "-1"),
        ("max-retries", "2.5"),
        ("max-retries", "many"),
        ("max-retries", "1000001"),
        ("max-retries", ""),
        ("backoff", "sometimes"),
        ("backoff-base", "-2"),
        ("backoff-base", "nan"),
        ("backoff-base", "inf"),
        ("backoff-base", "1000001"),
        ("delay-base", "-1"),
        ("delay-base", "soon"),
        ("delay-base", "9" * 400),
        ("backoff-jitter", "101%"),
        ("backoff-jitter", "-0.1"),
        ("backoff-jitter", "%"),
        ("timeout", "-5s"),
        ("timeout", "soon"),
        ("worker-poll-interval", "0"),
        ("worker-poll-interval", "9ms"),
        ("lease", "0s"),
        ("grace", "-1"),
        ("output-limit", "-1"),
        ("output-limit", "9" * 400),
    ],
)
def test_bad_values_are_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(Invalid, match=key) as raised:
        rules.changed(Settings(), key, value)
    assert raised.value.exit_code == 2


def test_an_unknown_key_is_refused_with_advice() -> None:
    with pytest.raises(Invalid, match="max-retries"):
        rules.find("max-retrys")


@pytest.mark.parametrize("key", rules.keys())
def test_every_key_can_be_shown_and_explained(key: str) -> None:
    assert rules.shown(Settings(), key)
    assert rules.effect(Settings(), key).endswith((".", "…"))
    assert rules.canonical(key) in SETTINGS


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("backoff-base", "2", "Retry delays will be 2s, 4s, 8s, 16s …"),
        ("delay-base", "3000", "Retry delays will be 3s, 9s, 27s, 1m21s …"),
        ("max-retries", "0", "A job runs at most 1 time, then it is dead."),
        ("max-retries", "4", "A job runs at most 4 times, then it is dead."),
        ("timeout", "0", "A run may take as long as it likes."),
        ("timeout", "90", "A run is ended after 1m30s."),
        ("output-limit", "0", "A run may print as much as it likes."),
    ],
)
def test_what_a_change_does(key: str, value: str, sentence: str) -> None:
    assert rules.effect(rules.changed(Settings(), key, value), key) == sentence
