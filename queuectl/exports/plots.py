"""Reports as pictures, drawn by matplotlib."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from datetime import datetime
from types import ModuleType
from typing import Any

from queuectl.errors import not_installed
from queuectl.exports.target import Target
from queuectl.projections.reports import RATE, Report

FORMS = {".svg": "svg", ".png": "png"}
"""By the ending of a file."""
_WIDTH_INCHES = 9
_HEIGHT_INCHES = 3
_LABEL_CHARACTERS = 60
_FEW = 100
"""Of so many points each is marked: one alone makes no line."""
_STYLE = {
    "svg.hashsalt": "queuectl",  # the same input gives the same bytes
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar in a command is no formula
}


def draw(reports: Sequence[Report], target: Target, form: str) -> None:
    """Make the picture of some reports, one below the other; `form` is one of `FORMS`."""
    matplotlib = _library()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A command may have characters that the font has not.
        warnings.simplefilter("ignore")
        size = (_WIDTH_INCHES, _HEIGHT_INCHES * len(reports))
        page = matplotlib.figure.Figure(figsize=size, layout="constrained")
        all_axes = page.subplots(len(reports), squeeze=False)[:, 0]
        for axes, report in zip(all_axes, reports, strict=True):
            _plot(matplotlib, axes, report)
        page.savefig(target.making, format=form, metadata={"Date": None} if form == "svg" else None)


def _library() -> ModuleType:
    # It would tell of its cache of fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib.dates
        import matplotlib.figure
        import matplotlib.ticker
    except ModuleNotFoundError:
        raise not_installed("a picture needs matplotlib", "report", "matplotlib") from None
    return matplotlib


def _plot(matplotlib: ModuleType, axes: Any, report: Report) -> None:
    times = [datetime.fromisoformat(time) for time in report.times]
    lines = []
    for series in report.series:
        values = [math.nan if value is None else value for value in series.values]
        lines += axes.plot(times, values, marker="." if len(times) < _FEW else None)
    axes.set_title(report.title, loc="left")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    locator = matplotlib.dates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(matplotlib.dates.ConciseDateFormatter(locator))
    axes.set_xlabel("UTC", loc="left")
    if report.unit == RATE:
        axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    else:
        axes.set_ylabel(report.unit)
    if lines:
        # A label that begins with _ would be left out.
        labels = [f" {_label(series.name)}" for series in report.series]
        axes.legend(lines, labels, loc="upper left", fontsize="small")


def _label(name: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in name)
    return text if len(text) <= _LABEL_CHARACTERS else text[: _LABEL_CHARACTERS - 1] + "…"
