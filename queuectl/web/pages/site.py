"""Pages: what a presenter found, put into a template, in the frame that all pages share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from queuectl.errors import Damaged, Invalid, QueuectlError
from queuectl.jobqueue import Queue
from queuectl.view import View
from queuectl.web.access import Visitor, visitor
from queuectl.web.login import cookie_name
from queuectl.web.pages import show
from queuectl.web.pages.frame import frame, told
from queuectl.web.problems import status_of
from queuectl.web.served import Served

AFTER = "queuectl-after"
"""The header of a page's own script: it has heard of that event and wants the changed part only."""
_FORM_BYTES_MAX = 1 << 20
_FRESH_S = 0.5
"""A part that is no older will do for others who have heard of no later event."""
_PARTS_MAX = 256
_OF_ITS_MOMENT = ("at", "before", "done", "count", "shown")


class Asked(NamedTuple):
    """What is asked of a page."""

    path: Mapping[str, Any]
    query: QueryParams
    visitor: Visitor


class Form(NamedTuple):
    """What somebody has filled in; an empty field is as if it were not there."""

    path: Mapping[str, Any]
    fields: list[tuple[str, str]]
    visitor: Visitor

    def get(self, name: str) -> str:
        """The field of that name; empty where there is none."""
        return next((value for key, value in self.fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every one of that name."""
        return [value for key, value in self.fields if key == name]


class Again(Exception):
    """What was asked for needs another look first: the page to give it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


Present = Callable[[View, Asked], dict[str, Any]]
Gather = Callable[[Served, Asked], Awaitable[dict[str, Any]]]
Act = Callable[[Queue, Form], str]


class _Part(NamedTuple):
    offset: int
    made_s: float
    html: str


class Site:
    """All pages of one queue."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._templates = Environment(
            loader=PackageLoader("queuectl.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(show.FILTERS)
        self._parts: dict[tuple[str, Visitor], _Part] = {}

    # ---- looking

    def page(self, path: str, template: str, present: Present) -> Route:
        """A page that shows what `present` finds, now or at a moment."""
        return self._route(path, lambda request: self._look(request, template, present))

    def search(self, path: str, template: str, gather: Gather) -> Route:
        """A page for which more than one moment, or more than what is folded, is looked at."""

        async def look(request: Request) -> Response:
            found = await gather(self._served, _asked(request))
            return await self._look(request, template, lambda view, asked: found)

        return self._route(path, look)

    def _route(self, path: str, look: Callable[[Request], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return await look(request)
            except QueuectlError as error:
                return await self.failed(request, error)

        return Route(path, endpoint)

    async def _look(self, request: Request, template: str, present: Present) -> Response:
        asked = _asked(request)
        heard = request.headers.get(AFTER, "")
        at = asked.query.get("at") or None
        key = (f"{request.url.path}?{request.url.query}", asked.visitor)

        def ask(view: View) -> dict[str, Any] | str:
            now_s = view.host.monotonic_s()
            part = self._parts.get(key) if heard.isdecimal() else None
            if part and part.offset >= int(heard) and now_s - part.made_s < _FRESH_S:
                return part.html
            return {**_found(view, asked, present), "made_s": now_s}

        found = await self._served.read(ask, at)
        if isinstance(found, str):
            return HTMLResponse(found)
        offset = found["frame"]["offset"]
        if at is not None:
            if at != str(offset):
                return RedirectResponse(_here(request, offset), HTTPStatus.SEE_OTHER)
            damage = await self._served.damage()
            if damage is not None:
                found["frame"]["damage"] = told(damage)
        if "status" in found:
            html = self._render("wrong.html", request, found, part=bool(heard))
            return HTMLResponse(html, found["status"])
        html = self._render(template, request, found, part=bool(heard))
        if heard:
            self._keep(key, _Part(offset, found["made_s"], html))
        return HTMLResponse(html)

    def _keep(self, key: tuple[str, Visitor], part: _Part) -> None:
        self._parts.pop(key, None)
        self._parts[key] = part
        if len(self._parts) > _PARTS_MAX:
            del self._parts[next(iter(self._parts))]

    def _render(
        self, template: str, request: Request, found: Mapping[str, Any], *, part: bool = False
    ) -> str:
        at = request.query_params.get("at") if found["frame"]["is_past"] else None

        def link(path: str, **query: Any) -> str:
            """A path at the moment that is looked at."""
            given = {key: value for key, value in query.items() if value not in (None, "")}
            given |= {"at": at} if at else {}
            return f"{path}?{urlencode(given)}" if given else path

        return self._templates.get_template(template).render(
            **found,
            link=link,
            here=partial(_here, request),
            asked_for=_asked_for(request),
            query=request.query_params,
            path=request.url.path,
            signed_in=cookie_name(request) in request.cookies,
            layout="part.html" if part else "whole.html",
        )

    # ---- acting

    def action(self, path: str, role: str, act: Act) -> Route:
        """Something that a form asks for; `act` returns the path to go on to."""

        async def endpoint(request: Request) -> Response:
            who = _visitor(request)
            if not who.may(role):
                return await self.refused(request, HTTPStatus.FORBIDDEN, who.lacks(role))
            try:
                form = Form(request.path_params, await _fields(request), who)
                path = await self._served.write(who, lambda queue: act(queue, form))
            except Again as again:
                path = again.path
            except QueuectlError as error:
                return await self.failed(request, error)
            return RedirectResponse(path, HTTPStatus.SEE_OTHER)

        return Route(path, endpoint, methods=["POST"])

    # ---- what went wrong

    async def failed(self, request: Request, error: QueuectlError) -> Response:
        """A page that says what is wrong."""
        return await self.refused(request, status_of(error), str(error))

    async def refused(self, request: Request, status: HTTPStatus, detail: str) -> Response:
        """The same, with the status of the answer."""
        who = _visitor(request)
        asked = Asked({}, QueryParams(), who)
        found = await self._served.read(
            lambda view: _found(view, asked, lambda *_: {"status": status, "detail": detail})
        )
        return HTMLResponse(self._render("wrong.html", request, found), status)


def _found(view: View, asked: Asked, present: Present) -> dict[str, Any]:
    try:
        found = present(view, asked)
    except Damaged as damage:
        # What was read before stands; only this page needed more.
        found = {
            "status": HTTPStatus.SERVICE_UNAVAILABLE,
            "detail": "This page needs more of the log than can be read.",
        }
        return {**found, "frame": frame(view, asked.visitor, damage)}
    return {**found, "frame": frame(view, asked.visitor)}


def _asked(request: Request) -> Asked:
    return Asked(request.path_params, request.query_params, _visitor(request))


def _visitor(request: Request) -> Visitor:
    found = visitor(request)
    assert found is not None, "the guard lets nobody else through"
    return found


def _asked_for(request: Request) -> list[tuple[str, str]]:
    """What goes along to another moment: neither a page of a list nor what has just been done."""
    query = request.query_params.multi_items()
    return [(key, value) for key, value in query if value and key not in _OF_ITS_MOMENT]


def _here(request: Request, offset: int | None = None) -> str:
    """The same page at another moment, or now."""
    query = _asked_for(request)
    if offset is not None:
        query.append(("at", str(offset)))
    return f"{request.url.path}?{urlencode(query)}" if query else request.url.path


async def _fields(request: Request) -> list[tuple[str, str]]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_BYTES_MAX:
            raise Invalid(f"the form is longer than {_FORM_BYTES_MAX} bytes")
    try:
        return [(key, value) for key, value in parse_qsl(body.decode(), max_num_fields=10_000)]
    except ValueError:
        raise Invalid("the form cannot be read: it is not UTF-8, or has too many fields") from None
