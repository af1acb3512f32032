"""Anchors that are given on the command line: as they are, or in a file of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click

from queuectl.cli.parameters import F
from queuectl.errors import Invalid


def anchor_option(text: str) -> Callable[[F], F]:
    """`--anchor`, repeatable; `text` says what it is for."""
    return click.option("--anchor", "anchors", multiple=True, metavar="FILE|LINE", help=text)


def parse(given: Iterable[str]) -> list[Any]:
    """The anchors meant. Raises `Invalid`."""
    from queuectl.engines.file import anchors

    return [anchors.parse(line) for one in given for line in _lines(one)]


def _lines(anchor: str) -> list[str]:
    """The anchors in a file, or the one that was given itself."""
    if not os.path.exists(anchor):
        return [anchor]
    try:
        with open(anchor, encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"--anchor {anchor}: {getattr(error, 'strerror', '') or error}") from None
    if not lines:
        raise Invalid(f"--anchor {anchor}: the file is empty")
    return lines
