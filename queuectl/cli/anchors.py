"""Anchors that are given on the command line: as they are, or in a file of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click

from queuectl import strictjson
from queuectl.cli.files import content
from queuectl.cli.parameters import F
from queuectl.errors import Invalid, NotFound


def anchor_option(text: str) -> Callable[[F], F]:
    """`--anchor`, repeatable; `text` says what it is for."""
    return click.option("--anchor", "anchors", multiple=True, metavar="FILE|LINE", help=text)


def parse(given: Iterable[str]) -> list[Any]:
    """The anchors meant. Raises `Invalid`, and `NotFound` for a file that is not there."""
    from queuectl.engines.file import anchors

    return [anchors.parse(line) for one in given for line in _lines(one)]


def _lines(anchor: str) -> list[str]:
    """The anchors in a file, or the one that was given itself."""
    if not os.path.exists(anchor):
        if " " not in anchor:  # an anchor has blanks
            raise NotFound(f"--anchor {anchor}: there is no such file")
        return [anchor]
    text = strictjson.decoded(content(anchor), f"--anchor {anchor}: ")
    # Some editors put a mark before the first line.
    lines = [line for line in text.removeprefix("\ufeff").split("\n") if line.strip()]
    if not lines:
        raise Invalid(f"--anchor {anchor}: the file is empty")
    return lines
