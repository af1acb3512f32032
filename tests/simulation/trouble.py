"""What goes wrong on the simulated machine, by chance: now, or at a process's next call of a kind.

Knows nothing of logs or jobs.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Sequence
from random import Random

from host import failed
from machine import Machine, Process

KINDS = {
    "error": 4,
    "kill": 2,
    "power": 2,
    "stop": 2,
    "short": 2,
    "full": 1,
    "term": 1,
    "clock": 1,
}
"""What can go wrong, and how often beside the others."""
_ERRORS: dict[str, tuple[int, ...]] = {
    "open": (errno.EMFILE, errno.EIO, errno.ENOSPC),
    "read_at": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EDQUOT, errno.EIO),
    "write_at": (errno.ENOSPC, errno.EIO),
    "fdatasync": (errno.EIO, errno.ENOSPC),
    "sync_directory": (errno.EIO,),
    "truncate": (errno.EIO,),
    "rename": (errno.EIO, errno.ENOSPC),
    "unlink": (errno.EIO,),
    "reserve": (errno.ENOSPC, errno.EDQUOT),
    "make_directory": (errno.ENOSPC, errno.EIO),
    "spawn": (errno.EAGAIN, errno.ENOMEM),
}
_SYNCS = ("fdatasync", "sync_directory")
_MOMENTS = (*_ERRORS, *_SYNCS, "lock", "unlock", "reap", "kill", "wait", "close", "names")
"""Calls at which a process is killed or stopped, or the power goes."""
_EARLIEST_US = 1_000_000_000_000
"""No clock starts much before 1970."""


class Trouble:
    """Makes trouble of some `kinds`."""

    def __init__(self, machine: Machine, chance: Random, kinds: Sequence[str]) -> None:
        self.counts = dict.fromkeys((*KINDS, "restart"), 0)
        """What has gone wrong so far."""
        self.latest_us = machine.wall_us
        """The latest time that any clock has shown, as `wall_us`."""
        self._machine = machine
        self._chance = chance
        self._make = [getattr(self, f"_{kind}") for kind in kinds for _ in range(KINDS[kind])]

    def __call__(self) -> None:
        self._chance.choice(self._make)()

    def _somebody(self) -> Process:
        return self._chance.choice(self._machine.living())

    def _sometime(self, process: Process, action: Callable[[], None]) -> None:
        """Now, or at a call where it may matter more."""
        if self._chance.random() < 0.3:
            action()
        else:
            process.armed[self._chance.choice(_MOMENTS)] = action

    def _kill(self) -> None:
        victim = self._somebody()

        def kill() -> None:
            if not victim.dead:
                self.counts["kill"] += 1
                self._machine.end(victim, signal.SIGKILL)

        self._sometime(victim, kill)

    def _power(self) -> None:
        self._sometime(self._somebody(), self._cut_power)

    def _cut_power(self) -> None:
        if self._machine.trouble:
            below = self._chance.random() < 0.3
            self.counts["restart" if below else "power"] += 1
            self._machine.restart(below=below)

    def _power_soon(self) -> None:
        """What was lost shows when the memory of the machine is gone."""
        fate = self._chance.random() if self._power in self._make else 1.0
        if fate < 0.3:
            soon_us = self._machine.now_us + self._chance.randrange(20_000)
            self._machine.at(soon_us, self._cut_power)
        elif fate < 0.7:
            self._machine.armed["fdatasync"] = self._cut_power

    def _error(self) -> None:
        chance = self._chance
        victim = self._somebody()
        call = chance.choice(_SYNCS if chance.random() < 0.3 else tuple(_ERRORS))
        code = chance.choice(_ERRORS[call])

        def fail() -> None:
            self.counts["error"] += 1
            victim.errors += 1
            if call in _SYNCS:
                self._power_soon()
            raise failed(code)

        victim.armed[call] = fail

    def _short(self) -> None:
        victim = self._somebody()

        def cut() -> None:
            self.counts["short"] += 1
            victim.errors += 1
            victim.cut_write = self._chance.choice(("short", "short", "killed"))
            self._power_soon()

        victim.armed["write"] = cut

    def _stop(self) -> None:
        victim = self._somebody()

        def stop() -> None:
            if not victim.dead:
                self.counts["stop"] += 1
                us = self._chance.choice((1000, 300_000, 3_000_000, 60_000_000))
                self._machine.stop(victim, us)

        self._sometime(victim, stop)

    def _clock(self) -> None:
        self.counts["clock"] += 1
        machine = self._machine
        jump_s = self._chance.choice((1, 60, 86_400, 315_360_000)) * self._chance.choice((-1, 1))
        machine.wall_us = max(_EARLIEST_US, machine.wall_us + jump_s * 1_000_000)
        self.latest_us = max(self.latest_us, machine.wall_us)

    def _term(self) -> None:
        victim = self._somebody()
        if not victim.dead:
            self.counts["term"] += 1
            self._machine.signal(victim, signal.SIGTERM)

    def _full(self) -> None:
        self.counts["full"] += 1
        disk = self._machine.disk
        room = self._chance.choice((0, 300, 5000, 1 << 20, 4 << 20, 1 << 40))
        disk.capacity = disk.capacity - disk.free + room
