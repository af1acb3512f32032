"""The kinds of sinks there are: how each is named, and which module knows the rest.

Such a module has `DEFAULTS`, the options of its kind and what holds where they are not given;
`checked`, which gives what is kept of a definition, or raises `Invalid`; and `outlet`, which opens
the way there.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from queuectl.errors import Invalid
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.sink import Opening, Outlet

# Imported when one is asked for: some need what takes long to load, or is not installed.
_MODULES = {
    "jsonl": "files",
    "parquet": "parquet",
    "http": "http",
    "https": "http",
    "otlp": "otlp",
    "nats": "nats",
    "tls": "nats",
    "exec": "command",
}
FORMS = (
    *("jsonl:DIRECTORY", "parquet:DIRECTORY", "http://…", "https://…"),
    *("otlp:URL", "nats://…", "tls://…", "exec:COMMAND"),
)
_EVERY = {"show_env": False, "max_lag_ms": 0, "max_held_bytes": 0}
_OPTIONS = {"timeout_ms": "timeout", "gzip": "no-gzip"}


def defined(name: str, to: str, given: Mapping[str, Any], host: Host, **more: Any) -> Sink:
    """A sink of these options, of which None was not given. Raises `Invalid`."""
    module = _module(to)
    allowed = {**_EVERY, **module.DEFAULTS}
    options = {key: value for key, value in given.items() if value is not None}
    for key in options:
        if key not in allowed:
            option = _OPTIONS.get(key, key.replace("_", "-"))
            raise Invalid(f"--{option}: a sink at {to.partition(':')[0]}: has no such option")
    sink: Sink = module.checked(Sink(name=name, to=to, **{**allowed, **options}, **more), host)
    return sink


def outlet(opening: Opening) -> Outlet:
    """The way to a sink, open. Raises `Unavailable`, `Refused` and `OSError`."""
    found: Outlet = _module(opening.sink.to).outlet(opening)
    return found


def _module(to: str) -> Any:
    """Raises `Invalid`."""
    name = _MODULES.get(to.partition(":")[0])
    if name is None or ":" not in to:
        raise Invalid(f"--to {to}: no such kind of sink is known; it is one of {', '.join(FORMS)}")
    return import_module(f"queuectl.ship.{name}")
