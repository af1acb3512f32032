"""Documents as JSON, the same by every face."""

from __future__ import annotations

import orjson


def encoded(document: object, option: int = 0) -> bytes:
    """A document in JSON; `option` is one of orjson."""
    try:
        return orjson.dumps(document, option=option)
    except TypeError:
        # orjson refuses the name of a file that is not UTF-8, and numbers beyond 64 bits.
        import json

        return json.dumps(document).encode()
