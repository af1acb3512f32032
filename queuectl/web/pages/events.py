"""The log itself, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from queuectl.errors import Invalid
from queuectl.events import vocabulary as v
from queuectl.events.vocabulary import AnyEvent, wire_name
from queuectl.queueview import View
from queuectl.web.pages import tell
from queuectl.web.pages.lately import Lately
from queuectl.web.pages.site import Asked

PAGE = 100
_SPAN = 1_000
_LOOKED_AT_MAX = 300_000
"""So many events are looked at before an answer: that takes about a second."""
TYPES = sorted(wire_name(kind) for kind in get_args(AnyEvent))


class Events:
    """Presents events."""

    def __init__(self, lately: Lately) -> None:
        self._lately = lately

    def present(self, view: View, asked: Asked) -> dict[str, Any]:
        query = asked.query
        given = {name: query.get(name, "") for name in ("type", "job", "worker", "queue")}
        if given["type"] and given["type"] not in TYPES:
            raise Invalid(f"type: {given['type']!r:.40} is no kind of event")
        before = query.get("before", "")
        if before and not (before.isascii() and before.isdecimal() and len(before) < 18):
            raise Invalid(f"before: {before!r:.40} is no offset of an event")
        last = min(int(before) - 1, view.known.offset) if before else view.known.offset
        found: list[v.Event] = []
        following = looked_at = 0
        for event in self._backwards(view, given["job"], last):
            looked_at += 1
            if len(found) == PAGE or looked_at > _LOOKED_AT_MAX:
                following = event.offset + 1
                break
            if _is_wanted(event, given):
                found.append(event)
        return {
            "events": [tell.event(event) for event in found],
            "types": TYPES,
            "given": given,
            "before": before,
            "following": following,
            "looked_at": looked_at if looked_at > _LOOKED_AT_MAX else 0,
        }

    def _backwards(self, view: View, job: str, last: int) -> Iterator[v.Event]:
        """The events up to `last`, the newest first; those about one job where it is given."""
        if job:
            yield from reversed(list(view.log.read_about(job, last=last)))
            return
        recent = self._lately.of(view).events
        for event in reversed(recent):
            if event.offset <= last:
                yield event
        last = min(last, recent[0].offset - 1) if recent else last
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


def _is_wanted(event: v.Event, given: dict[str, str]) -> bool:
    return (not given["type"] or wire_name(event) == given["type"]) and all(
        not given[name] or getattr(event, name, None) == given[name]
        for name in ("job", "worker", "queue")
    )
