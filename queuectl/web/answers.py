"""Documents and plain pages as answers."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from queuectl.telling.encoding import encoded


def answer(document: Any, status: int = 200) -> Response:
    """A document, whole."""
    return Response(encoded(document), status, media_type="application/json")


def page(title: str, body: str, status: int = 200, *, refresh: str = "") -> Response:
    """A page that needs nothing else; `body` is HTML."""
    then = f'<meta http-equiv="refresh" content="0; url={escape(refresh)}">' if refresh else ""
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme"'
        f' content="light dark">{then}<title>{escape(title)} · queuectl</title>'
        f"<main><h1>{escape(title)}</h1>{body}</main></html>",
        status,
    )
