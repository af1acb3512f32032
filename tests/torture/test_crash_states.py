"""A power cut at every call of recorded processes, with everything that it may leave of unsynced
files and names: nothing acknowledged is missing, and the log goes on."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import crashes
import pytest
import scenes
from crashes import Disk, State
from filelogs import FileLog
from hosts import OtherBoot, SteadyHost
from tallies import Tally
from tracing import operations, trace

from queuectl.engines.file.verify import verify
from queuectl.errors import Damaged
from queuectl.events.log import Batch
from queuectl.events.vocabulary import JobEnqueued

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
Told = list[tuple[int, str]]
"""(offset, job)."""


class AfterAll(OtherBoot):
    """The machine after the power cut: a boot that no process before it has seen."""


class Checker:
    """Lays states out as files and lets the real log open them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.seen: set[bytes] = set()
        self.refused = 0
        """States that were taken for damage, though nobody had been told what is missing."""

    def lay(self, state: State, root: str) -> Path:
        shutil.rmtree(self.place, ignore_errors=True)
        for path, content in state.items():
            target = self.place / os.path.relpath(path, root)
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        return self.place / "log"

    def check(
        self,
        state: State,
        root: str,
        told: Told,
        boot: type[SteadyHost],
        *,
        may_refuse: bool = False,
    ) -> None:
        """Open a state that was not seen yet, and go on in it."""
        key = hashlib.sha256(repr((sorted(state.items()), boot)).encode()).digest()
        if key in self.seen:
            return
        self.seen.add(key)
        directory = self.lay(state, root)
        if not directory.exists():
            assert told == []
            return
        before, damage = self._read(directory, boot)
        missing = set(told) - set(before)
        assert not missing, missing
        if damage is not None:
            assert may_refuse, damage
            self.refused += 1
            return
        log = FileLog(str(directory), boot())
        (event,) = log.append([Batch([JobEnqueued(job="new", command="true")], {"new": 0})])
        after, _ = self._read(directory, boot)
        # Mending may accept whole batches that nobody was shown yet, and never takes one away.
        assert after[: len(before)] == before
        assert after[-1] == (event.offset, "new")
        assert [offset for offset, _ in after] == list(range(1, event.offset + 1))
        assert not set(told) - set(after)
        assert verify(FileLog(str(directory), boot())).head == event.offset

    def _read(self, directory: Path, boot: type[SteadyHost]) -> tuple[Told, Damaged | None]:
        found: Told = []
        try:
            for piece in FileLog(str(directory), boot()).read():
                found += [(event.offset, event.job) for event in piece]  # type: ignore[attr-defined]
        except Damaged as damage:
            return found, damage
        return found, None

    def crash_everywhere(
        self, recorded: Iterable[crashes.Operation], root: str, chance: random.Random
    ) -> int:
        """Cut the power, or kill all, after each operation; returns how many there were."""
        disk = Disk(root)
        count = 0
        for operation in recorded:
            disk.do(operation)
            count += 1
            told = [(int(line.split()[0]), line.split()[1]) for line in disk.acknowledged]
            self.check(disk.killed(), root, told, SteadyHost)
            for state in disk.crashed(chance):
                self.check(state, root, told, AfterAll)
            for state in disk.holed():
                self.check(state, root, told, AfterAll, may_refuse=True)
        return count


@pytest.mark.torture
@pytest.mark.parametrize("scene", scenes.SCENES)
def test_power_cuts_at_every_call_of_real_processes(
    tmp_path: Path, ram: Path, scene: str, chance: random.Random, tally: Tally
) -> None:
    place, told = tmp_path / "data", tmp_path / "told"
    place.mkdir(mode=0o700)
    argv = [sys.executable, scenes.__file__, scene, str(place), str(told)]
    lines = trace(argv, tmp_path / "trace", env=ENV)
    recorded = list(operations(lines, str(place), str(told)))
    assert len([it for it in recorded if isinstance(it, crashes.Acknowledge)]) > 20
    checker = Checker(ram / "data")
    tally("calls recorded", checker.crash_everywhere(recorded, str(place), chance))
    tally("states opened", len(checker.seen))
    tally("of them refused, with a hole before whole lines", checker.refused)
