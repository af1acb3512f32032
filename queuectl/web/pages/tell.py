"""Jobs and events as the plain data of one line of a table."""

from __future__ import annotations

from typing import Any

from queuectl.domain.job import FINISHED, PROCESSING, WAITING, Job
from queuectl.events import vocabulary as v
from queuectl.telling.story import tell
from queuectl.telling.words import printable, shorten

_COMMAND_CHARACTERS = 300
_STATES: dict[type[v.Event], str] = {
    v.JobEnqueued: "pending",
    v.JobClaimed: "processing",
    v.JobCompleted: "completed",
    v.JobFailed: "failed",
    v.JobRetried: "failed",
    v.JobDead: "dead",
    v.LeaseExpired: "lost",
    v.JobCancelled: "cancelled",
    v.JobPruned: "purged",
    v.JobRequeued: "pending",
    v.JobReleased: "released",
}
"""The colour of an event: that of the state it leads to."""


def job(found: Job) -> dict[str, Any]:
    """A job in a list."""
    waits = found.state in WAITING and found.runnable_at > found.updated_at
    return {
        "id": found.id,
        "state": found.state,
        "ending": found.ending,
        "runs": f"{found.attempts}/{found.runs_max}",
        "queue": found.queue,
        "tags": list(found.spec.tags or ()),
        "priority": found.spec.priority,
        "command": shorten(found.spec.command, _COMMAND_CHARACTERS),
        "error": shorten(found.error, _COMMAND_CHARACTERS),
        "at": found.runnable_at if waits else found.updated_at,
        "waits": waits,
        "run_ms": found.run_ms if found.finished_at else None,
        "offset": found.spec.offset,
    }


def event(found: v.Event) -> dict[str, Any]:
    """An event in a list."""
    return {
        "offset": found.offset,
        "at": found.at,
        "type": v.wire_name(found),
        "kind": _STATES.get(type(found), ""),
        "job": getattr(found, "job", ""),
        "worker": getattr(found, "worker", "") or "",
        "text": tell(found),
    }


def actions(found: Job, now: str) -> dict[str, str]:
    """What may be asked of a job, and how that is called."""
    offered = {}
    if found.state == PROCESSING or found.state in WAITING:
        offered["cancel"] = "Cancel"
    if found.state in WAITING and found.runnable_at > now:
        offered["retry"] = "Run now"
    elif found.state in FINISHED and not found.held:
        offered["retry"] = "Retry" if found.state == "dead" else "Run again"
    return offered


def line(text: str | None) -> str:
    """One safe line."""
    return printable(text or "")
