"""The real machine: what the rest of the house stands on."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from queuectl.host import Host

_HOLDER = """
import sys
from queuectl.host import Host
assert Host().hold(sys.argv[1]) is not None
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine() -> Host:
    return Host()


# ---- working beside


def test_what_is_begun_beside_goes_on_meanwhile_and_is_waited_for(machine: Host) -> None:
    may_end = threading.Event()
    result = machine.beside(lambda: may_end.wait(60) and threading.current_thread())
    may_end.set()
    assert result() is not threading.current_thread()
    assert result() is result(), "it can be asked for again"


def test_what_is_raised_beside_is_raised_by_who_waits(machine: Host) -> None:
    result = machine.beside(lambda: {}["nothing"])
    for _ in range(2):
        with pytest.raises(KeyError):
            result()


def test_where_there_may_be_no_more_threads_it_is_done_in_line(
    machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    assert machine.beside(threading.current_thread)() is threading.current_thread()


# ---- holding: how a worker shows that it lives


def test_what_is_held_is_held_until_its_last_descriptor_is_closed(
    tmp_path: Path, machine: Host
) -> None:
    path = str(tmp_path / "worker")
    assert not machine.is_held(path), "no file, no holder"
    fd = machine.hold(path)
    assert fd is not None
    copy = os.dup(fd)
    assert machine.is_held(path)
    assert machine.hold(path) is None
    machine.close(fd)
    assert machine.is_held(path), "a child's copy keeps it"
    os.close(copy)
    assert not machine.is_held(path)
    again = machine.hold(path)
    assert again is not None
    machine.close(again)


def test_all_is_written_however_little_the_system_takes_at_a_time(tmp_path: Path) -> None:
    class Sparing(Host):
        @staticmethod
        def write(fd: int, data: bytes) -> int:  # type: ignore[override]
            return os.write(fd, data[:3])

    machine = Sparing()
    fd = machine.create(str(tmp_path / "file"))
    machine.write_all(fd, b"0123456789")
    machine.close(fd)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_a_file_that_is_deleted_before_it_is_locked_is_made_again(tmp_path: Path) -> None:
    path = str(tmp_path / "worker")

    class Slow(Host):
        deletions = 2

        def open(self, path: str, flags: int, mode: int = 0o600) -> int:
            fd = super().open(path, flags, mode)
            if self.deletions:
                self.deletions -= 1
                os.unlink(path)
            return fd

    machine = Slow()
    fd = machine.hold(path)
    assert fd is not None
    assert machine.is_at(path, machine.identity(fd))
    assert machine.is_held(path)
    os.unlink(path)
    assert not machine.is_at(path, machine.identity(fd))
    another = machine.hold(path)
    assert another is not None, "the lock on a deleted file keeps nobody out"
    machine.close(another)
    machine.close(fd)


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "worker")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        assert machine.is_held(path)
    finally:
        holder.kill()
        holder.communicate()
    assert not machine.is_held(path)


def test_looking_does_not_make_one_the_holder(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "worker")
    Path(path).touch()
    assert not machine.is_held(path)
    assert not machine.is_held(path)
    fd = machine.hold(path)
    assert fd is not None
    machine.close(fd)


# ---- the log's lock


def test_a_lock_that_somebody_has_is_waited_for_in_vain(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "LOCK")
    one, two = (machine.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert machine.lock(one, 0)
    assert machine.lock_holder(two) == os.getpid()
    assert not machine.lock(two, 0)
    machine.unlock(one)
    assert machine.lock_holder(two) is None
    assert machine.lock(two, 0)
    os.close(one)
    os.close(two)


# ---- bells


def test_a_bell_wakes_who_waits_and_many_rings_are_one(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "bell")
    bell = machine.make_bell(path)
    assert machine.wait([bell], 0) == set()
    for _ in range(3):
        machine.ring(path)
    assert machine.wait([bell], 60) == {bell}
    machine.silence(bell)
    assert machine.wait([bell], 0) == set()
    machine.close(bell)


def test_a_bell_can_be_rung_without_end(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "bell")
    bell = machine.make_bell(path)
    os.set_blocking(bell, False)
    try:
        while True:
            os.write(bell, b"!" * 4096)
    except BlockingIOError:
        pass
    machine.ring(path)  # full: it is ringing already
    machine.silence(bell)
    assert machine.wait([bell], 0) == set()
    machine.close(bell)


def test_ringing_where_nobody_waits_is_no_error(tmp_path: Path, machine: Host) -> None:
    machine.ring(str(tmp_path / "nowhere"))
    bell = machine.make_bell(str(tmp_path / "bell"))
    machine.close(bell)
    machine.ring(str(tmp_path / "bell"))


# ---- files


def test_a_file_that_is_written_to_wakes_who_watches_it(tmp_path: Path, machine: Host) -> None:
    path = str(tmp_path / "file")
    watch = machine.make_watch()
    assert not machine.watch(watch, path), "there is none yet"
    fd = machine.create(path)
    assert machine.watch(watch, path) and machine.watch(watch, path)
    assert machine.wait([watch], 0) == set()
    machine.write_at(fd, b"x", 0)
    machine.write_at(fd, b"y", 0)
    assert machine.wait([watch], 5) == {watch}
    machine.silence(watch)
    assert machine.wait([watch], 0) == set()
    machine.unlink(path)
    other = machine.create(path)
    machine.silence(watch)
    machine.write_at(other, b"x", 0)
    assert machine.wait([watch], 0) == set(), "it is another file"
    assert machine.watch(watch, path)
    machine.write_at(other, b"y", 0)
    assert machine.wait([watch], 5) == {watch}
    for descriptor in (watch, fd, other):
        machine.close(descriptor)


def test_where_nothing_can_be_watched_it_says_so(tmp_path: Path, machine: Host) -> None:
    assert not machine.watch(-1, str(tmp_path))


def test_a_pipe_is_rung_and_silenced_and_never_blocks(machine: Host) -> None:
    waiting, waking = machine.make_pipe()
    machine.silence(waiting)
    machine.write(waking, b"x")
    assert machine.wait([waiting], 5) == {waiting}
    machine.silence(waiting)
    assert machine.wait([waiting], 0) == set()
    machine.close(waiting)
    machine.close(waking)


def test_reserving_takes_blocks_and_leaves_the_size(tmp_path: Path, machine: Host) -> None:
    fd = machine.create(str(tmp_path / "file"))
    machine.write(fd, b"abc")
    machine.reserve(fd, 3, 1 << 20)
    figures = os.fstat(fd)
    assert figures.st_size == 3
    assert figures.st_blocks * 512 >= 1 << 20
    machine.close(fd)


def test_what_cannot_be_reserved_raises(tmp_path: Path, machine: Host) -> None:
    # A descriptor that cannot be written: filling a disk to see this would harm its other users.
    (tmp_path / "file").touch()
    fd = machine.open(str(tmp_path / "file"), os.O_RDONLY)
    with pytest.raises(OSError, match=r"\w") as raised:
        machine.reserve(fd, 0, 4096)
    assert raised.value.errno == errno.EBADF
    machine.close(fd)


def test_a_symbolic_link_is_not_followed(tmp_path: Path, machine: Host) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"\w") as raised:
        machine.open(str(tmp_path / "link"), os.O_RDWR | os.O_CREAT)
    assert raised.value.errno == errno.ELOOP
    assert not (tmp_path / "target").exists()


def test_files_do_not_leak_into_children(tmp_path: Path, machine: Host) -> None:
    fd = machine.create(str(tmp_path / "file"))
    assert not os.get_inheritable(fd)
    with pytest.raises(FileExistsError):
        machine.create(str(tmp_path / "file"))
    machine.close(fd)


def test_a_directory_is_private_whatever_the_umask(tmp_path: Path, machine: Host) -> None:
    path = tmp_path / "directory"
    before = os.umask(0)
    try:
        assert machine.make_directory(str(path))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o700
    assert not machine.make_directory(str(path))
    assert machine.is_private(str(path))


def test_a_group_of_ones_own_is_private(tmp_path: Path, machine: Host) -> None:
    if pwd.getpwuid(os.geteuid()).pw_gid != os.getegid() or grp.getgrgid(os.getegid()).gr_mem:
        pytest.skip("this user has no group of its own")
    os.chown(tmp_path, -1, os.getegid())
    tmp_path.chmod(0o770)
    assert machine.is_private(str(tmp_path))


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_where_others_can_write_is_not_private(tmp_path: Path, machine: Host, mode: int) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, 12345)
    elif mode == 0o770:
        pytest.skip("only root can give a directory to another group")
    tmp_path.chmod(mode)
    assert not machine.is_private(str(tmp_path))
    tmp_path.chmod(0o755)
    assert machine.is_private(str(tmp_path))


def test_what_does_not_exist_is_empty(tmp_path: Path, machine: Host) -> None:
    missing = str(tmp_path / "missing")
    assert machine.names(missing) == []
    assert machine.file_size(missing) == 0
    assert not machine.exists(missing)


# ---- file systems


@pytest.mark.skipif(sys.platform != "linux", reason="mountinfo is Linux's")
def test_the_file_system_of_a_directory_is_known(machine: Host) -> None:
    assert machine.file_system("/proc") == "proc"
    assert machine.network_file_system("/proc") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p", "ceph"])
def test_a_network_file_system_is_told(tmp_path: Path, kind: str) -> None:
    class Remote(Host):
        def file_system(self, path: str) -> str:
            return kind

    assert Remote().network_file_system(str(tmp_path)) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", ""])
def test_a_local_file_system_is_no_network(tmp_path: Path, kind: str) -> None:
    class Local(Host):
        def file_system(self, path: str) -> str:
            return kind

    assert Local().network_file_system(str(tmp_path)) is None


def test_the_boot_id_stays_within_a_boot_and_fits_the_mark(machine: Host) -> None:
    assert machine.boot_id() == Host().boot_id()
    assert len(machine.boot_id()) == 36
