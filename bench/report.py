"""The table, for the terminal and for `docs/performance.md`; knows no measuring."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version

from bench.measure import Result, Row
from queuectl.host import Host

_HEAD = ("row", "what", "ours", "reference", "ratio", "spread", "goal", "met")
_BEGIN = "<!-- written by hand: kept when this page is written anew -->"
_END = "<!-- end of what is written by hand -->"
_HAND = "## Where the time goes\n\nNobody has written this yet.\n"


def cells(row: Row, result: Result) -> tuple[str, ...]:
    """One line of the table."""
    ratios = result.ratios
    sign = "≥" if row.is_rate else "≤"
    goal = f"{sign} {row.goal:g} {row.unit}" if row.absolute else f"{sign} {row.goal:g} ×"
    return (
        row.name,
        row.work,
        _figure(result.ours, row.unit),
        _figure(result.reference, row.unit),
        f"{result.ratio:.3g}",
        f"{ratios[0]:.3g}…{ratios[-1]:.3g}",
        goal,
        "met" if row.is_met(result) else "not met",
    )


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def text(lines: Sequence[tuple[str, ...]]) -> str:
    """The table for a terminal."""
    # What is measured stands in the page; a terminal has no room for it.
    rows = [line[:1] + line[2:] for line in (_HEAD, *lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def page(measured: Sequence[tuple[Row, Result]], place: str, today: str, before: str) -> str:
    """`docs/performance.md`; `before` is what it held, for the part written by hand."""
    kept = re.search(f"{_BEGIN}\n(.*){_END}", before, re.DOTALL)
    table = [_HEAD, ("---",) * len(_HEAD), *(cells(row, result) for row, result in measured)]
    notes = [
        f"- **{row.name}**: against {row.reference}; {len(result.pairs)} pairs; {result.note}."
        for row, result in measured
    ]
    return f"""# Performance

Written by `make bench` (`python -m bench --write`); do not edit by hand but for the last part.

{_machine(place, today)}

Every row is measured against a reference in the same run: ours and the reference in turn, so that
both see the same disk and the same neighbours. Figures are medians; the ratio is the median of the
ratios of neighbouring pairs, and the spread is the lowest and highest of them. Rates (`/s`) are
better high, times are better low. "Durable" means that every append is followed by `fdatasync`
before it is acknowledged. Only ratios compare from one machine, or one day, to another.

{chr(10).join("| " + " | ".join(line) + " |" for line in table)}

{chr(10).join(notes)}

{_BEGIN}
{kept[1] if kept else _HAND}{_END}
"""


def _machine(place: str, today: str) -> str:
    lines = [
        f"- {today}",
        f"- {_processor()}, {os.cpu_count()} cores",
        f"- {platform.system()} {platform.release()}",
        f"- Python {platform.python_version()} ({sys.implementation.name}),"
        f" orjson {version('orjson')}, msgspec {version('msgspec')}, huey {version('huey')}",
        f"- data on {Host().file_system(place) or 'an unknown file system'}",
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"model name\s*: (.*)", file.read())[1]  # type: ignore[index]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()
