"""The door to the simulated machine, for one process of it: what `queuectl.host.Host` is to a real
one. Each call is a step of the machine, where anything may happen; knows nothing of logs or jobs.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

from disk import Directory, File
from machine import INIT, Killed, Opening, Process

from queuectl import processes
from queuectl.beside import outcome_of
from queuectl.host import Host, Identity
from queuectl.processes import Session

_SYNC_US_MAX = 1500
_FOREVER_US = 1 << 60
_NOTHING = SimpleNamespace(ru_utime=0.0, ru_stime=0.0)


def failed(code: int, path: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), path)


class SimulatedHost(Host):
    """One process's view of the machine."""

    program: Callable[[Process], None]
    """Called with each process that is spawned: sets what it does."""

    def __init__(self, process: Process, program: Callable[[Process], None]) -> None:
        self.process = process
        self.machine = process.machine
        self.disk = process.machine.disk
        self.program = program
        self._step = partial(self.machine.step, process)

    # ---- clock and chance: nobody else can tell when they were asked, so they are no steps

    def now_us(self) -> int:
        self._live()
        self.machine.now_us += 1
        return self.machine.now_us + self.machine.wall_us

    def monotonic_s(self) -> float:
        self._live()
        self.machine.now_us += 1
        return self.machine.now_us / 1_000_000

    def _live(self) -> None:
        if self.process.dead:
            raise Killed

    def sleep(self, seconds: float) -> None:
        self._step("sleep", seconds)
        machine = self.machine
        machine.block(self.process, machine.now_us + round(seconds * 1_000_000), [])

    def random(self, size: int) -> bytes:
        return self.machine.chance.randbytes(size)

    def boot_id(self) -> str:
        self._live()
        return self.machine.boot_id()

    def name(self) -> str:
        return "simulated"

    def user(self) -> str:
        return "nobody"

    def pid(self) -> int:
        return self.process.pid

    def directory(self) -> str:
        return "/"

    def environment(self) -> Mapping[str, str]:
        return {}

    # ---- files

    def _opening(self, fd: int) -> Opening:
        try:
            return self.process.openings[fd]
        except KeyError:
            raise failed(errno.EBADF) from None

    def _open(self, path: str, file: File, *, append: bool = False) -> int:
        file.openings += 1
        return self.process.give(Opening(path, file, append=append))

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        self._step("open", path)
        entry = self.disk.entries.get(path)
        if entry is None and flags & os.O_CREAT:
            entry = File()
            self.disk.add(path, entry)
        elif flags & os.O_EXCL:
            raise failed(errno.EEXIST, path)
        return self._open(path, self.disk.find(path), append=bool(flags & os.O_APPEND))

    def create(self, path: str) -> int:
        return self.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)

    def read_at(self, fd: int, size: int, position: int) -> bytes:  # type: ignore[override]
        self._step("read_at", fd)
        return bytes(self._opening(fd).file.content[position : position + size])

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        self._step("write", fd)
        opening = self._opening(fd)
        assert opening.append, "nothing is written where another process may have written"
        process = self.process
        cut, process.cut_write = process.cut_write, ""
        if cut:
            data = data[: self.machine.chance.randrange(len(data))]
            if cut == "short" and not data:
                raise failed(errno.ENOSPC)
        written = self.disk.write(opening.file, len(opening.file.content), data)
        if cut == "killed":
            self.machine.end(process, signal.SIGKILL)
            raise Killed
        return written

    def write_at(self, fd: int, data: bytes, position: int) -> int:  # type: ignore[override]
        self._step("write_at", fd)
        return self.disk.write(self._opening(fd).file, position, data)

    def close(self, fd: int) -> None:  # type: ignore[override]
        if self.process.dead:
            return  # a generator of it is finalized, who knows when
        # Then nothing may be raised, either: who was killed hears of it at the next call.
        with suppress(Killed):
            self._step("close", fd)
            self.machine.let_go(self._opening(fd))
            del self.process.openings[fd]

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        file = self._opening(fd).file
        self._sync("fdatasync", fd, lambda: file.drop(self.machine.chance))
        file.sync()

    fsync = fdatasync  # type: ignore[assignment]

    def sync_directory(self, path: str) -> None:
        self._sync("sync_directory", path, lambda: self.disk.drop_directory(path))
        if not isinstance(self.disk.entries.get(path), Directory):
            raise failed(errno.ENOENT, path)
        self.disk.sync_directory(path)

    def _sync(self, call: str, what: object, drop: Callable[[], None]) -> None:
        """A sync takes its time, and others go on meanwhile; where it fails, the writes that it
        was to store are forgotten and look as if they had been stored."""
        machine = self.machine
        try:
            self._step(call, what)
        except OSError:
            self.disk.has_failed = True
            drop()
            raise
        machine.block(self.process, machine.now_us + int(machine.draw() * _SYNC_US_MAX), [])

    def truncate(self, fd: int, size: int) -> None:  # type: ignore[override]
        self._step("truncate", (fd, size))
        self.disk.truncate(self._opening(fd).file, size)

    def rename(self, old: str, new: str) -> None:  # type: ignore[override]
        self._step("rename", new)
        self.disk.rename(old, new)

    def unlink(self, path: str) -> None:  # type: ignore[override]
        self._step("unlink", path)
        self.disk.unlink(path)

    def size(self, fd: int) -> int:
        self._step("size", fd)
        return len(self._opening(fd).file.content)

    def exists(self, path: str) -> bool:
        self._step("exists", path)
        return os.path.normpath(path) in self.disk.entries

    def identity(self, fd: int) -> Identity:
        self._step("identity", fd)
        return 0, id(self._opening(fd).file)

    def is_at(self, path: str, identity: Identity) -> bool:
        self._step("is_at", path)
        return identity == (0, id(self.disk.entries.get(path)))

    def file_size(self, path: str) -> int:
        self._step("file_size", path)
        entry = self.disk.entries.get(path)
        return len(entry.content) if isinstance(entry, File) else 0

    def names(self, path: str) -> list[str]:
        self._step("names", path)
        return self.disk.list(path)

    def make_directory(self, path: str) -> bool:
        self._step("make_directory", path)
        if path in self.disk.entries:
            return False
        self.disk.add(path, Directory())
        return True

    def remove_directory(self, path: str) -> None:  # type: ignore[override]
        self._step("remove_directory", path)
        if self.disk.list(path):
            raise failed(errno.ENOTEMPTY, path)
        self.disk.remove(path)

    def remove_tree(self, path: str) -> None:
        for name in self.names(path):
            self.remove_tree(os.path.join(path, name))
        self._step("remove", path)
        self.disk.remove(path)

    def reserve(self, fd: int, position: int, length: int) -> None:
        self._step("reserve", fd)
        self.disk.reserve(self._opening(fd).file, position + length)

    def free_bytes(self, path: str) -> int:
        self._step("free_bytes")
        return self.disk.free

    def is_private(self, path: str) -> bool:
        self._step("is_private", path)
        return True

    def file_system(self, path: str) -> str:
        self._step("file_system", path)
        return "simulated"

    # ---- locks

    def _take(self, opening: Opening) -> bool:
        file = opening.file
        if file.exclusive not in (None, opening) or file.shared - {opening}:
            return False
        file.exclusive = opening
        return True

    def lock(self, fd: int, timeout_s: float) -> bool:
        self._step("lock", fd)
        opening = self._opening(fd)
        machine = self.machine
        give_up_us = machine.now_us + round(timeout_s * 1_000_000)
        while not self._take(opening):
            if machine.now_us >= give_up_us:
                return False
            machine.block(self.process, give_up_us, [opening.file.waiting])
        return True

    def unlock(self, fd: int) -> None:
        self._step("unlock", fd)
        self.machine.unlock(self._opening(fd))

    def lock_holder(self, fd: int) -> int | None:
        self._step("lock_holder", fd)
        holder = self._opening(fd).file.exclusive
        for process in self.machine.processes.values():
            if holder in process.openings.values():
                return process.pid
        return None

    def hold(self, path: str) -> int | None:
        fd = -1
        while fd < 0 or not self.is_at(path, self.identity(fd)):
            if fd >= 0:
                self.close(fd)
            fd = self.open(path, os.O_RDWR | os.O_CREAT)
            self._step("flock", path)
            if not self._take(self._opening(fd)):
                self.close(fd)
                return None
        return fd

    def is_held(self, path: str) -> bool:
        try:
            fd = self.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            self._step("flock", path)
            opening = self._opening(fd)
            if opening.file.exclusive is not None:
                return True
            opening.file.shared.add(opening)
        finally:
            self.close(fd)
        return False

    # ---- bells

    def make_bell(self, path: str) -> int:
        self._step("make_bell", path)
        self.disk.add(path, File(is_pipe=True))
        return self.open(path, os.O_RDWR)

    def ring(self, path: str) -> None:
        self._step("ring", path)
        entry = self.disk.entries.get(path)
        if isinstance(entry, File) and entry.openings:
            self.machine.ring(entry)

    def silence(self, bell: int) -> None:
        self._step("silence", bell)
        self._opening(bell).file.rings = 0

    def wait(self, descriptors: Iterable[int], timeout_s: float) -> set[int]:
        self._step("wait")
        machine = self.machine
        openings = {fd: self._opening(fd) for fd in descriptors}
        until_us = machine.now_us + round(min(max(0.0, timeout_s), 86_400.0) * 1_000_000)
        while True:
            heard = {fd for fd, opening in openings.items() if _is_readable(opening)}
            if heard or machine.now_us >= until_us:
                return heard
            waiting = [_waiting(opening) for opening in openings.values()]
            machine.block(self.process, until_us, waiting)

    # ---- processes

    # ---- one thing after the other, so that a seed always tells the same story

    beside = staticmethod(outcome_of)

    def spawns_aside(self) -> bool:
        return False

    def spawn(
        self,
        argv: list[bytes],
        cwd: bytes,
        env: Mapping[bytes, bytes],
        out: int,
        err: int,
        keep: int,
    ) -> int:
        self._step("spawn", argv[-1])
        child = self.machine.add(argv[-1].decode(), self.process.pid)
        child.environment = dict(env)
        for fd in (out, err, keep):
            self._inherit(child, self._opening(fd))
        self.program(child)
        return child.pid

    def _inherit(self, child: Process, opening: Opening) -> None:
        child.give(opening)

    def has_ended(self, pid: int) -> bool:
        self._step("has_ended", pid)
        return self._child(pid).dead

    def _child(self, pid: int) -> Process:
        process = self.machine.processes.get(pid)
        if process is None or process.parent != self.process.pid:
            raise failed(errno.ECHILD)
        return process

    def reap(self, pid: int) -> tuple[int, Any]:
        self._step("reap", pid)
        child = self._child(pid)
        assert child.dead, "it would wait for ever"
        del self.machine.processes[pid]
        return child.status, _NOTHING

    def signal_group(self, pgid: int, signum: int) -> None:
        self._step("signal_group", pgid)
        for process in list(self.machine.processes.values()):
            if process.group == pgid:
                self.machine.signal(process, signum)

    def processes_of(
        self,
        markers: Sequence[str],
        lock_paths: Iterable[str],
        sessions: Sequence[Session] = (),
    ) -> list[int]:
        self._step("processes_of", markers)
        paths = frozenset(lock_paths)
        running = self.machine.processes
        marked = {pid for pid, each in running.items() if self._is_marked(each, markers, paths)}
        told = {
            pid: processes._Process(
                "Z" if each.dead else "S", each.parent, each.session, each.start
            )
            for pid, each in running.items()
        }
        # The rules for sessions are the real ones.
        return sorted((marked | processes._members(told, marked, sessions)) - {self.process.pid})

    def is_open_elsewhere(self, path: str) -> bool:
        self._step("is_open_elsewhere", path)
        return False  # there is one queue, and no copy of it

    def is_stranger(self, pid: int) -> bool:
        self._step("is_stranger", pid)
        process = self.machine.processes.get(pid)
        return process is not None and process.parent != self.process.pid

    def start_of(self, pid: int) -> int:
        self._step("start_of", pid)
        process = self.machine.processes.get(pid)
        return process.start if process else 0

    def ticks(self) -> int:
        return self.machine.ticks()

    def pid_namespace(self) -> int:
        return 1

    def is_marked(self, pid: int, markers: Sequence[str], lock_path: str) -> bool:
        self._step("is_marked", pid)
        process = self.machine.processes.get(pid)
        return process is not None and self._is_marked(process, markers, frozenset([lock_path]))

    def _is_marked(self, process: Process, markers: Sequence[str], paths: frozenset[str]) -> bool:
        if process.dead:
            return False
        environment = process.environment
        pairs = [marker.encode().split(b"=", 1) for marker in markers]
        if all(environment.get(name) == value for name, value in pairs):
            return True
        return any(
            opening.path in paths and self.disk.entries.get(opening.path) is opening.file
            for opening in process.openings.values()
        )

    def group_and_session(self, pid: int) -> tuple[int, int]:
        self._step("group_and_session", pid)
        process = self.machine.processes.get(pid)
        return (process.group, process.session) if process else (0, 0)

    def kill(self, pid: int, signum: int) -> bool:
        self._step("kill", (pid, signum))
        process = self.machine.processes.get(pid)
        if process is not None:
            self.machine.signal(process, signum)
        return True

    def give_way(self) -> None:
        self._step("give_way")

    def descriptors_max(self) -> int:
        return 1024

    def watch_process(self, pid: int) -> int:
        self._step("watch_process", pid)
        process = self.machine.processes.get(pid)
        if process is None:
            return -1
        fd = self._open("pidfd", File())
        self._opening(fd).watched = process
        return fd

    def adopt_orphans(self, wanted: bool) -> None:
        self._step("adopt_orphans")
        self.process.is_subreaper = wanted

    def children(self) -> list[int]:
        self._step("children")
        own = self.process.pid
        assert own != INIT
        return [each.pid for each in self.machine.processes.values() if each.parent == own]


def _is_readable(opening: Opening) -> bool:
    return opening.watched.dead if opening.watched is not None else opening.file.rings > 0


def _waiting(opening: Opening) -> list[object]:
    return opening.watched.waiting if opening.watched is not None else opening.file.waiting
