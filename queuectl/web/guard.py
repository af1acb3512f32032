"""What every request has to pass, and what every answer says to browsers."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuectl.web.access import ADMIN, Visitor
from queuectl.web.problems import problem

_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Pure ASGI, so that what is streamed goes through as it comes."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal:
            await problem(HTTPStatus.FORBIDDEN, refusal)(scope, receive, sending)
            return
        scope["queuectl.visitor"] = Visitor("", ADMIN)
        await self._app(scope, receive, sending)

    def _refusal(self, scope: Scope) -> str:
        """Why the request is refused; empty where it is not."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if host not in self._hosts:
            return f"host {host!r:.80} is not served here"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and scope["method"] not in _SAFE:
            return "asked for by another site"
        return ""
