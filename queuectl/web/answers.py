"""Documents and plain pages as answers."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response

from queuectl.telling.encoding import encoded


def answer(document: Any, status: int = 200) -> Response:
    """A document, whole."""
    return Response(encoded(document), status, media_type="application/json")


def page(title: str, body: str, status: int = 200) -> Response:
    """A page for everybody, which tells nothing of the queue; `body` is HTML."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
        ' content="width=device-width, initial-scale=1"><meta name="color-scheme"'
        ' content="light dark"><link rel="icon" href="/static/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/style.css">'
        f"<title>{escape(title)} · queuectl</title></head><body>"
        '<header class="top"><span class="brand">queuectl</span></header>'
        f"<main><h1>{escape(title)}</h1>{body}</main></body></html>",
        status,
    )
