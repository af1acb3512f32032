"""`config`: the settings of a queue."""

from __future__ import annotations

import click

from queuectl.cli import completion
from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App, DefaultGroup
from queuectl.domain import settings as rules
from queuectl.errors import NotFound
from queuectl.telling.moments import Named


@click.group(
    cls=DefaultGroup,
    name="config",
    epilog="""\b
Examples:
  queuectl config
  queuectl config get max-retries
  queuectl config set max-retries 5""",
)
def config() -> None:
    """See and change settings (default: list).

    A setting holds for jobs enqueued after the change; those before keep what they had.
    """


@config.command(
    "set",
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  queuectl config set max-retries 5
  queuectl config set backoff 5s,30s,5m
  queuectl config set backoff-base 3""",
)
@click.argument("key", shell_complete=completion.settings)
@click.argument("value")
@pass_app
def set_value(app: App, key: str, value: str) -> None:
    """Change a setting, and say what that means.

    Durations are 500ms, 30s, 5m, 1h30m or a bare number of seconds; keys may be written with - or
    with _. max-retries counts runs: 3 is at most three of them. Retry delays are, by backoff,
    exponential: backoff-base ** runs; doubling: base, 2 base, 4 base; linear: base, 2 base, 3 base;
    fixed: base; or a list of them, 5s,30s,5m.
    """
    with app.open(create=None) as queue:
        queue.set(key, value)
        settings = queue.known.settings
        setting = rules.find(key)
        click.echo(f"{setting.key} = {rules.shown(settings, key)}")
        app.say(rules.effect(settings, key))


@config.command(
    "get",
    epilog="""\b
Examples:
  queuectl config get
  queuectl config get backoff-base""",
)
@click.argument("key", required=False, shell_complete=completion.settings)
@json_option
@pass_app
def get_value(app: App, key: str | None, as_json: bool) -> None:
    """Print one setting, or all of them."""
    settings = _settings(app)
    if key is None:
        _print_all(settings, as_json)
        return
    setting = rules.find(key)
    shown = rules.shown(settings, key)
    if as_json:
        from queuectl.cli.documents import emit
        from queuectl.telling.documents import settings_document

        emit({setting.key: settings_document(settings).get(setting.key, shown)})
    else:
        click.echo(shown)


@config.command(
    "list",
    epilog="""\b
Examples:
  queuectl config list
  queuectl config list --at 2h
  queuectl config list --json | jq -r .timeout""",
)
@at_option
@json_option
@pass_app
def list_settings(app: App, at: Named | None, as_json: bool) -> None:
    """Print all settings."""
    _print_all(_settings(app, at), as_json)


def _settings(app: App, at: Named | None = None) -> rules.Settings:
    """The settings in force; the defaults where there is no queue yet."""
    try:
        with look(app, at) as queue:
            settings: rules.Settings = queue.state.settings
            return settings
    except NotFound:
        if at is not None:
            raise
        return rules.Settings()


def _print_all(settings: rules.Settings, as_json: bool) -> None:
    if as_json:
        from queuectl.cli.documents import emit
        from queuectl.telling.documents import settings_document

        emit(settings_document(settings))
        return
    from queuectl.cli.text import columns

    rows = [
        (setting.key, rules.shown(settings, setting.key), setting.meaning)
        for setting in rules.SETTINGS
    ]
    click.echo(columns(rows, ("KEY", "VALUE", "MEANING")))
