"""What stands around every page: where one is, in which moment, and what is wrong with the log."""

from __future__ import annotations

from typing import Any

from queuectl import instants
from queuectl.domain.job import DEAD
from queuectl.errors import Damaged
from queuectl.telling.words import ago, printable
from queuectl.view import PastView, View
from queuectl.web.access import OPERATOR, SUBMITTER, Visitor


def frame(view: View, who: Visitor, damage: Damaged | None = None) -> dict[str, Any]:
    """Plain data for `whole.html` and `part.html`."""
    state = view.state
    is_past = isinstance(view, PastView)
    damage = damage or view.damage
    head = state.offset if damage is not None else max(state.offset, view.log.head())
    at = state.statistics.last_at
    return {
        "offset": state.offset,
        "head": head,
        "at": at,
        "now": view.now(),
        "is_past": is_past,
        "ago": ago(instants.between_ms(at, view.time())) if at else "",
        "lost": view.lost if isinstance(view, PastView) else 0,
        "counts": dict(state.counts),
        "dead": state.counts[DEAD],
        "workers": len(state.worker_ids),
        "damage": None if damage is None else told(damage),
        "visitor": {"name": printable(who.name), "role": who.role},
        "may_enqueue": who.may(SUBMITTER) and not is_past,
        "may_act": who.may(OPERATOR) and not is_past,
        "place": printable(view.home.root),
    }


def told(damage: Damaged) -> dict[str, Any]:
    """What is wrong with the log, and where."""
    return {
        "why": printable(damage.why),
        "file": printable(damage.file),
        "position": damage.position,
        "offset": damage.offset,
        "repair": type(damage) is Damaged,
    }
