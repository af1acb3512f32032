"""What a run would have been like that history does not have: drawn from those that it has."""

from __future__ import annotations

from functools import cached_property
from random import Random

from queuectl.domain.fingerprint import command_shape
from queuectl.whatif.recording import CUT, LOST, RELEASED, Recording, Run

_Kind = tuple[str, bool]
_UNENDED = (CUT, LOST, RELEASED)
_NOTHING = Run(1, 0, "")


class Likely:
    """Draws runs: of the same kind of command, first runs like first runs and retries like retries;
    where there are none, of the same kind of command; and else of all."""

    def __init__(self, recording: Recording, seed: int) -> None:
        self._recording = recording
        self._seed = seed

    def chance(self, key: str, round: int, number: int, what: str) -> Random:
        """For one thing about one run of a job: the same whatever else happens, so that two
        simulations differ only by what was set otherwise."""
        return Random(f"{self._seed} {key} {round} {number} {what}")

    def draw(self, command: str, chance: Random, *, retry: bool) -> Run:
        """One run of a command; `retry` says whether one has failed before it in its round."""
        shape = command_shape(command)
        pools = self._pools
        pool = pools.get((shape, retry)) or pools.get((shape, not retry)) or self._all
        return chance.choice(pool) if pool else _NOTHING

    @cached_property
    def _pools(self) -> dict[_Kind, list[Run]]:
        """Made when the first one is drawn: most simulations draw few or none."""
        pools: dict[_Kind, list[Run]] = {}
        for recorded in self._recording.jobs.values():
            ended = [run for runs in recorded.rounds for run in runs if run.how not in _UNENDED]
            if ended:
                shape = command_shape(recorded.spec.command)
                for run in ended:
                    pools.setdefault((shape, run.attempt > 1), []).append(run)
        return pools

    @cached_property
    def _all(self) -> list[Run]:
        return [run for pool in self._pools.values() for run in pool]
