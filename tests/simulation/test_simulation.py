"""The real code on a simulated machine, where everything goes wrong: nothing promised is broken."""

from __future__ import annotations

import inspect
import re
import time
from pathlib import Path
from random import Random

import pytest
import tallies
import world
from bugs import BUGS, Bug
from host import SimulatedHost
from oracle import Violation

from queuectl.errors import QueuectlError
from queuectl.host import Host

_SEEDS = 2000
_SHARES = 8
_CALLS = 400
_CALLS_MANY = 3000
"""For a seed now and then, in the long run: short ones are more, long ones go further."""
_BUG_SEEDS_MAX = 4000
_LONG_SEEDS = 100_000
_LONG_S = 240


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    # Not by any exception: a bug that is planted wrongly must not count as caught.
    with bug(), pytest.raises((Violation, QueuectlError, OSError)):
        for seed in range(_BUG_SEEDS_MAX):
            world.run(seed, storm=BUGS[bug])


@pytest.mark.parametrize("share", range(_SHARES))
def test_no_seed_breaks_a_promise(share: int) -> None:
    for seed in range(share, _SEEDS, _SHARES):
        world.run(seed, _CALLS)


def test_the_page_of_guarantees_names_every_planted_bug() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guarantees.md").read_text(encoding="utf-8")
    table = page.partition("| planted bug |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [bug.__name__ for bug in BUGS]


def test_the_same_seed_is_the_same_run() -> None:
    first, second = world.run(7), world.run(7)
    assert first.machine.calls == second.machine.calls
    assert first.oracle.history == second.oracle.history


def test_nothing_goes_past_the_simulated_door() -> None:
    doors = {name for name, _ in inspect.getmembers(Host) if not name.startswith("_")}
    missing = {name for name in doors if getattr(SimulatedHost, name) is getattr(Host, name)}
    asking = {"actor", "hold_within", "network_file_system", "write_all"}
    """These ask only what is simulated …"""
    exports = {"link", "make_private", "memory_file", "path_of"}
    ships = {"make_pipe", "make_watch", "run_on", "watch"}
    """… and these are for who exports, or ships in threads, which nobody does there."""
    assert missing == asking | exports | ships


@pytest.mark.torture
@pytest.mark.parametrize("half", [1, 2])
def test_a_hundred_thousand_seeds_break_no_promise(
    half: int, chance: Random, tally: tallies.Tally
) -> None:
    """Or as many as there is time for: other ones for another TORTURE_SEED."""
    start = chance.randrange(1 << 40)
    until = time.monotonic() + _LONG_S
    for seed in range(start, start + _LONG_SEEDS // 2):
        calls = _CALLS if seed % 10 else _CALLS_MANY
        for what, count in world.run(seed, calls).told().items():
            tally.add(what, count)
        if time.monotonic() > until:
            break
