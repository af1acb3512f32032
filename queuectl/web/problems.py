"""What went wrong, as answers: one form for all errors (RFC 9457), and a page for browsers."""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from queuectl import errors
from queuectl.telling.words import printable
from queuectl.web.access import visitor
from queuectl.web.answers import page

MEDIA_TYPE = "application/problem+json"
_UNWELL = "the server cannot answer this now: whoever runs it can see why with queuectl doctor"
_STATUS: dict[type[errors.QueuectlError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Rejected: HTTPStatus.CONFLICT,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Damaged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LockTimedOut: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoSpace: HTTPStatus.INSUFFICIENT_STORAGE,
}

_SAID = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take that method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too much was sent: send it in parts",
}
"""What the routing finds, in a sentence instead of its own two words."""


def status_of(error: errors.QueuectlError) -> HTTPStatus:
    """The status of an answer that says so."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def wants_page(asked: HTTPConnection) -> bool:
    """Whether a person waits for the answer: a browser asks, and not for something of the API."""
    is_api = asked.scope["path"].startswith("/api/")
    return not is_api and "text/html" in asked.headers.get("accept", "")


def problem(asked: HTTPConnection, status: HTTPStatus, detail: str, **more: Any) -> Response:
    """An answer that says what is wrong; `more` are members of it that programs get, too."""
    if wants_page(asked):
        said = f'<p class="banner bad" role="alert">{escape(printable(detail))}</p>'
        # Under a foreign name, that would be refused as well.
        on = "" if status == HTTPStatus.MISDIRECTED_REQUEST else '<p><a href="/">Overview</a></p>'
        return page(status.phrase, said + on, status)
    document = {"title": status.phrase, "status": status.value, "detail": detail, **more}
    return Response(orjson.dumps(document), status, media_type=MEDIA_TYPE)


async def of_error(request: Request, error: Exception) -> Response:
    """One that queuectl has raised."""
    assert isinstance(error, errors.QueuectlError)
    if visitor(request) is None:
        # It may name files, which is nothing for strangers.
        return problem(request, status_of(error), _UNWELL)
    return problem(request, status_of(error), str(error), exit_code=error.exit_code)


async def of_http(request: Request, error: Exception) -> Response:
    """One that was found before queuectl was asked: no such page, not allowed."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    response = problem(request, status, _SAID.get(status, error.detail))
    response.headers.update(error.headers or {})
    return response


async def of_silence(request: Request, error: Exception) -> Response:
    """Of what was said to come, a part did not; they may be gone who were to send it."""
    return problem(request, HTTPStatus.REQUEST_TIMEOUT, "the rest of what was sent did not come")


async def of_defect(request: Request, error: Exception) -> Response:
    """One that nobody has thought of; what it says is for the log of the server alone."""
    return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of queuectl")
