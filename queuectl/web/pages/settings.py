"""Settings: what is in force, and who changed what."""

from __future__ import annotations

from typing import Any

from queuectl.domain import settings as rules
from queuectl.domain.settings import Settings
from queuectl.events import vocabulary as v
from queuectl.telling.words import printable
from queuectl.view import View
from queuectl.web.pages.site import Asked


def present(view: View, asked: Asked) -> dict[str, Any]:
    state = view.state
    changes = _changes(view)
    last = {change["key"]: change for change in changes}
    default = Settings()
    return {
        "settings": [
            {
                "key": setting.key,
                "value": rules.shown(state.settings, setting.key),
                "meaning": setting.meaning,
                "default": rules.shown(default, setting.key),
                "changed": last.get(setting.key),
            }
            for setting in rules.SETTINGS
        ],
        "changes": changes[::-1],
    }


def _changes(view: View) -> list[dict[str, Any]]:
    """Every change up to the moment that is looked at, oldest first."""
    found = []
    settings = Settings()
    for event in view.log.read_kind(v.SettingChanged):
        if event.offset > view.known.offset:
            break
        if isinstance(event, v.SettingChanged):
            before = rules.shown(settings, event.key)
            settings = rules.changed(settings, event.key, event.value)
            found.append(
                {
                    "key": rules.canonical(event.key).key,
                    "before": before,
                    "after": printable(event.value),
                    "at": event.at,
                    "offset": event.offset,
                    "actor": printable(event.actor),
                }
            )
    return found
