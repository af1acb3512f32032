"""What every room of the tests shares: a host whose clock stands until a test moves it, and the
counts of what was tried."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import tallies
from hosts import SteadyHost
from hypothesis import HealthCheck, settings

# The same examples every time: a red run can be run again, and a green one means the same.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        # One conformance suite, run by several engines; no example is kept to be replayed.
        HealthCheck.differing_executors,
    ],
)
settings.load_profile("house")


@pytest.fixture
def host() -> SteadyHost:
    return SteadyHost()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> tallies.Tally:
    return tallies.Tally(request.node.user_properties, request.node.name)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The same for the same TORTURE_SEED."""
    return tallies.chance(request.node.name)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    told = tallies.rows(itertools.chain.from_iterable(terminalreporter.stats.values()))
    if told:
        terminalreporter.section(f"what was tried (TORTURE_SEED={tallies.SEED})")
        for line in tallies.table(told):
            terminalreporter.write_line(line)
