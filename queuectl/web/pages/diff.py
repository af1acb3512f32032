"""The difference between two moments: how much happened, and who changed what."""

from __future__ import annotations

from typing import Any, get_args

from queuectl import instants
from queuectl.errors import Invalid
from queuectl.events.vocabulary import AnyEvent, wire_name
from queuectl.projections.difference import TOLD, Difference
from queuectl.projections.past import Moment
from queuectl.queueview import PastView, QueueView, View
from queuectl.telling.moments import parsed
from queuectl.telling.words import printable, seconds
from queuectl.web.pages import tell
from queuectl.web.pages.site import Asked


def present(view: View, asked: Asked) -> dict[str, Any]:
    start, end = asked.query.get("from", ""), asked.query.get("to", "")
    found: dict[str, Any] = {"given": {"from": start, "to": end}, "difference": None}
    if start and isinstance(view, QueueView):
        before = _then(view, "from", start)
        try:
            after = _then(view, "to", end) if end else view.at(Moment(view.known.offset))
            try:
                found["difference"] = _difference(view, before, after)
            finally:
                after.close()
        finally:
            before.close()
    return found


def _then(queue: QueueView, name: str, text: str) -> PastView:
    named = parsed(text)
    if named is None:
        raise Invalid(
            f"{name}: {text!r:.60} is no moment: write the offset of an event, a time with its zone"
            " like 2026-11-22T09:00:00Z, or how long ago, like 2h"
        )
    return queue.at(named.moment(queue))


def _difference(queue: QueueView, before: PastView, after: PastView) -> dict[str, Any]:
    first, last = before.state.offset, after.state.offset
    if first > last:
        raise Invalid(f"the first moment, event {first}, is after the second, event {last}")
    found = Difference(before.state.settings)
    for events in queue.between(Moment(first), Moment(last)):
        found.see(events)
    then, now = before.state.counts, after.state.counts
    told = [*found.queues]
    stays = [
        event
        for stay in found.workers.values()
        for event in (stay.started, stay.stopped)
        if event is not None
    ]
    return {
        "first": {"offset": first, "at": before.now()},
        "last": {"offset": last, "at": after.now()},
        "events": last - first,
        "took": seconds(instants.between_ms(before.now(), after.now())),
        "kinds": [
            {"type": wire_name(kind), "times": found.kinds[kind]}
            for kind in get_args(AnyEvent)
            if kind in found.kinds and kind not in TOLD
        ],
        "states": [
            {"state": state, "before": then[state], "after": now[state]}
            for state in now
            if then[state] or now[state]
        ],
        "settings": [
            {
                "key": change.event.key,
                "before": change.before,
                "after": printable(change.event.value),
                "actor": printable(change.event.actor),
                "at": change.event.at,
                "offset": change.event.offset,
            }
            for change in found.settings
        ],
        "others": sorted(
            (tell.event(event) for event in (*told, *stays)), key=lambda event: event["offset"]
        ),
    }
