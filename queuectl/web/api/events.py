"""Events: a page of them, or as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, get_args

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from queuectl.errors import Invalid
from queuectl.events.vocabulary import AnyEvent, Event, wire_name
from queuectl.queueview import QueueView
from queuectl.suggestion import did_you_mean
from queuectl.telling.documents import event_document
from queuectl.telling.encoding import encoded
from queuectl.web.answers import answer
from queuectl.web.api import schemas
from queuectl.web.api.operation import Call, Operation, Query
from queuectl.web.live import Batch, News

MESSAGES, LINES, DOCUMENT = "text/event-stream", "application/x-ndjson", "application/json"
_RETRY_MS = 2000
_KINDS: dict[str, type[Event]] = {wire_name(kind): kind for kind in get_args(AnyEvent)}


class EventsQuery(Query, frozen=True, kw_only=True):
    """Which events."""

    after: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(
            description="Those behind the event with this offset; 0 is before the first. By default"
            " a stream begins with what happens from now on, and a page ends with the last.",
        ),
    ] = None
    type: Annotated[tuple[str, ...], msgspec.Meta(description="Only of these types.")] = ()
    job: Annotated[str, msgspec.Meta(description="Only about the job with exactly this id.")] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Of a page.")] = 100


async def events(call: Call[EventsQuery, None]) -> Response:
    """By the Accept header a stream that never ends, of lines of JSON or of server-sent events
    whose ids are the offsets (Last-Event-ID goes on right behind one), or one page."""
    query = call.query
    kinds = frozenset(map(_kind, query.type))

    def has(event: Event) -> bool:
        return (not kinds or type(event) in kinds) and (
            not query.job or getattr(event, "job", "") == query.job
        )

    wants_all = not kinds and not query.job
    media = _media(call.request.headers.get("accept", "*/*"))
    if media == DOCUMENT:
        return await _page(call, None if wants_all else has)
    after = _begin(call)
    forms = _messages if media == MESSAGES else _lines
    stream = forms(call.site.live.after(after), None if wants_all else has)
    return StreamingResponse(stream, media_type=media, headers={"X-Accel-Buffering": "no"})


def _kind(name: str) -> type[Event]:
    if name not in _KINDS:
        hint = did_you_mean(name, _KINDS) or f": there are {', '.join(_KINDS)}"
        raise Invalid(f"type: {name!r:.60} is no type of event{hint}")
    return _KINDS[name]


def _media(accepted: str) -> str:
    names = [one.partition(";")[0].strip().lower() for one in accepted.split(",")]
    for name in names:
        if name in (MESSAGES, LINES, DOCUMENT):
            return name
        if name in ("*/*", "application/*", ""):
            return DOCUMENT
    raise HTTPException(406, f"there are {MESSAGES}, {LINES} and {DOCUMENT}")


def _begin(call: Call[EventsQuery, None]) -> int:
    last = call.request.headers.get("last-event-id")
    head = call.site.live.head
    if last is None:
        after = call.query.after
        if after is not None and after > head:
            raise Invalid(f"after: event {after} has not happened yet: the last event is {head}")
        return head if after is None else after
    if not (last.isascii() and last.isdecimal() and len(last) < 19):
        raise Invalid(f"Last-Event-ID: {last!r:.60} is no offset of an event")
    # From a log that is not this one, it may be too far ahead.
    return min(int(last), head)


async def _page(call: Call[EventsQuery, None], has: Callable[[Event], bool] | None) -> Response:
    query = call.query

    def look(view: QueueView) -> dict[str, Any]:
        head = view.log.head()
        after = query.after if query.after is not None else max(0, head - query.limit)
        found: list[dict[str, Any]] = []
        looked = 0
        for events in view.log.read_originals(after):
            for event in events:
                if len(found) == query.limit:
                    break
                after = event.offset
                if has is None or has(event):
                    found.append(event_document(event))
            looked += len(events)
            if len(found) == query.limit or looked >= _LOOK_MAX:
                break
        return {"events": found, "after": after, "head": head}

    return answer(await call.served.search(look))


_LOOK_MAX = 100_000
"""So many events are looked at for one page."""


async def _messages(
    stream: AsyncIterator[News], has: Callable[[Event], bool] | None
) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % _RETRY_MS
    async for batch, damage in stream:
        if damage:
            yield b"event: damage\ndata: %s\n\n" % encoded({"detail": damage})
        elif batch is None:
            yield b": still here\n\n"
        elif has is None:
            yield batch.messages
        elif wanted := list(filter(has, batch.events)):
            yield Batch(wanted).messages
        else:
            # So that a reconnect need not go through them again.
            yield b"id: %d\n\n" % batch.last


async def _lines(
    stream: AsyncIterator[News], has: Callable[[Event], bool] | None
) -> AsyncIterator[bytes]:
    async for batch, damage in stream:
        if damage:
            return
        if batch is None:
            # An empty line, which is nothing to who reads lines of JSON.
            yield b"\n"
        elif has is None:
            yield batch.lines
        elif wanted := list(filter(has, batch.events)):
            yield Batch(wanted).lines


OPERATIONS: Sequence[Operation] = (
    Operation(
        "GET",
        "/events",
        events,
        "Read what happened, or hear what happens",
        {
            DOCUMENT: schemas.document(
                events=schemas.listed(schemas.ref("Event")),
                after={**schemas.WHOLE, "description": "What to give as `after` for the next."},
                head=schemas.WHOLE,
            ),
            MESSAGES: schemas.TEXT,
            LINES: schemas.TEXT,
        },
        query=EventsQuery,
        headers={"Last-Event-ID": "The offset behind which to go on."},
    ),
)
