"""A data directory copied while it is in use: the copy holds a past of the queue, or is refused and
can be repaired. It is never wrong, and never without what was acknowledged before."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace
from nursery import Nursery, pause, told_in
from tallies import Tally

from queuectl import Queue
from queuectl.engines.file import FileLog
from queuectl.engines.file.content import Content, archived_content, content_of
from queuectl.engines.file.segments import counting
from queuectl.engines.file.verify import verify
from queuectl.errors import Damaged
from queuectl.events.vocabulary import Event, JobEnqueued, LogCompacted, LogRepaired
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections.audit import Audit, compare
from queuectl.projections.state import State
from queuectl.runtime import copying
from queuectl.runtime.repairing import Repairing

COPIES = 160
COPIES_A_ROUND = 8
SEGMENT_BYTES = 8_000


def opened(place: Path) -> FileLog:
    home = Home(str(place))
    return FileLog(home.log, Host(), archive=home.archive)


def everything(place: Path) -> dict[int, Event]:
    """All that ever happened in a queue, by offset, as it was before compaction."""
    log = opened(place)
    contents: list[Content] = []
    headers = log.segments.headers()
    for first in counting(headers):
        header = headers[first]
        assert header is not None
        if header.sealed_sha256:
            kept = [one for one in log.archive.list() if first <= one <= header.covers]
            contents += [archived_content(log.archive, one) for one in kept]
        else:
            contents.append(content_of(log, first))
    found = {event.offset: event for content in contents for _, some in content for event in some}
    assert sorted(found) == [*range(1, log.head() + 1)]
    log.close()
    return found


def copy_at_once(place: Path, target: Path) -> bool:
    """As `cp -r` does it; whether it found all that it had seen."""
    done = subprocess.run(["cp", "-r", place, target], capture_output=True, text=True)
    complaints = done.stderr.splitlines()
    assert all("No such file" in line for line in complaints), done.stderr
    return all(f"{place}/output/" in line for line in complaints)


def copy_bit_by_bit(place: Path, target: Path, chance: random.Random) -> bool:
    """As somebody does it who is slow, and takes directories and files in any order."""
    whole = True
    for directory, below, names in os.walk(place):
        to = target / Path(directory).relative_to(place)
        to.mkdir(mode=0o700)
        chance.shuffle(below)
        # There are thousands of files with output, and nothing depends on one.
        is_output = "output" in to.relative_to(target).parts
        slowness_s = 0.0 if is_output else 0.01
        for name in sorted(names, key=lambda _: chance.random()):
            file = Path(directory, name)
            if file.is_fifo():
                continue  # a bell, that nobody rings in a copy
            pause(slowness_s * chance.random())
            try:
                with file.open("rb") as source, (to / name).open("xb") as copy:
                    while piece := source.read(4096):
                        copy.write(piece)
                        pause(slowness_s / 5 * chance.random())
            except FileNotFoundError:
                whole &= is_output
    return whole


class Copy:
    """What somebody makes of a queue that is being used."""

    def __init__(self, place: Path, number: int, told: set[str], chance: random.Random) -> None:
        self.place = place.parent / f"copy-{number}"
        self.told = told
        """The jobs that had been acknowledged before."""
        self.is_ours = number % 3 == 0
        """Whether queuectl itself made it."""
        if self.is_ours:
            with Queue(place) as queue:
                copying.copy(queue, str(self.place))
            self.whole = True
            return
        with (place / "log" / "COMPACTING").open("ab") as compacting:
            # Else it might be of two times: of one before a segment was compacted, and of one
            # after another was.
            fcntl.flock(compacting, fcntl.LOCK_EX)
            if number % 3 == 1:
                self.whole = copy_at_once(place, self.place)
            else:
                self.whole = copy_bit_by_bit(place, self.place, chance)

    def check(self, truth: dict[int, Event]) -> str:
        """See that nothing in it is wrong, nor anything missing; returns how it was."""
        how = "opened"
        try:
            with Queue(self.place, create=False) as queue:
                self._compare(queue.state, truth)
        except Damaged as damage:
            assert damage.file.startswith(str(self.place))
            how = "refused"
        try:
            self._verify()
        except Damaged as damage:
            assert damage.file.startswith(str(self.place))
            how += ", repaired"
            self._repair(truth)
        assert how != "refused", "what is refused is not verified either"
        assert how == "opened" or not self.is_ours
        with Queue(self.place) as queue:
            queue.enqueue("true", id="after")
        self._verify()
        if self.is_ours:
            return "made by queuectl"
        return how if self.whole else f"{how}; files had gone while it was made"

    def _compare(self, state: State, truth: dict[int, Event]) -> None:
        """What is known has to be what was known once, and not before the copy was begun."""
        past = [truth[offset] for offset in range(1, state.offset + 1)]
        expected = State()
        expected.apply(past)
        assert compare(state, expected) == ""
        self._check_told(past)

    def _check_told(self, past: Iterable[Event]) -> None:
        enqueued = {event.job for event in past if isinstance(event, JobEnqueued)}
        assert not self.whole or self.told <= enqueued

    def _verify(self) -> None:
        with Queue(self.place) as queue:
            known, log = queue.state, opened(self.place)
            try:
                verify(log, lambda: Audit(known, log.compactions()))
            finally:
                log.close()

    def _repair(self, truth: dict[int, Event]) -> None:
        with Repairing(str(self.place)) as work:
            plan = work.plan()
            work.carry_out(plan)
        with Queue(self.place, create=False) as queue:
            events = [event for some in queue.log.read() for event in some]
        (end,) = [one.offset for one in events if type(one) is LogRepaired and not one.lost_from]
        for event in events:
            if event.offset < end and not isinstance(event, LogCompacted | LogRepaired):
                assert replace(event, more=False) == replace(truth[event.offset], more=False)
        lost = {
            offset
            for mending in plan.mendings
            for first, last in mending.lost
            for offset in range(first, last + 1)
        }
        self._check_told(truth[offset] for offset in range(1, end) if offset not in lost)


def copy_without_end(
    root: Path, nursery: Nursery, chance: random.Random, count: int
) -> Counter[str]:
    """Copy a queue so many times while jobs come, run and are forgotten; how the copies were."""
    place = root / "data"
    with Queue(place) as queue:
        queue.set("retain-completed", "1ms")
    told = [root / "told-0", root / "told-1"]
    children = [
        nursery.fork(
            "enqueuer",
            place=str(place),
            told=str(path),
            name=path.name,
            segment_bytes_max=SEGMENT_BYTES,
            every_s=0.02,
        )
        for path in told
    ]
    children.append(nursery.fork("worker", place=str(place), options={"slots": 2}))
    children.append(nursery.fork("tidier", place=str(place), every_s=0.05))
    copies = []
    for number in range(count):
        before = sum(len(told_in(path)) for path in told)
        while sum(len(told_in(path)) for path in told) < before + 20:
            pause(0.01)
        acknowledged = {id for path in told for id in told_in(path)}
        copies.append(Copy(place, number, acknowledged, chance))
    for child in children:
        child.kill()
    with Queue(place) as queue:
        queue.enqueue("true")  # whoever died in the middle of an append is cleared up after
    truth = everything(place)
    counts: Counter[str] = Counter()
    for copy in copies:
        counts[copy.check(truth)] += 1
        shutil.rmtree(copy.place)
    return counts


def test_a_few_copies(ram: Path, chance: random.Random, tally: Tally) -> None:
    with Nursery() as nursery:
        for how, number in copy_without_end(ram, nursery, chance, 6).items():
            tally(f"copies {how}", number)


@pytest.mark.torture
def test_many_copies(ram: Path, chance: random.Random, tally: Tally) -> None:
    with Nursery() as nursery:
        for part in range(COPIES // COPIES_A_ROUND):
            root = ram / f"{part}"
            root.mkdir()
            for how, number in copy_without_end(root, nursery, chance, COPIES_A_ROUND).items():
                tally.add(f"copies {how}", number)
            shutil.rmtree(root)
