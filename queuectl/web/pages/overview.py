"""The overview: what needs attention first, then how the queue is doing."""

from __future__ import annotations

import itertools
from typing import Any

from queuectl import instants
from queuectl.domain.job import DEAD, PROCESSING, WAITING
from queuectl.events import vocabulary as v
from queuectl.projections.attention import concerns
from queuectl.projections.recent import MINUTES, Recent
from queuectl.view import View
from queuectl.web.pages import tell
from queuectl.web.pages.lately import Lately
from queuectl.web.pages.site import Asked
from queuectl.web.pages.workers import rows

_EVENTS = 12
_MINUTES_MIN = 10
_WORKERS_MAX = 12


class Overview:
    """Presents the overview."""

    def __init__(self, lately: Lately) -> None:
        self._lately = lately

    def present(self, view: View, asked: Asked) -> dict[str, Any]:
        state = view.state
        now = view.now()
        recent = self._lately.of(view)
        workers = rows(view)
        return {
            "concerns": [found._asdict() for found in concerns(state, now, view.is_alive)],
            "rates": _rates(recent, now),
            "points": [point._asdict() for point in recent.points(now, _minutes(view))],
            "workers": workers[:_WORKERS_MAX],
            "workers_in_all": len(workers),
            "slots": sum(row["slots"] for row in workers),
            "busy": sum(len(row["jobs"]) for row in workers),
            "queues": _queues(view),
            "events": _latest(recent),
        }


def _latest(recent: Recent) -> list[dict[str, Any]]:
    """The last that happened; that a worker goes on with a job is no news."""
    news = (event for event in reversed(recent.events) if not isinstance(event, v.LeaseRenewed))
    return [tell.event(event) for event in itertools.islice(news, _EVENTS)]


def _minutes(view: View) -> int:
    """As many as are drawn: all that is remembered, or fewer of a queue that is young."""
    began = view.known.statistics.first_at or view.now()
    age = instants.between_ms(began, view.now()) // 60_000
    return min(MINUTES, max(_MINUTES_MIN, age + 2))


def _rates(recent: Recent, now: str) -> dict[str, Any]:
    """The minute that is over last, and the hour."""
    points = recent.points(now)
    ended = [point.completed + point.failed for point in points]
    failed = sum(point.failed for point in points)
    whole = sum(ended)
    return {
        "minute": ended[-2],
        "hour": whole,
        "failed": failed,
        "failed_percent": round(100 * failed / whole, 1) if whole else None,
    }


def _queues(view: View) -> list[dict[str, Any]]:
    state = view.state
    serving = [row for row in state.workers.rows.values() if view.is_alive(row.id) is not False]
    return [
        {
            "name": name,
            "waiting": sum(counts[one] for one in WAITING),
            "running": counts[PROCESSING],
            "dead": counts[DEAD],
            "paused": name in state.paused,
            "workers": sum(row.serves(name) for row in serving),
        }
        for name, counts in sorted(state.queues.items())
    ]
