"""Real file systems: power cuts, real block errors, no space, no inodes, no writing at all."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelogs import FileLog
from hosts import OtherBoot, SteadyHost
from mounts import Disk, failing_disk, small_disk
from nursery import Nursery, pause, told_in
from programs import Shell
from tallies import Tally
from workers import AGES_S, eventually

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file.verify import verify
from queuectl.errors import NoSpace
from queuectl.events import vocabulary as v
from queuectl.host import Host

pytestmark = pytest.mark.torture

SEGMENT_BYTES_MAX = 4000
POWER_CUTS = 300
BLOCK_ERRORS = 40
FILLINGS = 240


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def jobs_in(place: Path, boot: str) -> list[str]:
    class Booted(OtherBoot):
        def boot_id(self) -> str:
            return boot

    host = Booted()
    with Queue(place, host=host) as queue:
        queue.enqueue("true")
        found = list(queue.known.jobs.rows)
    # Whatever is still open keeps the disk from being unmounted.
    with closing(FileLog(str(place / "log"), host)) as log:
        assert verify(log).head == log.head()
    return found


def test_power_cuts(ram: Path, nursery: Nursery, chance: random.Random, tally: Tally) -> None:
    told_before: set[str] = set()
    with small_disk(ram, 48) as disk:
        for number in range(POWER_CUTS):
            # Some on a log that has seen many, some on one that is just being made.
            place = disk.place / f"data-{number // 20}"
            if number % 20 == 0:
                told_before = set()
            if not place.exists() and chance.random() < 0.5:
                Queue(place).close()
            notes = [ram / f"told-{number}-{writer}" for writer in range(3)]
            writers = [
                nursery.fork(
                    "enqueuer",
                    told.with_suffix(".log"),
                    place=str(place),
                    told=str(told),
                    name=told.name,
                    boot=f"{number:036d}",
                    segment_bytes_max=SEGMENT_BYTES_MAX,
                )
                for told in notes
            ]
            if chance.random() < 0.8:
                eventually(lambda: any(map(told_in, notes)), AGES_S)  # noqa: B023
            pause(chance.random() * 0.06)
            for writer in writers:
                writer.send(signal.SIGSTOP)
            disk.cut_power()
            for writer in writers:
                writer.kill()
            disk.umount()
            disk.mount()
            told_before |= {id for told in notes for id in told_in(told)}
            if told_before:
                missing = told_before - set(jobs_in(place, f"after-{number:030d}"))
                assert not missing, (number, missing)
            tally.add("jobs acknowledged before a cut", sum(len(told_in(told)) for told in notes))
    tally("power cuts", POWER_CUTS)


def test_block_errors(ram: Path, nursery: Nursery, chance: random.Random, tally: Tally) -> None:
    failures = 0
    with failing_disk(ram) as disk:
        for number in range(BLOCK_ERRORS):
            place = disk.place / f"data-{number}"
            Queue(place).close()
            first, second = ram / f"first-{number}", ram / f"second-{number}"

            def writer(told: Path, place: Path = place) -> object:
                return nursery.fork(
                    "enqueuer",
                    told.with_suffix(".log"),
                    place=str(place),
                    told=str(told),
                    name=told.name,
                    segment_bytes_max=SEGMENT_BYTES_MAX if chance.random() < 0.5 else 1 << 20,
                )

            doomed = writer(first)
            eventually(lambda: told_in(first), AGES_S)  # noqa: B023
            pause(chance.random() * 0.05)
            disk.fail(True)
            assert doomed.wait() == 1  # type: ignore[attr-defined]
            said = first.with_suffix(".log").read_text()
            assert "failed to store the log" in said or "Input/output error" in said, said
            failures += 1
            disk.fail(False)
            other = writer(second)
            notes = second.with_suffix(".log")
            eventually(lambda: told_in(second) or told_in(notes), AGES_S)  # noqa: B023
            assert told_in(second), told_in(notes)
            pause(chance.random() * 0.05)
            other.kill()  # type: ignore[attr-defined]
            disk.umount()
            disk.mount()
            told = {*told_in(first), *told_in(second)}
            missing = told - set(jobs_in(place, "after" + "0" * 31))
            assert not missing, (number, missing)
            # Each log sets 1 MiB aside, and more when it is mended: the disk holds no 40 of them.
            remove(disk, place)
    tally("block errors met by one process, with another going on", failures)


def fill(disk: Disk, free: int) -> Path:
    """A file that leaves `free` bytes."""
    ballast = disk.place / "ballast"
    fd = os.open(ballast, os.O_RDWR | os.O_CREAT)
    try:
        left = Host().free_bytes(str(disk.place)) - free
        if left > 0:
            os.posix_fallocate(fd, 0, left)
    except OSError:
        # The file system needs some for itself.
        os.posix_fallocate(fd, 0, max(4096, left - (64 << 10)))
    finally:
        os.close(fd)
    return ballast


def test_a_disk_filled_at_every_point(ram: Path, tally: Tally) -> None:
    refusals = 0
    with small_disk(ram, 8) as disk:
        for number in range(FILLINGS):
            place = disk.place / "data"
            free = number * (12 << 10)
            host = SteadyHost()
            Queue(place, host=host).close()
            log = FileLog(str(place / "log"), host, segment_bytes_max=64 << 10)
            queue = Queue(place, host=host, log=log)
            queue.enqueue("true", id="running")
            (claim,) = queue.turn((), worker="w", slots=[1])
            ballast = fill(disk, free)
            told = ["running"]
            try:
                for _ in range(60):
                    size = log.head(), sum(path.stat().st_size for path in log_files(place))
                    told += [job.id for job in queue.enqueue_many([{"command": "x" * 1000}] * 30)]
            except NoSpace as error:
                refusals += 1
                assert error.exit_code == 9
                # Refused is as if it had not been asked for.
                assert log.head() == size[0]
            # The end of what runs was given space of its own, before there was none.
            done = c.Finish(job="running", token=claim.offset, now=queue.now())
            (event,) = queue.turn([done], worker="w", slots=[])
            assert isinstance(event, v.JobCompleted)
            with Queue(place, host=SteadyHost()) as other:
                assert set(told) == {job.id for job in other.jobs()}
                verify(other.log)  # type: ignore[arg-type]
            ballast.unlink()
            assert queue.enqueue("true").id
            queue.close()
            remove(disk, place)
    tally("fillings", FILLINGS)
    tally("of them with refusals", refusals)
    assert refusals > FILLINGS // 4


def log_files(place: Path) -> list[Path]:
    return list((place / "log").glob("*.jsonl"))


def remove(disk: Disk, place: Path) -> None:
    assert place.parent == disk.place
    Host().remove_tree(str(place))


def shell_on(disk: Disk, root: Path) -> Shell:
    shell = Shell(root)
    shell.data = disk.place / "data"
    return shell


def test_a_disk_without_inodes(ram: Path) -> None:
    with small_disk(ram, 16, "-N", "64") as disk:
        place = disk.place / "data"
        shell = shell_on(disk, ram)
        at = ("--data", str(place))
        host = SteadyHost()
        files = 0

        def use_up() -> None:
            nonlocal files
            try:
                while True:
                    (disk.place / f"file-{files}").touch()
                    files += 1
            except OSError:
                pass

        use_up()
        refused = shell(*at, "enqueue", "-c", "true")
        assert (refused.code, refused.out) == (9, ""), refused
        assert len(refused.err.splitlines()) == 1
        for number in range(8):
            (disk.place / f"file-{number}").unlink()
        assert shell(*at, "enqueue", "-c", "true").code == 0
        use_up()
        # No new segment can be made: it goes on in the old one, and says nothing of it.
        log = FileLog(str(place / "log"), host, segment_bytes_max=1)
        with Queue(place, host=host, log=log) as queue:
            for _ in range(5):
                queue.enqueue("true")
            assert len(log_files(place)) == 1
            for number in range(8, 16):
                (disk.place / f"file-{number}").unlink()
            queue.enqueue("true")
            assert len(log_files(place)) == 2
            assert verify(log).events == 7
        # A worker has no place for its files: it says so, in one line, and the job is not to blame.
        use_up()
        answer = shell(*at, "worker", "start", "--burst=now")
        assert answer.code in (0, 9), answer
        assert "Traceback" not in answer.err
        assert "defect" not in answer.err


def test_a_disk_turned_read_only(ram: Path) -> None:
    with small_disk(ram, 16) as disk:
        place = disk.place / "data"
        shell = shell_on(disk, ram)
        at = ("--data", str(place))
        id = shell.ok(*at, "enqueue", "-c", "true").lines[0]
        disk.remount("ro")
        for words in (("enqueue", "-c", "true"), ("worker", "start", "--burst"), ("cancel", id)):
            refused = shell(*at, *words)
            assert refused.code in (1, 9), refused
            assert refused.out == ""
            assert "Read-only file system" in refused.err, refused
            assert len(refused.err.splitlines()) == 1
        # Whoever only reads needs no more than that.
        assert shell.ok(*at, "status", "--json").json["jobs"]["pending"] == 1
        assert shell.ok(*at, "list", "--json").json[0]["id"] == id
        assert shell.ok(*at, "log", "verify").code == 0
        disk.remount("rw")
        assert shell(*at, "worker", "start", "--burst").code == 0
        assert shell.ok(*at, "show", id, "--json").json["state"] == "completed"


def test_a_disk_turned_read_only_under_a_writer(ram: Path, nursery: Nursery) -> None:
    """As the kernel does when it finds the file system broken."""
    with small_disk(ram, 16) as disk:
        place, told = disk.place / "data", ram / "told"
        Queue(place).close()
        notes = ram / "notes"
        writer = nursery.fork("enqueuer", notes, place=str(place), told=str(told), name="w")
        eventually(lambda: told_in(told), AGES_S)
        pause(0.1)
        disk.remount("abort")
        assert writer.wait() == 1
        assert len(notes.read_text().splitlines()) == 1, notes.read_text()
        disk.umount()
        disk.mount()
        assert told_in(told)
        assert set(told_in(told)) <= set(jobs_in(place, "after" + "0" * 31))
