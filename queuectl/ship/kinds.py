"""The kinds of sinks there are: how each is named, what can be said about it, and what opens it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from queuectl.errors import Invalid
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.files import Files
from queuectl.ship.sink import Outlet


class Kind(NamedTuple):
    """One kind of sink."""

    form: str
    """What its address looks like, for people."""
    defaults: Mapping[str, Any]
    """What can be said about it, and what holds where nothing was said."""
    check: Callable[[str, Host], str]
    """The address as it is kept. Raises `Invalid`."""
    open: Callable[[Sink, str, str, int, Host], Outlet]
    """Opens the way to it, from (sink, address, identity of the log, cursor, host)."""


def _directory(address: str, host: Host) -> str:
    if not address:
        raise Invalid("--to jsonl: name a directory behind it")
    path = os.path.abspath(os.path.join(host.directory(), os.path.expanduser(address)))
    if not host.exists(os.path.dirname(path)):
        raise Invalid(f"{os.path.dirname(path)} is not there: make it first, or name another")
    return path


def _files(sink: Sink, address: str, log: str, cursor: int, host: Host) -> Outlet:
    return Files(
        address,
        host,
        log=log,
        cursor=cursor,
        events_max=sink.file_events,
        bytes_max=sink.file_bytes,
    )


_EVERY = {"show_env": False, "max_lag_ms": 0, "max_held_bytes": 0}
KINDS = {
    "jsonl": Kind(
        "jsonl:DIRECTORY",
        {"batch_events": 0, "batch_bytes": 4 << 20, "file_events": 0, "file_bytes": 64 << 20},
        _directory,
        _files,
    ),
}


def defined(name: str, to: str, given: Mapping[str, Any], host: Host, **more: Any) -> Sink:
    """A sink of these options, of which None was not given. Raises `Invalid`."""
    kind, address = _parted(to)
    allowed = {**_EVERY, **KINDS[kind].defaults}
    options = {key: value for key, value in given.items() if value is not None}
    for key in options:
        if key not in allowed:
            raise Invalid(
                f"--{key.replace('_', '-')}: a sink {KINDS[kind].form} has no such option"
            )
    address = KINDS[kind].check(address, host)
    return Sink(name=name, to=f"{kind}:{address}", **{**allowed, **options}, **more)


def outlet(sink: Sink, log: str, cursor: int, host: Host) -> Outlet:
    """The way to a sink, open. Raises `Unavailable`, `Refused` and `OSError`."""
    kind, address = _parted(sink.to)
    return KINDS[kind].open(sink, address, log, cursor, host)


def _parted(to: str) -> tuple[str, str]:
    """(kind, address). Raises `Invalid`."""
    kind, _, address = to.partition(":")
    if kind not in KINDS:
        forms = ", ".join(each.form for each in KINDS.values())
        raise Invalid(f"--to {to}: no such kind of sink is known; it is one of {forms}")
    return kind, address
