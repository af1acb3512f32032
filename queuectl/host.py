"""The one door to the machine: files, locks, clock, chance and processes, injected everywhere.

Nothing else in queuectl calls the operating system for these, so a simulated host can stand in and
run the real code under a seed. Knows nothing of logs or jobs. Methods raise `OSError` as the
system does; what it means is for the caller to say.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import TypeVar

from queuectl import beside
from queuectl.processes import Processes
from queuectl.waiting import Waiting

_T = TypeVar("_T")

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where nothing more can be stored."""
SYNC_BYTES = 1 << 20
"""What to sync at a time of a big file: others who sync meanwhile wait for all that one began."""
_LOCK_POLL_S = 0.001
_HOLD_POLL_S = 0.01
_LOCK_FD_MIN = 600
"""Locks that children inherit lie above what scripts use themselves: `exec 9>file` closes one."""
_RINGS = 4096
_NETWORK_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "9p",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.rclone",
    ]
)
Identity = tuple[int, int]
_LINUX = sys.platform == "linux"
_FALLOC_FL_KEEP_SIZE = 1


@cache
def _filelock() -> ModuleType:
    # Only those who append pay for its import: reading commands never lock.
    import filelock

    return filelock


def _is_own_group(gid: int) -> bool:
    """Whether nobody else is in the group: many systems give every user one, and a umask for it."""
    import grp
    import pwd

    try:
        user = pwd.getpwuid(os.geteuid())
        return user.pw_gid == gid and not set(grp.getgrgid(gid).gr_mem) - {user.pw_name}
    except KeyError:
        return False


class Host(Processes, Waiting):
    """The real machine."""

    # ---- clock and chance

    def now_us(self) -> int:
        """Wall clock, microseconds since the epoch; for records, never for decisions about life."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """A clock that nobody can set: what leases and timeouts are measured by."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def boot_id(self) -> str:
        """Changes with every start of the machine: what only lived in memory before it is gone."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return file.read(36)
        except OSError:
            return "-" * 36

    def name(self) -> str:
        return os.uname().nodename

    def user(self) -> str:
        """Who acts, for the audit trail."""
        try:
            import pwd

            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())

    def actor(self) -> str:
        """That, and on which machine: user@host."""
        return f"{self.user()}@{self.name()}"

    def pid(self) -> int:
        return os.getpid()

    def directory(self) -> str:
        """The caller's working directory."""
        return os.getcwd()

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def beside(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """Begin `work` in a thread; returns what waits for its end, and then gives its result or
        raises what it raised. Worth it for what leaves Python to others meanwhile."""
        return beside.begin(work)

    # ---- files

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """A file descriptor that never follows a symbolic link and never leaks into a child."""
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def create(self, path: str) -> int:
        """A new private file to append to; fails where one exists."""
        return self.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)

    def memory_file(self, pieces: Iterable[bytes]) -> int:
        """A file that is on no disk, and gone once it is closed."""
        fd = os.memfd_create("queuectl", os.MFD_CLOEXEC)
        for piece in pieces:
            self.write_all(fd, piece)
        return fd

    def path_of(self, fd: int) -> str:
        """A path by which this process can open what it has open once more, whatever has become of
        its name."""
        return f"/proc/self/fd/{fd}"

    read_at = staticmethod(os.pread)
    write = staticmethod(os.write)
    write_at = staticmethod(os.pwrite)
    close = staticmethod(os.close)
    fsync = staticmethod(os.fsync)
    # macOS has no fdatasync; its fsync is the nearest thing.
    fdatasync = staticmethod(getattr(os, "fdatasync", os.fsync))
    truncate = staticmethod(os.ftruncate)
    rename = staticmethod(os.rename)
    link = staticmethod(os.link)
    unlink = staticmethod(os.unlink)

    def write_all(self, fd: int, data: bytes) -> None:
        """Write all of `data`, in as many writes as the system makes of it."""
        written = 0
        while written < len(data):
            written += self.write(fd, data[written:])

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def exists(self, path: str) -> bool:
        """Whether there is something at `path`; raises where one may not even look."""
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def file_size(self, path: str) -> int:
        """Bytes in the file at `path`; 0 where there is none."""
        try:
            return os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def names(self, path: str) -> list[str]:
        """The names in a directory, in no order; none where the directory does not exist."""
        try:
            return os.listdir(path)
        except FileNotFoundError:
            return []

    def make_private(self, fd: int) -> None:
        """Let nobody else read or write an open file."""
        os.fchmod(fd, 0o600)

    def make_directory(self, path: str) -> bool:
        """A private directory, whatever the umask; False where one was already there."""
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return False
        return True

    remove_directory = staticmethod(os.rmdir)

    def remove_tree(self, path: str) -> None:
        import shutil

        shutil.rmtree(path, ignore_errors=True)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def reserve(self, fd: int, position: int, length: int) -> None:
        """Claim disk blocks past the end of a file without changing its size.

        Raises `OSError` when there is no space; does nothing where the system cannot reserve.
        """
        if not _LINUX:
            return
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        offset_t = ctypes.c_int64
        arguments = ctypes.c_int(fd), ctypes.c_int(_FALLOC_FL_KEEP_SIZE)
        if libc.fallocate64(*arguments, offset_t(position), offset_t(length)) != 0:
            code = ctypes.get_errno()
            if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise OSError(code, os.strerror(code))

    def free_bytes(self, path: str) -> int:
        """What an ordinary process may still write to the file system of `path`."""
        figures = os.statvfs(path)
        # Some file systems do not count at all.
        return figures.f_bavail * figures.f_frsize if figures.f_blocks else sys.maxsize

    def is_private(self, path: str) -> bool:
        """Whether only this user (or root) can put files there."""
        figures = os.stat(path)
        if figures.st_uid not in (os.geteuid(), 0) or figures.st_mode & stat.S_IWOTH:
            return False
        return not figures.st_mode & stat.S_IWGRP or _is_own_group(figures.st_gid)

    def network_file_system(self, path: str) -> str | None:
        """The type of the file system of `path` if other machines can write to it too."""
        kind = self.file_system(path)
        return kind if kind in _NETWORK_FILE_SYSTEMS else None

    def file_system(self, path: str) -> str:
        """The type of the file system of `path`, as in `/proc/self/mountinfo`; empty if unknown."""
        device = os.stat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
                for line in file:
                    fields = line.split(" ")
                    if fields[2] == wanted:
                        return fields[fields.index("-") + 1]
        except OSError:
            pass
        return ""

    # ---- locks

    def lock(self, fd: int, timeout_s: float) -> bool:
        """Take the exclusive lock on an open file, waiting at most `timeout_s`; False if in vain.

        The short poll is the point: filelock's own 50 ms starves processes beside each other.
        """
        take = _filelock().lock_descriptor
        if take(fd, blocking=False):
            return True
        give_up = time.monotonic() + timeout_s
        while not take(fd, blocking=False):
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOCK_POLL_S)
        return True

    def unlock(self, fd: int) -> None:
        _filelock().unlock_descriptor(fd)

    def lock_holder(self, fd: int) -> int | None:
        """The process that holds the lock on an open file, where the system tells."""
        figures = os.fstat(fd)
        wanted = f"{os.major(figures.st_dev):02x}:{os.minor(figures.st_dev):02x}:{figures.st_ino}"
        try:
            with open("/proc/locks", encoding="ascii", errors="replace") as file:
                for line in file:
                    fields = line.split()
                    if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == wanted:
                        return int(fields[4])
        except (OSError, ValueError):
            pass
        return None

    def identity(self, fd: int) -> Identity:
        """What tells an open file from every other, for as long as it stays open."""
        figures = os.fstat(fd)
        return figures.st_dev, figures.st_ino

    def is_at(self, path: str, identity: Identity) -> bool:
        """Whether `path` still names that open file. Ask after locking it: the lock on a file that
        somebody has deleted since keeps nobody out who comes now."""
        try:
            there = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == identity

    def hold(self, path: str) -> int | None:
        """Open `path` (created if need be) and lock it for as long as the descriptor, or a child's
        copy of it, stays open; None if somebody else holds it."""
        fd = -1
        while fd < 0 or not self.is_at(path, self.identity(fd)):
            if fd >= 0:
                os.close(fd)
            fd = self.open(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
        try:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOCK_FD_MIN)
        except OSError:  # this process may not have as many
            return fd
        os.close(fd)
        return high

    def hold_within(self, path: str, timeout_s: float) -> int | None:
        """The same, as soon as nobody else holds it; None once the time is up."""
        for _ in range(round(timeout_s / _HOLD_POLL_S)):
            fd = self.hold(path)
            if fd is not None:
                return fd
            self.sleep(_HOLD_POLL_S)
        return self.hold(path)

    def is_held(self, path: str) -> bool:
        """Whether some living process holds the lock on `path`; no file, no holder."""
        try:
            fd = self.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who look at once do not take each other for the holder.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    # ---- bells: a pipe with a name, so that waiting costs nothing and ringing needs no address

    def make_bell(self, path: str) -> int:
        """A descriptor that becomes readable when somebody rings."""
        os.mkfifo(path, 0o600)
        # Open for writing as well, so that the last ringer's leaving is not an end of file.
        return self.open(path, os.O_RDWR | os.O_NONBLOCK)

    def ring(self, path: str) -> None:
        """Wake whoever waits at the bell; nobody waiting is no error."""
        try:
            fd = self.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            os.write(fd, b"!")
        except OSError:  # full: it is ringing already
            pass
        finally:
            os.close(fd)

    def silence(self, bell: int) -> None:
        """Take all rings so far."""
        try:
            while len(os.read(bell, _RINGS)) == _RINGS:  # after fewer there are no more
                pass
        except BlockingIOError:
            pass
