"""A power cut at every call of recorded processes, with everything that it may leave of unsynced
files and names: nothing acknowledged is missing, and the log goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from unittest import mock

import crashes
import pytest
import scenes
from crashes import Disk, State
from filelogs import FileLog
from hosts import OtherBoot, SteadyHost
from tallies import Tally
from tracing import operations, trace

from queuectl import Queue
from queuectl.engines.file import committed
from queuectl.engines.file.archive import Archive
from queuectl.engines.file.verify import verify
from queuectl.events.vocabulary import Event

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
SHARES = {scenes.compacting: 0.15}
"""Of a long scene, so many of its states are enough."""
Told = list[tuple[int, str]]
"""(offset, job)."""


class AfterAll(OtherBoot):
    """The machine after the power cut: a boot that no process before it has seen."""


class Checker:
    """Lays states out as files and lets the real log open them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.seen: set[int] = set()

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

    def check(self, state: State, root: str, told: Told, boot: type[SteadyHost]) -> None:
        """Open a state that was not seen yet, and go on in it."""
        # Contents are shared between states, and each knows its own hash.
        key = hash((frozenset(state.items()), boot))
        if key in self.seen:
            return
        self.seen.add(key)
        directory = self.lay(state, root)
        if not directory.exists():
            assert told == []
            return
        before = self._read(directory, boot)
        # What was forgotten left the log, and is kept for ever all the same.
        missing = set(told) - set(before) - set(self._archived())
        assert not missing, missing
        with Queue(self.place, host=boot()) as queue:
            self._derived_is_derived(queue, told)
            job = queue.enqueue("true", id="new")
            queue.keep_snapshot()
        after = self._read(directory, boot)
        # Mending may accept whole batches that nobody was shown yet, and never takes one away.
        assert after[: len(before)] == before
        assert after[-1] == (job.offset, "new")
        assert all(low < high for (low, _), (high, _) in pairwise(after))
        assert verify(FileLog(str(directory), boot())).head == job.offset
        for _ in self._archived():
            pass

    def _read(self, directory: Path, boot: type[SteadyHost]) -> Told:
        log = FileLog(str(directory), boot())
        return [(event.offset, _about(event)) for piece in log.read() for event in piece]

    def _archived(self) -> Iterator[tuple[int, str]]:
        archive = Archive(str(self.place / "archive"), SteadyHost())
        for first in archive.list():
            for line in b"".join(archive.read(first)).split(b"\n")[1:-1]:
                event = json.loads(line)
                yield event["offset"], event.get("job", "")

    def _derived_is_derived(self, queue: Queue, told: Told) -> None:
        """With the snapshots that there are, and without any, the jobs are the same."""
        jobs = {job.id: (job.state, job.offset) for job in queue.jobs()}
        assert {job for _, job in told if not job.startswith("gone.")} <= set(jobs)
        with Queue(self.place, host=queue.host, log=FileLog(queue.home.log, queue.host)) as anew:
            assert {job.id: (job.state, job.offset) for job in anew.jobs()} == jobs

    def crash_everywhere(
        self,
        recorded: Iterable[crashes.Operation],
        root: str,
        chance: random.Random,
        share: float = 1.0,
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
                if chance.random() < share:
                    self.check(state, root, told, AfterAll)
        return count


def _about(event: Event) -> str:
    return getattr(event, "job", "")


@pytest.mark.torture
@pytest.mark.parametrize("half", [1, 2])
@pytest.mark.parametrize("scene", scenes.SCENES)
def test_power_cuts_at_every_call_of_real_processes(
    tmp_path: Path, ram: Path, scene: str, half: int, chance: random.Random, tally: Tally
) -> None:
    place, told = tmp_path / "data", tmp_path / "told"
    place.mkdir(mode=0o700)
    argv = [sys.executable, scenes.__file__, scene, str(half), str(place), str(told)]
    lines = trace(argv, tmp_path / "trace", env=ENV)
    recorded = list(operations(lines, str(place), str(told)))
    assert len([it for it in recorded if isinstance(it, crashes.Acknowledge)]) > 10
    checker = Checker(ram / "data")
    share = SHARES.get(scenes.SCENES[scene], 1.0)
    with mock.patch.object(committed, "_MARK_READS", 2):  # nobody is just writing a torn one
        calls = checker.crash_everywhere(recorded, str(place), chance, share)
    tally("calls recorded", calls)
    tally("states opened", len(checker.seen))
