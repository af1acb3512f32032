"""Tables and colours for terminals, readable without either."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import IO

_COLOURS = {
    "pending": "cyan",
    "processing": "blue",
    "completed": "green",
    "failed": "yellow",
    "dead": "red",
    "cancelled": "magenta",
}


def wants_colour(choice: str, stream: IO[str]) -> bool:
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def state_name(state: str, colour: bool) -> str:
    if not colour:
        return state
    import click

    return click.style(state, fg=_COLOURS.get(state))


def columns(rows: Iterable[Sequence[str]], titles: Sequence[str]) -> str:
    """A plain table: columns parted by two blanks, no lines; safe text expected."""
    table = [titles, *rows]
    widths = widths_of(table)
    return "\n".join(aligned(row, widths) for row in table)


def widths_of(table: Sequence[Sequence[str]]) -> list[int]:
    """How wide the columns of a table are, but for the last."""
    import click

    return [
        max(len(click.unstyle(row[index])) for row in table) for index in range(len(table[0]) - 1)
    ]


def aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table with columns as wide as that, at least."""
    import click

    cells = [
        cell + " " * (width - len(click.unstyle(cell)))
        for cell, width in zip(row, widths, strict=False)
    ]
    return "  ".join([*cells, row[-1]]).rstrip()
