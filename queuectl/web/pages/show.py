"""How figures and times are written on pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queuectl import instants
from queuectl.quantities import format_size
from queuectl.telling import words


def number(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def duration(ms: int | None) -> str:
    """`2.4s`; nothing for what is not known."""
    return "" if ms is None else words.seconds(ms)


def ago(at: str, now: str) -> str:
    """`3m12s ago`, or `in 3m12s`."""
    if at > now:
        return f"in {words.seconds(instants.between_ms(now, at))}"
    return words.ago(instants.between_ms(at, now))


def since(at: str, now: str) -> str:
    """For how long: `3m12s`."""
    return words.seconds(instants.between_ms(at, now))


def clock(at: str) -> str:
    """`2026-11-22 14:00:03`: to the second, in UTC."""
    return at[:19].replace("T", " ")


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "duration": duration,
    "ago": ago,
    "since": since,
    "clock": clock,
    "size": format_size,
    "safe_line": words.printable,
    "counted": words.counted,
}
