"""After a crash, a restart or a lost lock file: what counts, and how the log goes on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from zlib import crc32

import pytest
from conformance import batch, everything, jobs_of
from filelogs import FileLog
from hosts import FaultyHost, Killed, OtherBoot, SteadyHost

from queuectl.engines.file import mark
from queuectl.errors import Damaged, LockTimedOut, NoSpace, SyncFailed


def write(directory: Path, host: SteadyHost, segment_bytes_max: int = 1 << 20) -> Path:
    """Three appends, the last of them one batch of three; returns the active segment."""
    log = FileLog(str(directory), host, segment_bytes_max=segment_bytes_max)
    log.append([batch("a")])
    log.append([batch("b", "c")])
    log.append([batch("d", "e", "f")])
    log.close()
    return sorted(directory.glob("*.jsonl"))[-1]


def lose_lock_file(directory: Path) -> None:
    (directory / "LOCK").unlink()


def spoil_lock_file(directory: Path) -> None:
    (directory / "LOCK").write_bytes(b"\xff" * 187)


def empty_lock_file(directory: Path) -> None:
    (directory / "LOCK").write_bytes(b"")


def lock_file_of_another_kind(directory: Path) -> None:
    text = b"2 4711 of a format that nobody knows yet"
    (directory / "LOCK").write_bytes(b"%s %08x\n" % (text, crc32(text)))


def no_change(directory: Path) -> None:
    pass


@pytest.mark.parametrize(
    "lose",
    [lose_lock_file, spoil_lock_file, empty_lock_file, lock_file_of_another_kind, no_change],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("machine", [SteadyHost, OtherBoot])
@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20])
def test_what_is_on_disk_counts_when_there_is_no_mark_to_go_by(
    tmp_path: Path, host: SteadyHost, lose: object, machine: type, segment_bytes_max: int
) -> None:
    write(tmp_path, host, segment_bytes_max)
    lose(tmp_path)  # type: ignore[operator]
    after = machine()
    assert jobs_of(everything(FileLog(str(tmp_path), after))) == list("abcdef")
    log = FileLog(str(tmp_path), after)
    assert log.append([batch("g", g=0)])[0].offset == 7
    assert jobs_of(everything(log)) == list("abcdefg")
    assert jobs_of(everything(FileLog(str(tmp_path), after))) == list("abcdefg")


@pytest.mark.parametrize("machine", [SteadyHost, OtherBoot])
def test_cut_at_every_byte_of_the_last_batch_it_is_there_whole_or_not_at_all(
    tmp_path: Path, host: SteadyHost, machine: type
) -> None:
    source = tmp_path / "whole"
    source.mkdir()
    data = write(source, host).read_bytes()
    lines = data.split(b"\n")
    start = len(data) - sum(len(line) + 1 for line in lines[-4:-1])
    for cut in range(start, len(data) + 1):
        directory = tmp_path / "cut"
        shutil.copytree(source, directory)
        segment = directory / "00000000000000000001.jsonl"
        segment.write_bytes(data[:cut])
        if machine is SteadyHost:
            lose_lock_file(directory)
        whole = cut == len(data)
        expected = list("abcdef") if whole else list("abc")
        after = machine()
        assert jobs_of(everything(FileLog(str(directory), after))) == expected, cut
        log = FileLog(str(directory), after)
        assert log.append([batch("g", g=0)])[0].offset == len(expected) + 1
        assert jobs_of(everything(FileLog(str(directory), after))) == [*expected, "g"], cut
        # What was cut off stands beside, byte for byte.
        kept = [path.read_bytes() for path in directory.glob("cut-*")]
        assert kept == ([] if cut in (start, len(data)) else [data[start:cut]]), cut
        assert segment.read_bytes().startswith(data if whole else data[:start])
        shutil.rmtree(directory)


@pytest.mark.parametrize("zeros", [1, 511, 512, 513, 5000])
@pytest.mark.parametrize("part", [0, 1, 30])
def test_sectors_that_were_never_written_are_a_tear(
    tmp_path: Path, host: SteadyHost, zeros: int, part: int
) -> None:
    segment = write(tmp_path, host)
    tail = b'{"crc":"12345678","offset":7,"at":"'[:part] + bytes(zeros)
    segment.write_bytes(segment.read_bytes() + tail)
    lose_lock_file(tmp_path)
    log = FileLog(str(tmp_path), host)
    assert log.append([batch("g")])[0].offset == 7
    assert [path.read_bytes() for path in tmp_path.glob("cut-*")] == [tail]


@pytest.mark.parametrize("behind", [b"", b'ter":1}\n', b'":1}\n{"crc":"12'])
def test_the_rest_of_a_sector_that_was_never_written_is_a_tear(
    tmp_path: Path, host: SteadyHost, behind: bytes
) -> None:
    segment = write(tmp_path, host)
    size = segment.stat().st_size
    tail = bytes(-size % 512) + behind
    segment.write_bytes(segment.read_bytes() + tail)
    lose_lock_file(tmp_path)
    log = FileLog(str(tmp_path), host)
    assert log.append([batch("g")])[0].offset == 7
    assert [path.read_bytes() for path in tmp_path.glob("cut-*")] == [tail]


@pytest.mark.parametrize("appends", [1, 2])
@pytest.mark.parametrize("hole", [0, 300])
def test_a_hole_in_the_last_append_is_a_tear_and_one_before_it_is_damage(
    tmp_path: Path, host: SteadyHost, appends: int, hole: int
) -> None:
    segment = write(tmp_path, host)
    size = segment.stat().st_size
    log = FileLog(str(tmp_path), host)
    for _ in range(appends):
        host.advance(1)
        log.append([batch(*"ghijklmnopqrst")])
    content = bytearray(segment.read_bytes())
    start = size + hole
    end = -(-start // 512) * 512 + 512
    content[start:end] = bytes(end - start)
    segment.write_bytes(content)
    lose_lock_file(tmp_path)
    after = FileLog(str(tmp_path), host)
    if appends == 1:
        assert after.append([batch("z")])[0].offset == 7
    else:
        with pytest.raises(Damaged):
            after.append([batch("z")])


def test_fewer_zeros_than_to_the_end_of_the_sector_are_damage(
    tmp_path: Path, host: SteadyHost
) -> None:
    segment = write(tmp_path, host)
    size = segment.stat().st_size
    segment.write_bytes(segment.read_bytes() + bytes(-size % 512 - 1) + b"x" * 600)
    lose_lock_file(tmp_path)
    with pytest.raises(Damaged):
        FileLog(str(tmp_path), host).append([batch("g")])


@pytest.mark.parametrize("tail", [b"garbage", b"\n", b'{"crc":"00000000"}\n', b"\0{}\n\0x"])
def test_anything_else_behind_the_end_is_damage(
    tmp_path: Path, host: SteadyHost, tail: bytes
) -> None:
    segment = write(tmp_path, host)
    before = segment.read_bytes()
    segment.write_bytes(before + tail)
    lose_lock_file(tmp_path)
    with pytest.raises(Damaged) as raised:
        FileLog(str(tmp_path), host).append([batch("g")])
    assert raised.value.position == len(before)
    assert raised.value.offset == 6
    assert segment.read_bytes() == before + tail


def test_bytes_behind_the_mark_are_seen_by_nobody_until_they_are_copied(
    tmp_path: Path, host: SteadyHost
) -> None:
    # As a writer leaves it that dies between write and sync: whole lines, but no mark.
    segment = write(tmp_path, host)
    lock = (tmp_path / "LOCK").read_bytes()
    log = FileLog(str(tmp_path), host)
    log.append([batch("g", "h")])
    log.close()
    (tmp_path / "LOCK").write_bytes(lock)
    reader = FileLog(str(tmp_path), host)
    assert reader.head() == 6
    assert jobs_of(everything(reader)) == list("abcdef")
    old = segment.stat().st_ino
    assert FileLog(str(tmp_path), host).append([batch("i", i=0)])[0].offset == 9
    assert segment.stat().st_ino != old, "it goes on in a fresh file"
    assert jobs_of(everything(reader)) == list("abcdefghi")
    assert jobs_of(everything(FileLog(str(tmp_path), host))) == list("abcdefghi")


def unvouched(directory: Path, host: SteadyHost) -> Path:
    """As a kill between write and sync leaves it, and then a restart; returns the segment."""
    segment = write(directory, host)
    lock = (directory / "LOCK").read_bytes()
    FileLog(str(directory), host).append([batch("g")])
    (directory / "LOCK").write_bytes(lock)
    return segment


class Outlived(OtherBoot, FaultyHost):
    """A machine that was restarted, on another one that was not: memory may outlive the first."""


def test_after_a_restart_bytes_are_seen_by_nobody_before_they_are_synced(
    tmp_path: Path, host: SteadyHost
) -> None:
    unvouched(tmp_path, host)
    for call in ("fdatasync", "sync_directory"):
        after = Outlived()
        after.fail(call, OSError(errno.EIO, os.strerror(errno.EIO)))
        log = FileLog(str(tmp_path), after)
        with pytest.raises(SyncFailed, match="check the disk"):
            log.head()
    assert jobs_of(everything(log)) == list("abcdefg")


def test_a_copy_that_could_not_be_told_of_is_not_written_to(
    tmp_path: Path, host: SteadyHost
) -> None:
    """Others make one then, with the same generation."""
    write(tmp_path, host)
    lock = (tmp_path / "LOCK").read_bytes()
    FileLog(str(tmp_path), host).append([batch("x")])
    (tmp_path / "LOCK").write_bytes(lock)
    failing = FaultyHost()
    first = FileLog(str(tmp_path), failing)
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    marks = iter([None, error])  # that a copy is being made, and that there is one
    failing.watch(lambda _, call: next(marks, None) if call == "write_at" else None)
    with pytest.raises(OSError, match="Input/output"):
        first.append([batch("y")])
    FileLog(str(tmp_path), host).append([batch("b")])
    first.append([batch("c")])
    assert jobs_of(everything(FileLog(str(tmp_path), host))) == [*"abcdef", "x", "b", "c"]


@pytest.mark.parametrize("call", ["fdatasync", "sync_directory"])
@pytest.mark.parametrize("killed", [False, True])
def test_after_a_sync_that_failed_even_a_reader_makes_a_copy(
    tmp_path: Path, host: SteadyHost, call: str, killed: bool
) -> None:
    """The next sync succeeds, and has stored nothing."""
    segment = unvouched(tmp_path, host)
    old = segment.stat().st_ino
    after = Outlived()
    after.fail(call, Killed() if killed else OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises((SyncFailed, Killed)):
        FileLog(str(tmp_path), after).head()
    assert segment.stat().st_ino == old
    assert jobs_of(everything(FileLog(str(tmp_path), OtherBoot()))) == list("abcdefg")
    assert segment.stat().st_ino != old


def test_where_there_is_no_space_for_a_copy_all_stays_as_it_is(
    tmp_path: Path, host: SteadyHost
) -> None:
    segment = unvouched(tmp_path, host)
    before = segment.read_bytes(), (tmp_path / "LOCK").read_bytes()
    full = Outlived()
    full.fail("write", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(NoSpace):
        FileLog(str(tmp_path), full).append([batch("h")])
    assert (segment.read_bytes(), (tmp_path / "LOCK").read_bytes()) == before
    assert jobs_of(everything(FileLog(str(tmp_path), full))) == list("abcdefg")


def test_a_reader_syncs_only_while_nobody_appends(tmp_path: Path, host: SteadyHost) -> None:
    """A sync that fails is told of only once, and has to be told to whoever appends."""
    unvouched(tmp_path, host)
    calls: list[str] = []

    class Watched(OtherBoot):
        def lock(self, fd: int, timeout_s: float) -> bool:
            calls.append("lock")
            return super().lock(fd, timeout_s)

        def unlock(self, fd: int) -> None:
            calls.append("unlock")
            super().unlock(fd)

        def fdatasync(self, fd: int) -> None:
            calls.append("fdatasync")

        def sync_directory(self, path: str) -> None:
            calls.append("sync_directory")

    assert FileLog(str(tmp_path), Watched()).head() == 7
    assert calls == ["lock", "fdatasync", "sync_directory", "unlock"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EINVAL])
def test_where_nothing_can_be_written_nothing_has_to_be_synced(
    tmp_path: Path, host: SteadyHost, code: int
) -> None:
    unvouched(tmp_path, host)
    after = Outlived()
    after.fail("fdatasync", OSError(code, os.strerror(code)))
    assert jobs_of(everything(FileLog(str(tmp_path), after))) == list("abcdefg")


def test_after_a_restart_a_writer_goes_on_in_a_copy_of_what_no_mark_vouches_for(
    tmp_path: Path, host: SteadyHost
) -> None:
    """A sync of those bytes may have failed before: then the next one succeeds, and stores none."""
    segment = unvouched(tmp_path, host)
    old = segment.stat().st_ino
    assert FileLog(str(tmp_path), OtherBoot()).append([batch("h")])[0].offset == 8
    assert segment.stat().st_ino != old
    assert jobs_of(everything(FileLog(str(tmp_path), OtherBoot()))) == list("abcdefgh")


def test_after_a_restart_a_writer_goes_on_in_a_copy_of_what_was_in_doubt(
    tmp_path: Path, host: SteadyHost
) -> None:
    segment = write(tmp_path, host)
    failing = FaultyHost()
    failing.fail("fdatasync", OSError(errno.EIO, os.strerror(errno.EIO)))
    with pytest.raises(SyncFailed):
        FileLog(str(tmp_path), failing).append([batch("g")])
    old = segment.stat().st_ino
    FileLog(str(tmp_path), OtherBoot()).append([batch("h")])
    assert segment.stat().st_ino != old


def test_after_a_restart_that_lost_nothing_nothing_is_done_once_more(
    tmp_path: Path, host: SteadyHost
) -> None:
    segment = write(tmp_path, host)
    old = segment.stat().st_ino
    after = Outlived()
    log = FileLog(str(tmp_path), after)
    assert jobs_of(everything(log)) == list("abcdef")
    assert not {"fdatasync", "sync_directory"} & set(after.calls)
    assert log.append([batch("g")])[0].offset == 7
    assert segment.stat().st_ino == old


def test_a_mark_that_is_read_while_it_is_written_is_read_again(
    tmp_path: Path, host: SteadyHost
) -> None:
    class TornOnce(SteadyHost):
        torn = 3

        def read_at(self, fd: int, size: int, position: int) -> bytes:  # type: ignore[override]
            data = super().read_at(fd, size, position)
            if size == mark.SIZE and self.torn:
                self.torn -= 1
                return data[:100] + b"x" + data[101:]
            return data

    write(tmp_path, host)
    lock = (tmp_path / "LOCK").read_bytes()
    FileLog(str(tmp_path), host).append([batch("g")])
    (tmp_path / "LOCK").write_bytes(lock)
    torn = TornOnce()
    assert FileLog(str(tmp_path), torn).head() == 6
    assert not torn.torn


def test_acknowledged_bytes_that_are_gone_are_damage(tmp_path: Path, host: SteadyHost) -> None:
    segment = write(tmp_path, host)
    data = segment.read_bytes()
    segment.write_bytes(data[: data[:-1].rfind(b"\n") + 1])
    log = FileLog(str(tmp_path), host)
    with pytest.raises(Damaged):
        log.append([batch("g")])
    with pytest.raises(Damaged) as raised:
        everything(log)
    assert raised.value.offset == 5


def test_what_a_crash_left_half_made_is_removed(tmp_path: Path, host: SteadyHost) -> None:
    write(tmp_path, host)
    (tmp_path / "new-0123456789ab").write_bytes(b"half")
    lose_lock_file(tmp_path)
    FileLog(str(tmp_path), host).append([batch("g")])
    assert list(tmp_path.glob("new-*")) == []


def test_whoever_waits_too_long_for_the_lock_hears_who_holds_it(
    tmp_path: Path, host: SteadyHost
) -> None:
    holder, waiter = (FileLog(str(tmp_path), host, lock_timeout_s=0.01) for _ in range(2))
    holder.append([batch("a")])
    with holder.exclusive():
        with pytest.raises(LockTimedOut, match=f"by process {host.pid()}"):
            waiter.append([batch("b")])
        assert jobs_of(everything(waiter)) == ["a"], "readers take no lock"
    assert waiter.append([batch("b")])[0].offset == 2
