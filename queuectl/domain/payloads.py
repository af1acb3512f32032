"""Jobs that are too long for a line of the log: what the line keeps, and what is kept whole
elsewhere, by its hash; pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from queuectl.errors import Invalid
from queuectl.events import codec
from queuectl.events.vocabulary import JobEnqueued

FORMAT = 2
"""The format of a log in which such jobs may stand: who reads only the first would run them cut."""
FIELDS = ("command", "argv", "env", "secret_env")
"""What can be kept elsewhere."""
BEGINNING_CHARACTERS = 500
"""Of a command that is, for people who look at a list."""
_SHORT = codec.FACT_BYTES_MAX // 8
"""So many characters fit for sure, however they are escaped."""


def is_short(spec: JobEnqueued) -> bool:
    """Whether a job fits into a line for sure; to be known of every job that is enqueued."""
    if spec.argv is None and spec.env is None and spec.secret_env is None and spec.tags is None:
        return len(spec.command) + len(spec.cwd) <= _SHORT
    words = (*(spec.argv or ()), *(spec.env or ()), *(spec.secret_env or ()), *(spec.tags or ()))
    return len(spec.command) + len(spec.cwd) + sum(map(len, words)) + 3 * len(words) <= _SHORT


def parted(spec: JobEnqueued) -> tuple[JobEnqueued, dict[str, bytes]]:
    """The job as its line has it, and by hash what is to be kept elsewhere; nothing if it fits.

    Raises `Invalid` where it cannot be made to fit.
    """
    values = {name: getattr(spec, name) for name in FIELDS if getattr(spec, name)}
    contents = {name: msgspec.json.encode(value) for name, value in values.items()}
    kept: dict[str, bytes] = {}
    names: list[str] = []
    for name in sorted(contents, key=lambda name: len(contents[name]), reverse=True):
        if _fits(spec):
            break
        digest = sha256(contents[name]).hexdigest()
        kept[digest] = contents[name]
        names.append(f"{name}={digest}")
        left = spec.command[:BEGINNING_CHARACTERS] if name == "command" else None
        changes: dict[str, Any] = {name: left, "payloads": names}
        spec = replace(spec, **changes)
    if not _fits(spec):
        raise Invalid("its tags, directory and names are too long together for a line of the log")
    return spec, kept


def _fits(spec: JobEnqueued) -> bool:
    return len(codec.encode_whole(spec)) <= codec.FACT_BYTES_MAX


def named(spec: JobEnqueued) -> dict[str, str]:
    """By field the hash of what is kept elsewhere."""
    pairs = (name.partition("=") for name in spec.payloads or ())
    return {field: digest for field, _, digest in pairs}


def shown(spec: JobEnqueued) -> str:
    """The command for people, with a mark where only its beginning is there."""
    return spec.command + ("…" if "command" in named(spec) else "")


def whole(spec: JobEnqueued, read: Callable[[str], bytes]) -> JobEnqueued:
    """The job as it was given; `read` gives what is kept by its hash. Raises what that does."""
    if spec.payloads is None:
        return spec
    values: dict[str, Any] = {
        field: msgspec.json.decode(read(digest)) for field, digest in named(spec).items()
    }
    return replace(spec, payloads=None, **values)
