"""When the disk refuses or the process dies, at every single call on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance import batch, everything, jobs_of
from filelogs import FileLog
from hosts import FaultyHost, Killed, SteadyHost

from queuectl.engines.file.verify import verify
from queuectl.errors import NoSpace, QueuectlError, SyncFailed

OLD = ["a", "b", "c"]
NEW = ["d", "e"]
Fault = Callable[[], BaseException]


def oserror(code: int) -> Fault:
    return lambda: OSError(code, os.strerror(code))


def append_old(directory: Path, host: SteadyHost) -> None:
    log = FileLog(str(directory), host)
    log.append([batch("a")])
    log.append([batch("b", "c")])


def nothing_before(directory: Path, host: SteadyHost) -> None:
    pass


def append_old_and_lose_the_mark(directory: Path, host: SteadyHost) -> None:
    append_old(directory, host)
    (directory / "LOCK").unlink()


def append_old_and_tear(directory: Path, host: SteadyHost) -> None:
    append_old(directory, host)
    with open(directory / "00000000000000000001.jsonl", "ab") as file:
        file.write(b'{"crc":"12')


BEFORE = [nothing_before, append_old, append_old_and_lose_the_mark, append_old_and_tear]


@pytest.mark.parametrize(
    "fault",
    [Killed, oserror(errno.EIO), oserror(errno.ENOSPC), oserror(errno.EDQUOT)],
    ids=["killed", "EIO", "ENOSPC", "EDQUOT"],
)
@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20], ids=["rotating", "one segment"])
@pytest.mark.parametrize("before", BEFORE, ids=lambda f: f.__name__)
def test_a_fault_at_any_call_of_an_append_loses_nothing_acknowledged(
    tmp_path: Path, before: Callable[..., None], segment_bytes_max: int, fault: Fault
) -> None:
    old = [] if before is nothing_before else OLD
    calls: list[str] = []
    for number in range(100):
        directory = tmp_path / str(number)
        directory.mkdir()
        before(directory, SteadyHost())
        host = FaultyHost()
        log = FileLog(str(directory), host, segment_bytes_max=segment_bytes_max)
        host.watch(lambda at, _, number=number: fault() if at == number else None)
        acknowledged = False
        try:
            log.append([batch(*NEW)])
            acknowledged = True
        except (Killed, OSError, QueuectlError):
            pass
        faulted = len(host.calls) > number
        calls = host.calls[: number + 1]
        host.watch(lambda at, name: None)

        # Whoever comes next finds all that was acknowledged, and the new batch whole or not.
        after = FileLog(str(directory), SteadyHost())
        jobs = jobs_of(everything(after))
        assert jobs in ([old + NEW] if acknowledged else [old, old + NEW]), calls
        offset = after.append([batch("z", z=0)])[0].offset
        jobs = jobs_of(everything(FileLog(str(directory), SteadyHost())))
        assert jobs in ([*old, "z"], [*old, *NEW, "z"]), calls
        assert not acknowledged or "d" in jobs
        assert offset == len(jobs)
        assert verify(FileLog(str(directory), SteadyHost())).events == len(jobs)
        assert list(directory.glob("new-*")) == [], calls
        shutil.rmtree(directory)
        if not faulted:
            break
    assert acknowledged
    assert "fdatasync" in calls


def failing(tmp_path: Path, name: str, fault: Fault) -> tuple[FaultyHost, FileLog, FileLog]:
    """A log with `OLD` in it, and two handles: the first one's next call of that name fails."""
    append_old(tmp_path, SteadyHost())
    host = FaultyHost()
    log, other = FileLog(str(tmp_path), host), FileLog(str(tmp_path), SteadyHost())
    assert jobs_of(everything(log)) == jobs_of(everything(other)) == OLD
    host.fail(name, fault())
    return host, log, other


def test_a_failed_sync_is_never_retried_and_never_believed(tmp_path: Path) -> None:
    host, log, other = failing(tmp_path, "fdatasync", oserror(errno.EIO))
    segment = tmp_path / "00000000000000000001.jsonl"
    file = segment.stat().st_ino
    with pytest.raises(SyncFailed, match="check the disk"):
        log.append([batch(*NEW)])
    assert b"doubt" in (tmp_path / "LOCK").read_bytes()
    assert jobs_of(everything(log)) == jobs_of(everything(other)) == OLD
    # The process that saw it acknowledges nothing more, though the disk would be willing again.
    written = host.calls.count("write")
    for _ in range(2):
        with pytest.raises(SyncFailed):
            log.append([batch("x")])
    assert host.calls.count("write") == written
    assert host.calls.count("fdatasync") == 1
    # Another one goes on in a fresh copy, without the bytes that nobody may believe.
    assert other.append([batch("z", d=0)])[0].offset == 4
    assert segment.stat().st_ino != file
    assert jobs_of(everything(FileLog(str(tmp_path), host))) == [*OLD, "z"]
    (kept,) = tmp_path.glob("cut-*")
    assert kept.read_bytes().count(b"\n") == len(NEW)


def test_a_failed_sync_of_a_new_segment_stops_the_process_too(tmp_path: Path) -> None:
    append_old(tmp_path, SteadyHost())
    for call in ("fsync", "sync_directory"):
        host = FaultyHost()
        log = FileLog(str(tmp_path), host, segment_bytes_max=1)
        log.append([batch("x")])
        host.fail(call, oserror(errno.EIO)())
        for _ in range(2):
            with pytest.raises(SyncFailed):
                log.append([batch("y")])
        assert host.calls.count(call) == 1
    other = FileLog(str(tmp_path), SteadyHost())
    assert other.append([batch("z")])[0].offset == 6
    assert jobs_of(everything(other)) == [*OLD, "x", "x", "z"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_who_cannot_move_the_mark_stops_though_what_it_wrote_will_count(
    tmp_path: Path, code: int
) -> None:
    _, log, other = failing(tmp_path, "write_at", oserror(code))
    for _ in range(2):
        with pytest.raises(SyncFailed, match="may be lost"):
            log.append([batch(*NEW)])
    assert other.append([batch("z")])[0].offset == 6
    assert jobs_of(everything(other)) == [*OLD, *NEW, "z"]


@pytest.mark.parametrize("call", ["reserve", "write"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path, call: str, code: int) -> None:
    _, log, other = failing(tmp_path, call, oserror(code))
    size = (tmp_path / "00000000000000000001.jsonl").stat().st_size
    if call == "reserve":
        log._mark = log._mark and log._mark._replace(reserved=0)
    with pytest.raises(NoSpace) as raised:
        log.append([batch(*["x" * 100] * 6000)] if call == "reserve" else [batch("x")])
    assert raised.value.exit_code == 9
    assert (tmp_path / "00000000000000000001.jsonl").stat().st_size == size
    # The same process goes on as soon as there is space.
    assert log.append([batch("d")])[0].offset == 4
    assert jobs_of(everything(other)) == [*OLD, "d"]


def test_a_full_disk_still_takes_what_is_essential(tmp_path: Path) -> None:
    host = FaultyHost()
    log = FileLog(str(tmp_path), host)
    log.append([batch("a")])
    host.watch(lambda _, name: oserror(errno.ENOSPC)() if name == "reserve" else None)
    # Refused as soon as it would eat into what is kept back …
    with pytest.raises(NoSpace):
        for _ in range(100):
            log.append([batch(*["x" * 100] * 100)])
    # … while the end of what runs is still recorded, in that very space.
    last = log.append([batch("b")._replace(essential=True)])[0]
    assert last.offset == log.head()
    size = (tmp_path / "00000000000000000001.jsonl").stat()
    assert size.st_blocks * 512 > size.st_size + 400_000


def test_a_short_write_is_cut_back_at_once(tmp_path: Path) -> None:
    class Narrow(SteadyHost):
        room = 10

        def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
            return os.write(fd, data[: self.room] if self.room else data)

    append_old(tmp_path, SteadyHost())
    segment = tmp_path / "00000000000000000001.jsonl"
    before = segment.read_bytes()
    host = Narrow()
    log = FileLog(str(tmp_path), host)
    with pytest.raises(NoSpace):
        log.append([batch(*NEW)])
    assert segment.read_bytes() == before
    host.room = 0
    assert log.append([batch(*NEW)])[0].offset == 4
    assert jobs_of(everything(FileLog(str(tmp_path), SteadyHost()))) == OLD + NEW
    assert list(tmp_path.glob("cut-*")) == []


def test_nobody_sees_what_is_written_and_not_yet_synced(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    class Watched(SteadyHost):
        def fdatasync(self, fd: int) -> None:  # type: ignore[override]
            seen.append(jobs_of(everything(FileLog(str(tmp_path), SteadyHost()))))
            os.fdatasync(fd)

    append_old(tmp_path, SteadyHost())
    log = FileLog(str(tmp_path), Watched())
    log.append([batch(*NEW)])
    assert seen == [OLD]
    assert jobs_of(everything(FileLog(str(tmp_path), SteadyHost()))) == OLD + NEW


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_who_may_not_write_reads_all_the_same(tmp_path: Path, code: int) -> None:
    class ReadOnly(SteadyHost):
        def open(self, path: str, flags: int, mode: int = 0o600) -> int:
            if flags & (os.O_RDWR | os.O_WRONLY):
                raise OSError(code, os.strerror(code))
            return super().open(path, flags, mode)

    append_old(tmp_path, SteadyHost())
    log = FileLog(str(tmp_path), ReadOnly())
    assert jobs_of(everything(log)) == OLD
    assert verify(log).events == len(OLD)
    with pytest.raises(OSError, match=os.strerror(code)):
        FileLog(str(tmp_path), ReadOnly()).append([batch("x")])
