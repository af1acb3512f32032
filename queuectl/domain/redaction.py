"""Which values can be taken out of the events of a job, and what stands in their place; pure.

Who asked for that, and why, stays.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from msgspec.structs import replace

from queuectl.domain import payloads
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v

TEXT = "[redacted]"
ERROR = "error"
FIELDS = ("command", "cwd", "env", "secret_env", "tags", ERROR, "reason", "actor")
"""What can be asked for."""
ALIASES = {"argv": "command"}
"""The same words twice, in jobs that run without a shell."""
RUN = frozenset(("command", "cwd", "env", "secret_env"))
"""What a job cannot run without."""
_LISTS = ("argv", "env", "secret_env", "tags")
_Event = TypeVar("_Event", bound=v.JobEvent)


_SUBMITTED = ("command", "cwd", "env", "secret_env", "tags", "actor")


def _places(event: v.JobEvent) -> dict[str, str]:
    """By attribute of the event the field under which it can be asked for."""
    match event:
        case v.JobEnqueued():
            return {name: name for name in _SUBMITTED} | ALIASES
        case v.JobFailed() | v.JobDead():
            return {"error": ERROR}
        case v.LeaseExpired():
            return {"reason": ERROR}
        case v.JobRequeued() | v.JobCancelled() | v.JobPruned():
            return {"reason": "reason", "actor": "actor"}
    return {}


def held(event: v.JobEvent, fields: Collection[str]) -> list[str]:
    """The attributes of the event that have a value to be taken out for these fields."""
    nothing = type(event)()
    elsewhere = _elsewhere(event)

    def has_value(name: str) -> bool:
        value = getattr(event, name)
        return name in elsewhere or value not in (getattr(nothing, name), TEXT, [TEXT])

    return [name for name, field in _places(event).items() if field in fields and has_value(name)]


def _elsewhere(event: v.JobEvent) -> dict[str, str]:
    """By attribute the hash of what is too long for the line."""
    return payloads.named(event) if isinstance(event, v.JobEnqueued) else {}


def redacted(event: _Event, fields: Collection[str]) -> _Event:
    """The event without the values of these fields."""
    names = held(event, fields)
    if not names:
        return event
    changes: dict[str, Any] = {name: [TEXT] if name in _LISTS else TEXT for name in names}
    elsewhere = _elsewhere(event)
    if elsewhere:
        left = [f"{name}={digest}" for name, digest in elsewhere.items() if name not in names]
        changes["payloads"] = left or None
    return replace(event, redacted=sorted({*(event.redacted or ()), *names}), **changes)


def gone(job: Job) -> list[str]:
    """What a job would have to be run with, and was taken out."""
    return sorted(RUN.intersection(job.spec.redacted or ()))
