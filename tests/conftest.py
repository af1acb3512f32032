"""What every room of the tests shares: a host whose clock stands until a test moves it."""

from __future__ import annotations

import pytest
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
