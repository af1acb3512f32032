"""Lines over time drawn with blocks, for any terminal and any pipe."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from queuectl.projections.reports import Report, Series
from queuectl.telling.words import printable, shorten

_HEIGHT = 4
_WIDTH = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"


def drawn(report: Report, show: Callable[[float], str]) -> list[str]:
    """The series of a report, one above the other, each with its own scale; `show` makes a figure
    text. What there is nothing to tell of is left blank, and a point is a 0."""
    columns = max(1, _WIDTH // len(report.times))
    lines = []
    for series in report.series:
        highest = max((value for value in series.values if value is not None), default=0.0)
        lines.append(f"{shorten(printable(series.name), 70)}, up to {show(highest)}")
        lines += _bars(series, highest, columns)
    first, last = (time[:16].replace("T", " ") for time in (report.times[0], report.times[-1]))
    width = columns * len(report.times)
    lines.append(f"{first:<{max(0, width - 16)}}{last if len(report.times) > 1 else ''}")
    return lines


def _bars(series: Series, highest: float, columns: int) -> list[str]:
    eighths = [_eighths(value, highest) for value in series.values]
    rows = []
    for level in reversed(range(_HEIGHT)):
        cells = []
        for height in eighths:
            if height is None:
                cells.append(" " * columns)
            elif height == 0:
                cells.append(("·" if level == 0 else " ") * columns)
            else:
                cells.append(_BLOCKS[min(max(height - level * 8, 0), 8)] * columns)
        rows.append("".join(cells).rstrip())
    return [row for number, row in enumerate(rows) if row or number == _HEIGHT - 1]


def _eighths(value: float | None, highest: float) -> int | None:
    """How many eighths of a line high; the smallest is seen."""
    if value is None:
        return None
    return ceil(value * _HEIGHT * 8 / highest) if highest else 0
