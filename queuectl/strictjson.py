"""JSON from others: refused where two programs could read it as two things, or one not at all."""

from __future__ import annotations

import json
from typing import Any

from queuectl.errors import Invalid

_DIGITS_MAX = 100


def parse(text: str, where: str = "") -> Any:
    """What `text` says. Raises `Invalid`, beginning with `where`."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
        )
    except json.JSONDecodeError as error:
        raise Invalid(f"{where}invalid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise Invalid(f"{where}invalid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise Invalid(f"{where}invalid JSON: {error}") from None


def decoded(data: bytes, where: str = "") -> str:
    """Bytes as text. Raises `Invalid`, beginning with `where`."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{where}it is not valid UTF-8 at byte {error.start + 1}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return fields


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _bounded_int(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(digits)} digits is too large")
    return int(digits)
