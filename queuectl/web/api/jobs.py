"""Jobs: seeing them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from queuectl import asking, instants
from queuectl.domain.fingerprint import of_job
from queuectl.domain.job import Job
from queuectl.errors import Invalid
from queuectl.queueview import QueueView
from queuectl.telling.documents import (
    attempt_document,
    event_document,
    job_document,
    reasons_document,
)
from queuectl.view import View
from queuectl.web.answers import answer
from queuectl.web.api import schemas
from queuectl.web.api.operation import AsOf, Call, Operation, Query

_LOOK_S = 0.1
"""How long a list may look for jobs before it answers with those it has found."""
State = Literal["pending", "processing", "completed", "failed", "dead", "cancelled"]


class ListQuery(AsOf, frozen=True, kw_only=True):
    """Which jobs."""

    state: Annotated[tuple[State, ...], msgspec.Meta(description="In one of these states.")] = ()
    queue: Annotated[tuple[str, ...], msgspec.Meta(description="In one of these queues.")] = ()
    tag: Annotated[tuple[str, ...], msgspec.Meta(description="With all of these tags.")] = ()
    command: Annotated[
        str, msgspec.Meta(description="With this somewhere in their command or id.")
    ] = ""
    error: Annotated[
        str, msgspec.Meta(description="Whose last failure has a fingerprint that starts so.")
    ] = ""
    since: Annotated[str, msgspec.Meta(description="Enqueued at this time or later.")] = ""
    until: Annotated[str, msgspec.Meta(description="Enqueued before this time.")] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(description="What `next` of the page before says.")] = ""


async def show_many(call: Call[ListQuery, None]) -> Response:
    """The newest first. Where many have to be looked at, a page may hold fewer than `limit`, or
    none, and still have a next one."""
    query = call.query
    beyond = _beyond(query.cursor) if query.cursor else None
    where = wanted(query)
    monotonic_s = call.served.host.monotonic_s

    def look(view: View) -> dict[str, Any]:
        until_s = monotonic_s() + _LOOK_S
        found = asking.page(
            view,
            query.limit,
            lambda: monotonic_s() < until_s,
            states=query.state,
            where=where,
            beyond=beyond,
        )
        return {
            "jobs": [job_document(job) for job in found.jobs],
            "next": _cursor(found.beyond) if found.beyond is not None else None,
        }

    return answer(await call.served.read(look, query.at))


def wanted(query: ListQuery) -> Callable[[Job], bool]:
    """Whether a job is in a list, but for its state. Raises `Invalid`."""
    since, until = _time("since", query.since), _time("until", query.until)
    queues, tags, text = frozenset(query.queue), frozenset(query.tag), query.command.casefold()

    def where(job: Job) -> bool:
        spec = job.spec
        return bool(
            (not queues or spec.queue in queues)
            and (not tags or tags.issubset(spec.tags or ()))
            and (not text or text in spec.command.casefold() or text in spec.job.casefold())
            and since <= spec.at
            and (not until or spec.at < until)
            and (not query.error or (job.error and of_job(job).id.startswith(query.error)))
        )

    return where


def _time(name: str, text: str) -> instants.Instant:
    try:
        return instants.parse(text) if text else ""
    except (ValueError, OverflowError):
        raise Invalid(
            f"{name}: {text!r:.60} is no time with its zone, like 2026-11-22T09:00:00Z"
        ) from None


def _cursor(beyond: int) -> str:
    return urlsafe_b64encode(b"jobs %d" % beyond).rstrip(b"=").decode()


def _beyond(cursor: str) -> int:
    try:
        word, number = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).split(b" ")
        beyond = int(number)
        if word == b"jobs" and _cursor(beyond) == cursor:
            return beyond
    except (ValueError, UnicodeEncodeError):
        pass
    raise Invalid(f"cursor: {cursor!r:.60} does not come from a page of jobs")


async def show(call: Call[AsOf, None]) -> Response:
    """The start of an id is enough."""

    def look(view: View) -> dict[str, Any]:
        job = view.get(call.named())
        runs = [attempt_document(run) for run in view.runs(job)]
        return {**job_document(asking.whole(view, job)[0]), "attempts_made": runs}

    return answer(await call.served.read(look, call.query.at))


async def history(call: Call[Query, None]) -> Response:
    """A purged job has its history, too; it is named by its whole id."""
    name = call.named()
    id = await call.served.read(lambda view: asking.id_of(view, name))

    def look(view: QueueView) -> list[dict[str, Any]]:
        return [event_document(event) for event in view.history(id)]

    events = await call.served.search(look)
    if not events:
        await call.served.read(lambda view: view.get(name))
    return answer({"id": id, "events": events})


async def why(call: Call[AsOf, None]) -> Response:
    """A chain of causes, each with the event that says so."""

    def look(view: View) -> dict[str, Any]:
        return reasons_document(asking.why(view, call.named()), view.now())

    return answer(await call.served.read(look, call.query.at))


OPERATIONS = (
    Operation(
        "GET",
        "/jobs",
        show_many,
        "List jobs, a page at a time",
        schemas.document(
            jobs=schemas.listed(schemas.ref("Job")),
            next={**schemas.MAYBE_TEXT, "description": "The cursor of the next page."},
        ),
        query=ListQuery,
    ),
    Operation(
        "GET",
        "/jobs/{id}",
        show,
        "Show a job and its runs",
        schemas.ref("JobWithRuns"),
        query=AsOf,
    ),
    Operation(
        "GET",
        "/jobs/{id}/history",
        history,
        "Show all that ever happened to a job, oldest first",
        schemas.document(id=schemas.TEXT, events=schemas.listed(schemas.ref("Event"))),
    ),
    Operation(
        "GET",
        "/jobs/{id}/why",
        why,
        "Show why a job is as it is, and what it waits for",
        schemas.document(
            id=schemas.TEXT,
            state=schemas.TEXT,
            at=schemas.TIME,
            causes=schemas.listed(schemas.ref("Cause")),
        ),
        query=AsOf,
    ),
)
