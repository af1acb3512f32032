"""Durations and sizes as people write them; knows nothing of what they are for."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.IGNORECASE)
_DURATION_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
DURATION_MS_MAX = 100 * 366 * 86_400_000


def parse_duration_ms(value: str | float, bare_ms: int = 1000) -> int:
    """`500ms`, `30s`, `5m`, `1h30m`, `2d`, or a bare number of seconds, as milliseconds.

    `bare_ms` is what a bare number counts. Raises `ValueError` for anything else, negative ones
    included.
    """
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except ValueError:
        number = _parse_units_ms(str(value).strip())
    else:
        number *= bare_ms
    if not math.isfinite(number) or not 0 <= number <= DURATION_MS_MAX:
        raise ValueError("a duration is from 0 to 100 years")
    return round(number)


def _parse_units_ms(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("a duration looks like 500ms, 30s, 5m, 1h30m or 2d")
    return sum(float(number) * _DURATION_MS[unit.lower()] for number, unit in parts)


def format_duration(ms: float) -> str:
    """The shortest exact way to write a duration: `1h30m`, `2s`, `350ms`."""
    left = round(ms)
    if left % 1000 and left > 1000 and left < 60_000:
        return f"{left / 1000:g}s"
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, _DURATION_MS[unit])
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def parse_size(value: str | int) -> int:
    """`64M`, `1GiB`, `100k` or a bare number of bytes; units count by 1024.

    Raises `ValueError` for anything else.
    """
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size looks like 4096, 100k, 64M or 1GiB")
    number, unit, _ = match.groups()
    size = float(number) * (1 << 10 * " kmgt".index(unit.lower() or " "))
    if size > 1 << 50:
        raise ValueError("a size is at most 1024 TiB")
    return round(size)


def format_size(size: int) -> str:
    """Bytes for people: `16MiB`, `1.5KiB`, `12B`."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.4g}{unit}"
        number /= 1024
    return f"{number:.4g}TiB"
