"""Damage beside the log: a spoiled snapshot changes no answer, a spoiled archive is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hosts import SteadyHost
from tallies import Tally

from queuectl import Queue
from queuectl.engines.file import FileLog
from queuectl.engines.file.archive import Archive
from queuectl.errors import ArchiveDamaged
from queuectl.runtime.compacting import compact

SPOILED = 20_000


def made(place: Path, jobs: int) -> None:
    """A queue with jobs in several states, a compacted log of some segments, an archive and a
    snapshot."""
    small = partial(FileLog, segment_bytes_max=500 * jobs)
    with (
        mock.patch("queuectl.queueview.FileLog", small),
        Queue(place, host=SteadyHost()) as queue,
    ):
        queue.set("max-retries", "7")
        for number in range(jobs):
            ids = [f"{kind}{number}" for kind in ("keep", "gone", "called-off")]
            queue.enqueue_many([{"command": "true", "id": id, "cwd": "/"} for id in ids])
            queue.cancel(*ids[1:])
            queue.prune(ids[1])
        queue.turn((), worker="w", slots=[1, 2])
        for _ in compact(queue):
            pass
        assert queue.keep_snapshot()


def answers(place: Path) -> object:
    with Queue(place, host=SteadyHost()) as queue:
        state = queue.state
        return (
            dict(state.counts),
            [(job.id, job.state, job.attempts, job.offset, job.token) for job in queue.jobs()],
            queue.get("keep1").runnable_at,
            queue.get("called-off0").finished_at,
            [event.offset for event in queue.history("gone0")],
            state.settings,
            state.statistics.enqueued,
            sorted(state.workers.rows),
        )


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with each of its bits flipped in turn."""
    for number in range(len(data) * 8):
        position, bit = divmod(number, 8)
        yield data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def cuts(data: bytes) -> Iterator[bytes]:
    return (data[:length] for length in range(len(data)))


def at_random(data: bytes, chance: random.Random, times: int) -> Iterator[bytes]:
    for _ in range(times):
        at, length = chance.randrange(len(data)), chance.choice([1, 4, 64, 512])
        new = chance.choice([b"", bytes(length), chance.randbytes(length)])
        yield data[:at] + new + data[at + length :]


def spoil(
    files: list[Path], how: Callable[[bytes], Iterator[bytes]], look: Callable[[Path], None]
) -> int:
    """Put every spoiled form in the place of each file, and look."""
    count = 0
    for path in files:
        good = path.read_bytes()
        for bad in how(good):
            path.write_bytes(bad)
            look(path)
            count += 1
        path.write_bytes(good)
    return count


def try_snapshots(place: Path, jobs: int, how: Callable[[bytes], Iterator[bytes]]) -> int:
    made(place, jobs)
    right = answers(place)
    files = [path for path in (place / "snapshots").iterdir() if path.stat().st_size]

    def look(path: Path) -> None:
        assert answers(place) == right

    return spoil(files, how, look)


def test_a_snapshot_spoiled_at_random(ram: Path, chance: random.Random, tally: Tally) -> None:
    tally(
        "snapshots spoiled",
        try_snapshots(ram / "data", 4, partial(at_random, chance=chance, times=100)),
    )


@pytest.mark.torture
@pytest.mark.parametrize("how", [flips, cuts])
def test_every_bit_and_every_end_of_a_snapshot(
    ram: Path, how: Callable[[bytes], Iterator[bytes]], tally: Tally
) -> None:
    tally(f"snapshots spoiled: {how.__name__}", try_snapshots(ram / "data", 4, how))


@pytest.mark.torture
@pytest.mark.parametrize("half", [1, 2])
def test_a_snapshot_spoiled_at_random_for_long(
    ram: Path, half: int, chance: random.Random, tally: Tally
) -> None:
    how = partial(at_random, chance=chance, times=SPOILED // 2)
    tally("snapshots spoiled", try_snapshots(ram / "data", 12, how))


@pytest.mark.torture
def test_every_bit_and_every_end_of_an_archive(ram: Path, tally: Tally) -> None:
    place = ram / "data"
    made(place, 4)
    archive = Archive(str(place / "archive"), SteadyHost())
    good = {archive.path(first): b"".join(archive.read(first)) for first in archive.list()}
    first_of = {archive.path(first): first for first in archive.list()}
    assert good

    def look(path: Path) -> None:
        try:
            found = b"".join(archive.read(first_of[str(path)]))
        except ArchiveDamaged:
            return
        # Some bits of gzip's own say nothing of what is in it.
        assert found == good[str(path)]

    files = [Path(path) for path in list(good)[:2]]
    tally("archives spoiled: flips", spoil(files, flips, look))
    tally("archives spoiled: cuts", spoil(files, cuts, look))
