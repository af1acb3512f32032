"""The difference between two moments: how much happened, and who changed what."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from queuectl import instants
from queuectl.domain.settings import Settings
from queuectl.errors import Invalid
from queuectl.events.vocabulary import AnyEvent, wire_name
from queuectl.projections.difference import TOLD, Difference
from queuectl.projections.past import Moment
from queuectl.queueview import QueueView
from queuectl.telling.words import printable, seconds
from queuectl.view import View
from queuectl.web.pages import tell
from queuectl.web.pages.site import Asked
from queuectl.web.served import Served


class _Then(NamedTuple):
    """What the queue was at one of the two."""

    offset: int
    at: instants.Instant
    counts: dict[str, int]
    settings: Settings


async def gather(served: Served, asked: Asked) -> dict[str, Any]:
    start, end = asked.query.get("from", ""), asked.query.get("to", "")
    found: dict[str, Any] = {"given": {"from": start, "to": end}, "difference": None}
    if start:
        before = await served.read(_then, start, field="from", or_empty=True)
        after = await served.read(_then, end or None, field="to")
        if before.offset > after.offset:
            raise Invalid(
                f"the first moment, event {before.offset}, is after the second, event"
                f" {after.offset}"
            )

        def between(view: QueueView) -> Difference:
            difference = Difference(before.settings)
            for events in view.between(Moment(before.offset), Moment(after.offset)):
                difference.see(events)
            return difference

        found["difference"] = _told(before, after, await served.search(between))
    return found


def _then(view: View) -> _Then:
    state = view.state
    at = state.statistics.last_at or view.now()
    return _Then(state.offset, at, dict(state.counts), state.settings)


def _told(before: _Then, after: _Then, found: Difference) -> dict[str, Any]:
    told = [*found.queues]
    stays = [
        event
        for stay in found.workers.values()
        for event in (stay.started, stay.stopped)
        if event is not None
    ]
    return {
        "first": {"offset": before.offset, "at": before.at},
        "last": {"offset": after.offset, "at": after.at},
        "events": after.offset - before.offset,
        "took": seconds(instants.between_ms(before.at, after.at)),
        "kinds": [
            {"type": wire_name(kind), "times": found.kinds[kind]}
            for kind in get_args(AnyEvent)
            if kind in found.kinds and kind not in TOLD
        ],
        "states": [
            {"state": state, "before": before.counts[state], "after": number}
            for state, number in after.counts.items()
            if before.counts[state] or number
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
