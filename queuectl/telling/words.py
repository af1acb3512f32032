"""Words for people: safe wherever they are shown, in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from queuectl.quantities import format_duration

# DEL, C1, line separators, what can turn the direction of text around, and halves of characters.
_ALWAYS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[\x00-\x1f{_ALWAYS}]")
_UNSAFE_IN_OUTPUT = re.compile(f"[\x00-\x08\x0b-\x1f{_ALWAYS}]")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {9: r"\t", 10: r"\n", 13: r"\r"}
    return named.get(code) or (rf"\x{code:02x}" if code < 256 else rf"\u{code:04x}")


def printable(text: str) -> str:
    """One line without anything a terminal would obey."""
    return _UNSAFE.sub(_escaped, text)


def printable_output(text: str) -> str:
    """The same for what a job has printed: lines and tabs stay."""
    return _UNSAFE_IN_OUTPUT.sub(_escaped, text)


def printable_json(text: str) -> str:
    """The same for a JSON document, which stays the same document."""
    return _UNSAFE_IN_OUTPUT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def shorten(text: str, width: int | None) -> str:
    """One safe line of at most `width` characters; None for as many as there are."""
    text = printable(text)
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def bar(figures: Sequence[int]) -> str:
    """Figures as blocks of eight heights, the highest for the largest; nothing is a blank."""
    highest = max(figures, default=0) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[-(-figure * 8 // highest)] for figure in figures)


def ago(ms: int) -> str:
    """How long ago, in the largest two units: `3m12s ago`."""
    if ms < 1000:
        return "just now"
    seconds = ms // 1000
    if seconds >= 86_400:
        seconds -= seconds % 3600
    elif seconds >= 3600:
        seconds -= seconds % 60
    return f"{format_duration(seconds * 1000)} ago"


def counted(number: int, noun: str) -> str:
    """`1 job`, `3 jobs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def number(value: float) -> str:
    """A number to three digits, but never rounded before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def seconds(ms: float) -> str:
    """A measured time for people: `850ms`, `2.4s`, `1h3m`."""
    if ms >= 60_000:
        return format_duration(round(ms / 1000) * 1000)
    return f"{ms / 1000:.3g}s" if ms >= 1000 else f"{number(ms)}ms"
