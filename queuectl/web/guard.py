"""What every request has to pass before anything answers it, and what every answer says to
browsers. Pure ASGI, so that what is streamed goes through as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuectl.errors import QueuectlError
from queuectl.web.access import ADMIN, SUBMITTER, VIEWER, Sessions, Tokens, Visitor
from queuectl.web.login import cookie_name
from queuectl.web.problems import problem, status_of

SEND_S = 30.0
"""How long a client may take no byte of what it asked for …"""
RECEIVE_S = 30.0
"""… and send none of what it began to."""
TARGET_BYTES_MAX = 8 << 10
HEAD_BYTES_MAX = 16 << 10
BODY_BYTES_MAX = 16 << 20
_SAFE = ("GET", "HEAD")
_OPEN = ("/healthz", "/readyz", "/login", "/logout")
_STATIC = "/static/"
_OPEN_BELOW = ("/login/", _STATIC)
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Without a referrer at all, browsers would not say where our own forms come from either.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Rules(NamedTuple):
    """Who is let in."""

    hosts: frozenset[str]
    """The names it is served under, in lower case: another one means that a name of somebody else
    leads here, by which their pages would be ours."""
    tokens: Tokens
    sessions: Sessions
    open: bool = False
    """Everybody who reaches it may do everything."""
    read_only: bool = False
    """Nobody may do more than see."""


class Guard:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            async with asyncio.timeout(SEND_S):
                await send(message)

        has_more = True

        async def receiving() -> Message:
            nonlocal has_more
            if not has_more:
                return await receive()
            try:
                async with asyncio.timeout(RECEIVE_S):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            has_more = message.get("more_body", False)
            return message

        refused = self._refusal(HTTPConnection(scope))
        await (refused or self._app)(scope, receiving, sending)

    def _refusal(self, asked: HTTPConnection) -> Response | None:
        """The answer to a request that goes no further; None where it may, and then the scope says
        who asks."""
        scope, headers = asked.scope, asked.headers
        path: str = scope["path"]
        if len(scope["raw_path"]) + len(scope["query_string"]) > TARGET_BYTES_MAX:
            detail = f"the URL is too long: {TARGET_BYTES_MAX} bytes is all it may have"
            return problem(asked, HTTPStatus.REQUEST_URI_TOO_LONG, detail)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES_MAX:
            detail = "the headers are too long: send fewer, or delete the cookies of this host"
            return problem(asked, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        if int(headers.get("content-length", 0)) > BODY_BYTES_MAX:
            detail = f"too much was sent: {BODY_BYTES_MAX} bytes is the limit"
            return problem(asked, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        host = headers.get("host", "")
        # The page that says so has a style sheet, which is the same for everybody.
        if _name(host) not in self._rules.hosts and not path.startswith(_STATIC):
            detail = (
                f"{host!r:.80} is not a name that this is served under: take the address that"
                " queuectl web prints; its --allow-host adds a name"
            )
            return problem(asked, HTTPStatus.MISDIRECTED_REQUEST, detail)
        is_safe = scope["method"] in _SAFE
        if _is_foreign(headers, host, is_safe):
            detail = "this was asked for by a page of another site: go on from a page of this one"
            return problem(asked, HTTPStatus.FORBIDDEN, detail)
        try:
            visitor = self._visitor(asked, is_safe)
        except PermissionError as error:
            return _unknown(asked, str(error))
        except QueuectlError as error:
            detail = "the server cannot read its tokens: queuectl web token list says why"
            return problem(asked, status_of(error), detail)
        if visitor is not None and self._rules.read_only:
            visitor = visitor._replace(role=VIEWER)
        scope["queuectl.visitor"] = visitor
        if path in _OPEN or path.startswith(_OPEN_BELOW):
            return None
        if visitor is None:
            if is_safe and "text/html" in headers.get("accept", ""):
                return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
            return _unknown(
                asked, "say who you are: by a token, or the link that queuectl web prints"
            )
        if not is_safe and not visitor.may(SUBMITTER):
            detail = (
                "nobody can change anything here: this server was started with --read-only"
                if self._rules.read_only
                else f"you are {visitor.role}, and may only look: use a token with another role"
            )
            return problem(asked, HTTPStatus.FORBIDDEN, detail)
        return None

    def _visitor(self, asked: HTTPConnection, is_safe: bool) -> Visitor | None:
        """Raises `PermissionError` where somebody claims to be one they are not."""
        given = asked.headers.get("authorization")
        if given is not None:
            kind, _, made = given.partition(" ")
            visitor = self._rules.tokens.find(made.strip())
            if kind.lower() != "bearer" or visitor is None:
                raise PermissionError("this token is not known: queuectl web token add makes one")
            return visitor
        if self._rules.open:
            return Visitor("", ADMIN)
        made = asked.cookies.get(cookie_name(asked), "")
        visitor = self._rules.sessions.find(made) if made else None
        if visitor is not None and not is_safe and not _says_where_from(asked.headers):
            # Every browser says it; and only browsers have cookies.
            raise PermissionError("a cookie alone is not enough to change anything: send a token")
        return visitor


def _unknown(asked: HTTPConnection, why: str) -> Response:
    answer = problem(asked, HTTPStatus.UNAUTHORIZED, why)
    answer.headers["www-authenticate"] = "Bearer"
    return answer


def _name(host: str) -> str:
    """A host without its port, in lower case; empty for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _says_where_from(headers: Mapping[str, str]) -> bool:
    return "sec-fetch-site" in headers or "origin" in headers


def _is_foreign(headers: Headers, host: str, is_safe: bool) -> bool:
    """Whether a page of another site has made a browser ask: another port is another site, too."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        # Following a link to here is all that others may have people do.
        follows = headers.get("sec-fetch-mode") == "navigate"
        return not (is_safe and follows and headers.get("sec-fetch-dest") == "document")
    origin = headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:  # such as http://[, which no page is at
        return True
