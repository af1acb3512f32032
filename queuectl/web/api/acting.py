"""Jobs: changing what becomes of them, one or many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from queuectl.bulk import CANCEL, PURGE, REQUEUE, RETRY, Choice, Verb, chosen, each
from queuectl.errors import Invalid, Rejected
from queuectl.jobqueue import Queue
from queuectl.telling.words import counted
from queuectl.web.access import OPERATOR
from queuectl.web.answers import answer
from queuectl.web.api import schemas
from queuectl.web.api.operation import Body, Call, Operation, Query

_VERBS: dict[str, tuple[Verb, str]] = {
    "cancel": (CANCEL, "Call jobs off; running ones are ended"),
    "retry": (RETRY, "Run jobs again: a new round, or at once instead of later"),
    "requeue": (REQUEUE, "Run dead jobs again"),
    "purge": (PURGE, "Forget dead jobs; their history stays"),
}
Reason = Annotated[str, msgspec.Meta(description="Why, for the history.", max_length=4096)]
Act = Callable[[Call[Any, Any]], Awaitable[Response]]


class OneBody(Body, frozen=True, kw_only=True):
    """Something done to one job."""

    reason: Reason = ""


class ManyBody(Body, frozen=True, kw_only=True):
    """Something done to many jobs: to those named, or to all that fit the rest, as the command line
    chooses them."""

    ids: tuple[str, ...] = ()
    all: bool = False
    queues: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    error: Annotated[
        str, msgspec.Meta(description="How the fingerprint of their last failure starts.")
    ] = ""
    dry_run: Annotated[
        bool, msgspec.Meta(description="Only say which jobs they are; change nothing.")
    ] = False
    expect: Annotated[
        int | None,
        msgspec.Meta(description="Change nothing unless it is so many jobs that were chosen."),
    ] = None
    reason: Reason = ""


def _one(verb: Verb) -> Act:
    async def act(call: Call[Query, OneBody]) -> Response:
        """The start of an id is enough."""

        def change(queue: Queue) -> str:
            (id,) = chosen(queue, verb, Choice([call.named()]))
            verb.act(queue, id, reason=call.body.reason)
            return id

        return answer({"id": await call.served.write(call.visitor, change)})

    return act


def _many(verb: Verb) -> Act:
    async def act(call: Call[Query, ManyBody]) -> Response:
        """Jobs that do not allow it are told apart, with why; the others are changed."""
        body = call.body
        choice = Choice(body.ids, body.all, body.queues, body.tags, body.error)
        if not any(choice):
            raise Invalid("say which jobs: by ids, or by all, queues, tags or error")

        def change(queue: Queue) -> dict[str, Any]:
            ids = chosen(queue, verb, choice)
            if body.expect is not None and body.expect != len(ids):
                found = counted(len(ids), "job")
                raise Rejected(f"it is {found} now, and not {body.expect}: look again")
            if body.dry_run or not ids:
                return {"changed": [], "refused": [], "would": ids}
            outcomes = list(each(queue, verb, ids, body.reason))
            refused = [{"id": id, "detail": str(why)} for id, why in outcomes if why is not None]
            changed = [id for id, why in outcomes if why is None]
            return {"changed": changed, "refused": refused, "would": []}

        return answer(await call.served.write(call.visitor, change))

    return act


_MANY = schemas.document(
    changed=schemas.listed(schemas.TEXT),
    refused=schemas.listed(schemas.document(id=schemas.TEXT, detail=schemas.TEXT)),
    would={**schemas.listed(schemas.TEXT), "description": "With dry_run: what would change."},
)
OPERATIONS = tuple(
    operation
    for name, (verb, summary) in _VERBS.items()
    for operation in (
        Operation(
            "POST",
            f"/jobs/{name}",
            _many(verb),
            summary,
            _MANY,
            role=OPERATOR,
            body=ManyBody,
        ),
        Operation(
            "POST",
            f"/jobs/{{id}}/{name}",
            _one(verb),
            summary.replace("jobs", "a job", 1)
            .replace("their", "its")
            .replace("running ones are", "a running one is"),
            schemas.document(id=schemas.TEXT),
            role=OPERATOR,
            body=OneBody,
        ),
    )
)
