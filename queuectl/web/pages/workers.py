"""Workers: who works, on what, and when each was last heard of."""

from __future__ import annotations

from typing import Any

from queuectl.telling.words import printable, shorten
from queuectl.view import View
from queuectl.web.pages.site import Asked

_COMMAND_CHARACTERS = 120


def present(view: View, asked: Asked) -> dict[str, Any]:
    found = rows(view)
    return {
        "workers": found,
        "slots": sum(row["slots"] for row in found),
        "busy": sum(len(row["jobs"]) for row in found),
    }


def rows(view: View) -> list[dict[str, Any]]:
    """Every worker that has started and not stopped, the latest first."""
    state = view.state
    return [
        {
            "id": row.id,
            "host": printable(row.host),
            "pid": row.pid,
            "slots": row.slots,
            "queues": row.queues,
            "started_at": row.started_at,
            "heartbeat_at": row.heartbeat_at,
            "is_alive": view.is_alive(row.id),
            "stops": row.stop_requested,
            "jobs": [
                {
                    "id": job.id,
                    "slot": job.slot,
                    "since": job.started_at,
                    "command": shorten(job.spec.command, _COMMAND_CHARACTERS),
                }
                for job in sorted(row.holding.values(), key=lambda job: job.slot)
            ],
        }
        for row in reversed(state.workers.rows.values())
    ]
