"""What a measurement is: ours and a reference in turn, many times, so that both see the same disk.

The disk and the machine change from minute to minute; only what was taken side by side compares.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple


class Run(NamedTuple):
    """One run of the benchmarks."""

    place: str
    """A directory of its own on the disk to be measured."""
    quick: bool
    """Fewer and smaller repetitions: to see that it works, not to be quoted."""

    def fresh(self, name: str) -> str:
        """A path under `place` where nothing is yet. Nothing is ever deleted here: on a disk
        mounted with `discard` the deletion of much slows the syncs of whoever comes next."""
        number = 1
        while os.path.exists(path := os.path.join(self.place, f"{name}-{number}")):
            number += 1
        return path

    def times(self, full: int, quick: int) -> int:
        return quick if self.quick else full


class Pair(NamedTuple):
    """One measurement of each, taken one after the other."""

    ours: float
    reference: float


class Result(NamedTuple):
    """What a row came to."""

    pairs: list[Pair]
    note: str = ""

    @property
    def ours(self) -> float:
        return median(pair.ours for pair in self.pairs)

    @property
    def reference(self) -> float:
        return median(pair.reference for pair in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """Per pair; rising."""
        return sorted(pair.ours / pair.reference for pair in self.pairs)

    @property
    def ratio(self) -> float:
        return median(self.ratios)


class Row(NamedTuple):
    """One line of the table."""

    name: str
    work: str
    reference: str
    unit: str
    """`…/s` for rates, where more is better; anything else is less the better."""
    goal: float
    absolute: bool
    """The goal is for our own figure, and not for the ratio."""
    measure: Callable[[Run], Result]

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    def is_met(self, result: Result) -> bool:
        figure = result.ours if self.absolute else result.ratio
        return figure >= self.goal if self.is_rate else figure <= self.goal


def alternate(times: int, ours: Callable[[], float], reference: Callable[[], float]) -> list[Pair]:
    """Both in turn, `times` times; each returns its own figure."""
    pairs = []
    for index in range(times):
        # The other one first every second time, so that neither always meets a disk at rest.
        if index % 2:
            figure = reference()
            pairs.append(Pair(ours(), figure))
        else:
            figure = ours()
            pairs.append(Pair(figure, reference()))
    return pairs


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def queuectl(*arguments: str) -> list[str]:
    """The command line of this checkout's queuectl, in this interpreter."""
    return [sys.executable, "-m", "queuectl", *arguments]


@contextmanager
def appending(path: str) -> Iterator[int]:
    """A new file to append to by hand, as the raw references do."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
