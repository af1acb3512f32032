"""The torture suite's seed, and its table of counts at the end of a run; knows no test."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import Any

SEED = os.environ.get("TORTURE_SEED", "1")
"""Another seed tries other cases; the same one tries the same again."""
_PROPERTY = "tally"


class Tally:
    """What one test has tried, told as (what, how many or how much)."""

    def __init__(self, properties: list[tuple[str, Any]], name: str) -> None:
        # Along the test's report, so that it reaches the summary from another process, too.
        self._properties = properties
        self._name = name
        self._sums: dict[str, int] = {}

    def add(self, what: str, count: int) -> None:
        """Count on."""
        self._sums[what] = self._sums.get(what, 0) + count
        told = [row for row in self._properties if row[0] != _PROPERTY or row[1][1] != what]
        self._properties[:] = told
        self(what, self._sums[what])

    def __call__(self, what: str, count: int | str) -> None:
        self._properties.append((_PROPERTY, [self._name, what, str(count)]))


def chance(name: str) -> random.Random:
    """Chance for the test of that name."""
    return random.Random(f"{SEED} {name}")


def rows(reports: Iterable[Any]) -> list[list[str]]:
    """[test, what, how many] of everything that was told, in the order of the tests' names."""
    told = [
        row
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, row in report.user_properties
        if name == _PROPERTY
    ]
    return sorted(told, key=lambda row: row[0])


def table(told: list[list[str]]) -> list[str]:
    """Lines to print."""
    widths = [max(len(row[column]) for row in told) for column in range(3)]
    return [
        f"{name if name != before else '':{widths[0]}}  {what:{widths[1]}}  {count:>{widths[2]}}"
        for before, (name, what, count) in zip(["", *(row[0] for row in told)], told, strict=False)
    ]
