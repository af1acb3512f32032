"""What the API can be asked: each operation says what it takes, and that is what it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from queuectl import strictjson
from queuectl.errors import Invalid
from queuectl.suggestion import did_you_mean
from queuectl.web.access import VIEWER, Visitor, visitor
from queuectl.web.guard import BODY_BYTES_MAX
from queuectl.web.live import Live
from queuectl.web.problems import problem
from queuectl.web.served import Served

PREFIX = "/api/v1"


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand behind the ? of a URL: nothing."""


class AsOf(Query, frozen=True, kw_only=True):
    """At which moment."""

    at: Annotated[
        str | None,
        msgspec.Meta(
            description="As it was then: the offset of an event, a time with its zone like"
            " 2026-11-22T09:00:00Z, or how long ago, like 2h."
        ),
    ] = None


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be sent along: nothing."""


Q = TypeVar("Q", bound=Query)
B = TypeVar("B")


class Site(NamedTuple):
    """What there is to answer with."""

    served: Served
    live: Live


class Call(NamedTuple, Generic[Q, B]):
    """One request that fits its operation."""

    site: Site
    visitor: Visitor
    request: Request
    query: Q
    body: B

    @property
    def served(self) -> Served:
        return self.site.served

    def named(self, name: str = "id") -> str:
        """A part of the path."""
        return str(self.request.path_params[name])


class Operation(NamedTuple):
    """One thing that can be asked."""

    method: str
    path: str
    """Below `PREFIX`, with the types of its parts as Starlette writes them."""
    act: Callable[[Call[Any, Any]], Awaitable[Response]]
    summary: str
    answers: dict[str, Any]
    """The schema of the document that it answers with; or, by media type, of others."""
    role: str = VIEWER
    query: type[Query] = Query
    body: Any = None
    """The type of what is sent along; None where that is nothing."""
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = MappingProxyType({})
    """Those that it looks at, and what for."""

    def route(self, site: Site) -> Route:
        """Where it is served."""

        async def answer(request: Request) -> Response:
            asking = visitor(request)
            assert asking is not None
            if not asking.may(self.role):
                return problem(request, HTTPStatus.FORBIDDEN, asking.lacks(self.role))
            query = _query(request, self.query)
            body = await _body(request, self.body)
            return await self.act(Call(site, asking, request, query, body))

        return Route(
            PREFIX + self.path, answer, methods=[self.method], max_body_size=BODY_BYTES_MAX
        )


def _query(request: Request, kind: type[Q]) -> Q:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {}
    for name in request.query_params:
        if name not in fields:
            hint = did_you_mean(name, fields) or f": it takes {', '.join(fields) or 'none'}"
            raise Invalid(f"there is no parameter {name!r:.60} here{hint}")
        values = request.query_params.getlist(name)
        if is_list(fields[name]):
            given[name] = values
        elif len(values) > 1:
            raise Invalid(f"{name}: it is given {len(values)} times")
        else:
            given[name] = values[0]
    return _converted(given, kind, strict=False)


def is_list(kind: Any) -> bool:
    """Whether a field may be given again and again."""
    if get_origin(kind) in (Annotated, UnionType):
        return any(map(is_list, get_args(kind)))
    return get_origin(kind) in (list, tuple)


async def _body(request: Request, kind: Any) -> Any:
    data = await request.body()
    if kind is None:
        if data:
            raise Invalid("nothing is to be sent along")
        return None
    if not data and issubclass(kind, Body):
        return _converted({}, kind)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json, and say so in Content-Type"
        )
    text = strictjson.decoded(data)
    parsed = strictjson.parse(text)
    if "\\u" in text:
        _check_characters(parsed)
    return parsed if kind is object else _converted(parsed, kind)


def _converted(given: Any, kind: type[B], *, strict: bool = True) -> B:
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise Invalid(_placed(str(error))) from None


def _check_characters(parsed: Any) -> None:
    """Refuse halves of characters, which no file can hold."""
    try:
        msgspec.json.encode(parsed)
    except (UnicodeEncodeError, OverflowError):
        raise Invalid("it has half a character in it: \\ud800 to \\udfff come in pairs") from None


def _placed(message: str) -> str:
    """The words of msgspec, the place first: `$.limit` is `limit`."""
    what, _, place = message.partition(" - at `")
    place = place.rstrip("`").removeprefix("$").removeprefix(".")
    return f"{place}: {what}" if place else what
