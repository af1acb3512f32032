"""Documents as answers."""

from __future__ import annotations

import json
from typing import Any

import orjson
from starlette.responses import Response


def encoded(document: Any) -> bytes:
    """A document in JSON."""
    try:
        return orjson.dumps(document)
    except TypeError:
        # orjson refuses the name of a file that is not UTF-8, and numbers beyond 64 bits.
        return json.dumps(document).encode()


def answer(document: Any, status: int = 200) -> Response:
    """A document, whole."""
    return Response(encoded(document), status, media_type="application/json")
