"""The real code on a simulated machine, where everything goes wrong: nothing promised is broken."""

from __future__ import annotations

import inspect

import pytest
import world
from bugs import BUGS, Bug
from host import SimulatedHost

from queuectl.host import Host

_SEEDS = 400
_SHARES = 8
_BUG_SEEDS_MAX = 2000


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    with bug(), pytest.raises(Exception):  # noqa: B017 - whatever gives it away
        for seed in range(_BUG_SEEDS_MAX):
            world.run(seed)


@pytest.mark.parametrize("share", range(_SHARES))
def test_no_seed_breaks_a_promise(share: int) -> None:
    for seed in range(share, _SEEDS, _SHARES):
        world.run(seed)


def test_the_same_seed_is_the_same_run() -> None:
    first, second = world.run(7), world.run(7)
    assert first.machine.calls == second.machine.calls
    assert first.oracle.history == second.oracle.history


def test_nothing_goes_past_the_simulated_door() -> None:
    doors = {name for name, _ in inspect.getmembers(Host) if not name.startswith("_")}
    missing = {name for name in doors if getattr(SimulatedHost, name) is getattr(Host, name)}
    # It asks only what is simulated.
    assert missing == {"network_file_system"}
