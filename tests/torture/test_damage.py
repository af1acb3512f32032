"""A log of 64 KiB, damaged in every way one can think of: never a wrong state in silence."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance import batch, everything
from filelogs import FileLog
from hosts import OtherBoot, SteadyHost
from tallies import Tally

from queuectl import Queue
from queuectl.engines.file.verify import verify
from queuectl.errors import Damaged, Newer
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, JobCancelled

SIZE = 64 << 10
SEGMENT_BYTES_MAX = 18 << 10
SMALL_LOGS = 8
"""64 KiB in so many logs: to read all of a long one again for each bit would take three times as
long, and find the same."""
FOUND = (Damaged, Newer)
MACHINES = pytest.mark.parametrize(
    "machine", [SteadyHost, OtherBoot], ids=["same boot", "after a restart"]
)


class Written:
    """A log of several segments, what stands in it, and its bytes, to be damaged one by one."""

    def __init__(self, place: Path, size: int = SIZE, number: int = 0) -> None:
        """`number` is where the names of its jobs begin."""
        self.place = place
        self.log = place / "log"
        Queue(place).close()
        segment_bytes_max = SEGMENT_BYTES_MAX * size // SIZE
        log = FileLog(str(self.log), SteadyHost(), segment_bytes_max=segment_bytes_max)
        while sum(path.stat().st_size for path in self.log.glob("*.jsonl")) < size:
            number += 1
            log.append([batch(f"a{number}"), batch(f"b{number}", f"c{number}")])
            log.append([Batch([JobCancelled(job=f"b{number}", reason="“why”")])])
        self.segments = sorted(self.log.glob("*.jsonl"))
        self.good = [path.read_bytes() for path in self.segments]
        self.true = everything(log)

    def silent(self, machine: type[SteadyHost]) -> bool:
        """Whether all can be read as if nothing were wrong; what is read is right in any case."""
        events: list[Event] = []
        log = FileLog(str(self.log), machine())
        try:
            for piece in log.read():
                events += piece
        except FOUND:
            assert events == self.true[: len(events)]
            return False
        assert events == self.true[: len(events)]
        return True

    def refuses(self) -> None:
        """Neither does a check pass nor anything get in."""
        with pytest.raises(FOUND):
            verify(FileLog(str(self.log), SteadyHost()))
        with Queue(self.place, host=SteadyHost()) as queue, pytest.raises(FOUND):
            queue.enqueue("true")

    def try_out(self, machine: type[SteadyHost], index: int, bad: bytes) -> None:
        """Put `bad` in the place of a segment, look whether it is found, and put it right."""
        good = self.good[index]
        self.segments[index].write_bytes(bad)
        if self.silent(machine):
            # Nobody reads past the mark. And a cut end is a shorter log: after a restart, only an
            # anchor kept elsewhere can tell.
            cut = machine is OtherBoot and index == len(self.good) - 1 and good.startswith(bad)
            assert bad.startswith(good) or cut, (index, bad)
        self.segments[index].write_bytes(good)


@pytest.fixture
def written(ram: Path) -> Written:
    return Written(ram / "data")


@pytest.mark.torture
@MACHINES
@pytest.mark.parametrize("half", [1, 2])
def test_every_bit_of_64_kib(
    ram: Path, machine: type[SteadyHost], half: int, chance: random.Random, tally: Tally
) -> None:
    for number in range(half, SMALL_LOGS + 1, 2):
        written = Written(ram / str(number), SIZE // SMALL_LOGS, number * 1000)
        tally.add("bits flipped", flip_every_bit(written, machine, chance))


def flip_every_bit(written: Written, machine: type[SteadyHost], chance: random.Random) -> int:
    """How many there were."""
    # After a restart only the last segment is looked at in another way.
    indexes = range(len(written.good)) if machine is SteadyHost else [-1]
    flips = silent = 0
    for index in indexes:
        data = written.good[index]
        fd = os.open(written.segments[index], os.O_RDWR)
        for number in range(len(data) * 8):
            position, bit = divmod(number, 8)
            # In place: to write the whole file anew costs a hundred times as much.
            os.pwrite(fd, bytes([data[position] ^ 1 << bit]), position)
            flips += 1
            if written.silent(machine):
                # Only the newline at the very end, after a restart, can look like a tear.
                assert (machine, position) == (OtherBoot, len(data) - 1), (index, number)
                silent += 1
            elif chance.random() < 0.002:
                written.refuses()
            os.pwrite(fd, data[position : position + 1], position)
        os.close(fd)
    assert silent in ((0,) if machine is SteadyHost else (0, 8))
    return flips


Lines = list[bytes]
EDITS: dict[str, Callable[[Lines, int, random.Random], None]] = {
    "deleted": lambda lines, at, _: lines.__delitem__(at),
    "repeated": lambda lines, at, _: lines.insert(at, lines[at]),
    "swapped": lambda lines, at, _: lines.__setitem__(
        slice(at - 1, at + 1), [lines[at], lines[at - 1]]
    ),
    "moved": lambda lines, at, chance: lines.insert(chance.randrange(1, len(lines)), lines.pop(at)),
    "overwritten with another": lambda lines, at, chance: lines.__setitem__(
        at, chance.choice(lines[:at])
    ),
    "joined": lambda lines, at, _: lines.__setitem__(at - 1, lines[at - 1][:-1]),
    "split": lambda lines, at, chance: lines.__setitem__(
        at, lines[at][: (cut := chance.randrange(1, len(lines[at])))] + b"\n" + lines[at][cut:]
    ),
    "with its digits in capitals": lambda lines, at, _: lines.__setitem__(
        at, lines[at][:8] + lines[at][8:16].upper() + lines[at][16:]
    ),
}


def edited(
    written: Written, edit: Callable[[Lines, int, random.Random], None], chance: random.Random
) -> Iterator[tuple[int, bytes]]:
    """(segment, its bytes with one line edited) for every line but the first."""
    for index, good in enumerate(written.good):
        for at in range(1, good.count(b"\n")):
            lines = good.splitlines(keepends=True)
            edit(lines, at, chance)
            bad = b"".join(lines)
            if bad != good:
                yield index, bad


@pytest.mark.torture
@MACHINES
def test_every_line(
    written: Written, machine: type[SteadyHost], chance: random.Random, tally: Tally
) -> None:
    for name, edit in EDITS.items():
        count = 0
        for index, bad in edited(written, edit, chance):
            written.try_out(machine, index, bad)
            count += 1
        tally(f"lines {name}", count)


@pytest.mark.torture
def test_lines_and_segments_of_another_log(
    written: Written, ram: Path, chance: random.Random, tally: Tally
) -> None:
    other = Written(ram / "other")
    lines = 0
    for index, (good, foreign) in enumerate(zip(written.good, other.good, strict=False)):
        written.try_out(SteadyHost, index, foreign)
        here, there = good.splitlines(keepends=True), foreign.splitlines(keepends=True)
        for at in range(min(len(here), len(there))):
            # One line, and the whole rest from there on.
            for bad in ([*here[:at], there[at], *here[at + 1 :]], here[:at] + there[at:]):
                if bad != here:
                    written.try_out(SteadyHost, index, b"".join(bad))
                    lines += 1
    tally("lines spliced from another log", lines)


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """Some bytes of `data` gone, doubled, zeroed, made up or taken from elsewhere in it."""
    at = chance.randrange(len(data))
    length = chance.choice([1, 2, 16, 100, 512, 4096])
    elsewhere = chance.randrange(len(data))
    new = chance.choice(
        [
            b"",
            data[at : at + length] * 2,
            bytes(length),
            chance.randbytes(length),
            data[elsewhere : elsewhere + length],
        ]
    )
    return data[:at] + new + data[at + length :]


def spoil(written: Written, chance: random.Random, times: int) -> int:
    """How many of `times` random kinds of damage changed anything: all of those were found."""
    changed = 0
    for _ in range(times):
        index = chance.randrange(len(written.good))
        bad = spoiled(written.good[index], chance)
        if bad != written.good[index]:
            written.try_out(SteadyHost, index, bad)
            changed += 1
    return changed


def test_bytes_spoiled_at_random(ram: Path, chance: random.Random, tally: Tally) -> None:
    tally("pieces spoiled", spoil(Written(ram / "data", SIZE // 4), chance, 300))


@pytest.mark.torture
def test_bytes_spoiled_at_random_for_long(ram: Path, chance: random.Random, tally: Tally) -> None:
    tally("pieces spoiled", spoil(Written(ram / "data", SIZE // 4), chance, 50_000))


@pytest.mark.torture
def test_whole_segments(written: Written, tally: Tally) -> None:
    *sealed, _ = range(len(written.good))
    cuts = 0
    for index in sealed[:2]:
        good = written.good[index]
        for cut in range(len(good)):
            for machine in (SteadyHost, OtherBoot):
                written.try_out(machine, index, good[:cut])
            cuts += 1
    tally("cuts of a sealed segment", cuts)
    for index in range(len(written.good)):
        written.segments[index].unlink()
        for machine in (SteadyHost, OtherBoot):
            if written.silent(machine):
                assert machine is OtherBoot
                assert index == len(sealed), "only the end can be cut off unseen"
        written.segments[index].write_bytes(written.good[index])
    for one in sealed:
        for other in sealed:
            if one != other:
                written.try_out(SteadyHost, one, written.good[other])
                # Two files that begin with the same event, one of them under a wrong name.
                copy = written.segments[one].with_name(f"{one + 2:020d}.jsonl")
                shutil.copy(written.segments[one], copy)
                with pytest.raises(FOUND):
                    verify(FileLog(str(written.log), SteadyHost()))
                # Nobody comes to it on the way through the others, so what is read is right.
                written.silent(SteadyHost)
                copy.unlink()
