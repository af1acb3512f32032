"""What went wrong, as answers: one form for all errors (RFC 9457), and pages for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from queuectl import errors
from queuectl.web.access import visitor

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[errors.QueuectlError], HTTPStatus] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Rejected: HTTPStatus.CONFLICT,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Damaged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LockTimedOut: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NoSpace: HTTPStatus.INSUFFICIENT_STORAGE,
}


def status_of(error: errors.QueuectlError) -> HTTPStatus:
    """The status of an answer that says so."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(status: HTTPStatus, detail: str, **more: Any) -> Response:
    """An answer that says what is wrong; `more` are further members of it."""
    document = {"title": status.phrase, "status": status.value, "detail": detail, **more}
    return Response(orjson.dumps(document), status, media_type=MEDIA_TYPE)


async def of_error(request: Request, error: Exception) -> Response:
    """One that queuectl has raised."""
    assert isinstance(error, errors.QueuectlError)
    if visitor(request) is None:
        # It may name files, which is nothing for strangers.
        return problem(status_of(error), "the server cannot answer this now")
    return problem(status_of(error), str(error), exit_code=error.exit_code)


async def of_http(request: Request, error: Exception) -> Response:
    """One that was found before queuectl was asked: no such page, not allowed."""
    assert isinstance(error, HTTPException)
    response = problem(HTTPStatus(error.status_code), error.detail)
    response.headers.update(error.headers or {})
    return response


async def of_defect(request: Request, error: Exception) -> Response:
    """One that nobody has thought of; what it says is for the log of the server alone."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a defect of queuectl")
