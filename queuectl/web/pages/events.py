"""The log itself, the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args

from queuectl.errors import Invalid
from queuectl.events import vocabulary as v
from queuectl.events.vocabulary import AnyEvent, wire_name
from queuectl.queueview import QueueView
from queuectl.view import View
from queuectl.web.pages import tell
from queuectl.web.pages.lately import Lately
from queuectl.web.pages.site import Asked
from queuectl.web.served import Served

PAGE = 100
_SPAN = 1_000
_LOOKED_AT_MAX = 300_000
"""So many events are looked at before an answer: that takes about a second."""
TYPES = sorted(wire_name(kind) for kind in get_args(AnyEvent))


class Events:
    """Gathers events."""

    def __init__(self, lately: Lately) -> None:
        self._lately = lately

    async def gather(self, served: Served, asked: Asked) -> dict[str, Any]:
        query = asked.query
        given = {name: query.get(name, "") for name in ("type", "job", "worker", "queue")}
        if given["type"] and given["type"] not in TYPES:
            raise Invalid(f"type: {given['type']!r:.40} is no kind of event")
        before = query.get("before", "")
        if before and not (before.isascii() and before.isdecimal() and len(before) < 18):
            raise Invalid(f"before: {before!r:.40} is no offset of an event")
        recent = await served.read(self._recent, query.get("at") or None)
        last = min(int(before) - 1, recent.last) if before else recent.last

        def search(view: QueueView) -> dict[str, Any]:
            if given["job"]:
                about = list(view.log.read_about(given["job"], last=last))
                return _page(reversed(about), given)
            return _page(_backwards(view, recent.events, last), given)

        return {
            **await served.search(search),
            "types": TYPES,
            "given": given,
            "before": before,
        }

    def _recent(self, view: View) -> _Recent:
        return _Recent(view.state.offset, list(self._lately.of(view).events))


class _Recent(NamedTuple):
    last: int
    """The last event of all."""
    events: list[v.Event]


def _backwards(view: QueueView, recent: list[v.Event], last: int) -> Iterator[v.Event]:
    """The events up to `last`, the newest first."""
    yield from (event for event in reversed(recent) if event.offset <= last)
    if recent:
        last = min(last, recent[0].offset - 1)
    span = _SPAN
    while last > 0:
        after = max(0, last - span)
        piece: list[v.Event] = []
        for events in view.log.read_originals(after):
            piece += [event for event in events if event.offset <= last]
            if events[-1].offset >= last:
                break
        yield from reversed(piece)
        last, span = after, span * 4


def _page(events: Iterable[v.Event], given: dict[str, str]) -> dict[str, Any]:
    """As many as stand on one page, and where the next one begins."""
    found: list[dict[str, Any]] = []
    following = looked_at = 0
    for event in events:
        looked_at += 1
        if len(found) == PAGE or looked_at > _LOOKED_AT_MAX:
            following = event.offset + 1
            break
        if _is_wanted(event, given):
            found.append(tell.event(event))
    return {
        "events": found,
        "following": following,
        "looked_at": looked_at if looked_at > _LOOKED_AT_MAX else 0,
    }


def _is_wanted(event: v.Event, given: dict[str, str]) -> bool:
    return (not given["type"] or wire_name(event) == given["type"]) and all(
        not given[name] or getattr(event, name, None) == given[name]
        for name in ("job", "worker", "queue")
    )
