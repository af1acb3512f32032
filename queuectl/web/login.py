"""Letting browsers in: by a one-time link, or by a token."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from queuectl.web.access import Sessions, Tokens, Visitor
from queuectl.web.answers import page
from queuectl.web.problems import problem

_FORM_BYTES_MAX = 4096
"""Strangers may send it, so it is no more than a token takes."""
_GONE = "this link was used before, or its time is over: queuectl web link makes another"
_FORM = (
    '<form method="post" action="/login" class="acts"><label>Token <input name="token"'
    ' type="password" autocomplete="current-password" autofocus required></label>'
    '<button class="first">Sign in</button></form>'
    "<p>Or open the link that <code>queuectl web link</code> prints.</p>"
)


def cookie_name(connection: HTTPConnection) -> str:
    """Browsers send a cookie to every port of a host: so each port has its own."""
    server = connection.scope.get("server")
    return f"queuectl-{server[1] if server else 0}"


class Login:
    """The doors."""

    def __init__(self, tokens: Tokens, sessions: Sessions) -> None:
        self._tokens = tokens
        self._sessions = sessions

    def routes(self) -> list[BaseRoute]:
        """All of them; open to everybody."""
        return [
            Route("/login", self._ask, methods=["GET"]),
            Route("/login", self._by_token, methods=["POST"]),
            Route("/login/{link}", self._by_link, methods=["GET"]),
            Route("/logout", self._leave, methods=["POST"]),
        ]

    def _ask(self, request: Request) -> Response:
        return page("Sign in", _FORM)

    def _by_link(self, request: Request) -> Response:
        # Whoever only looks whether there is something must not use it up.
        if request.method == "HEAD":
            return Response()
        visitor = self._tokens.take(request.path_params["link"])
        if visitor is None:
            return page("Sign in", f"<p>{_GONE}</p>{_FORM}", HTTPStatus.FORBIDDEN)
        return self._let_in(request, visitor)

    async def _by_token(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _FORM_BYTES_MAX:
                too_large = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                return problem(request, too_large, "that is too long for a token")
        fields = parse_qs(body.decode(errors="replace"))
        visitor = self._tokens.find(fields.get("token", [""])[0].strip())
        if visitor is None:
            return page("Sign in", f"<p>This token is not known.</p>{_FORM}", HTTPStatus.FORBIDDEN)
        return self._let_in(request, visitor)

    def _let_in(self, request: Request, visitor: Visitor) -> Response:
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            cookie_name(request),
            self._sessions.begin(visitor),
            httponly=True,
            # It comes along where somebody follows a link of another site, which is to look, and
            # with nothing else that such a site makes a browser do.
            samesite="lax",
            # Told by whoever takes care of TLS before us; a lie would only hurt who tells it.
            secure=request.headers.get("x-forwarded-proto") == "https",
        )
        return answer

    def _leave(self, request: Request) -> Response:
        name = cookie_name(request)
        if name not in request.cookies:
            return problem(request, HTTPStatus.UNAUTHORIZED, "you were not signed in")
        self._sessions.end(request.cookies[name])
        answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        answer.delete_cookie(name, httponly=True, samesite="lax")
        return answer
