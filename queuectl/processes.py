"""The part of the door to the machine that leads to other processes; knows not why they run.

Methods raise `OSError` as the system does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from queuectl import spawning

_LINUX = sys.platform == "linux"
_PR_SET_CHILD_SUBREAPER = 36
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Session(NamedTuple):
    """A session, so described that it is not taken for a later one of the same number."""

    id: int
    """The pid of its leader."""
    start: int
    """When the leader started, in ticks."""
    seen: int
    """When it was this session for sure, in ticks: its leader could not have been reaped yet."""


class _Process(NamedTuple):
    state: str
    parent: int
    session: int
    start: int


class Processes:
    """Starting, signalling, watching and finding processes."""

    def spawn(
        self,
        argv: list[bytes],
        cwd: bytes,
        env: Mapping[bytes, bytes],
        out: int,
        err: int,
        keep: int,
    ) -> int:
        """Start a program in a session and process group of its own; returns its pid.

        `out` and `err` become its output, `keep` is inherited as it is, nothing else is. An
        `OSError` names what it is about. For any thread where `spawns_aside`, else for the main
        one: Python's `posix_spawn` knows no working directory, so this process steps there and
        back.
        """
        if self.spawns_aside():
            return spawning.spawn(argv, cwd, env, out, err, keep)
        # Back, because whoever stands in a directory keeps its file system from being unmounted.
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(cwd)
            os.set_inheritable(keep, True)
            try:
                return os.posix_spawn(
                    argv[0],
                    argv,
                    env,
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_DUP2, out, 1),
                        (os.POSIX_SPAWN_DUP2, err, 2),
                    ],
                    setsid=True,
                    setsigmask=(),
                    # Python ignores these two; a shell expects them as the system has them.
                    setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
                )
            finally:
                os.set_inheritable(keep, False)
                os.fchdir(here)
        finally:
            os.close(here)

    def run_on(
        self,
        data: bytes,
        argv: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        timeout_s: float,
        begun: Callable[[int], None],
    ) -> int | None:
        """Run a program in a session of its own, with `data` as its input, until it ends; what it
        prints goes to our standard error. For any thread; `begun` is told its pid.

        Returns its exit code, negative for the signal that ended it; None where it took longer than
        `timeout_s`: then it was killed, with all of its process group.
        """
        import subprocess
        import tempfile

        # In a pipe, somebody who reads it would take for all of it what had been written when we
        # died.
        with tempfile.TemporaryFile() as whole:
            whole.write(data)
            whole.seek(0)
            process = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=whole, stdout=2, start_new_session=True
            )
        begun(process.pid)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                self.signal_group(process.pid, signal.SIGKILL)
                process.wait()

    def spawns_aside(self) -> bool:
        """Whether several threads may start programs at once, while others go on."""
        return spawning.is_possible()

    def has_ended(self, pid: int) -> bool:
        """Whether a child has ended; it stays to be reaped. Raises `ChildProcessError` where that
        was done."""
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self, pid: int) -> tuple[int, Any]:
        """(wait status, resource usage) of a child that has ended."""
        _, status, usage = os.wait4(pid, 0)
        return status, usage

    def signal_group(self, pgid: int, signum: int) -> None:
        """Signal every process of a group; a group that is gone is no error."""
        try:
            os.killpg(pgid, signum)
        except (ProcessLookupError, PermissionError):
            pass

    def processes_of(
        self,
        markers: Sequence[str],
        lock_paths: Iterable[str],
        sessions: Sequence[Session] = (),
    ) -> list[int]:
        """Pids whose environment holds all `markers` (`NAME=value`), or who hold one of
        `lock_paths` open, however far they went from their process group; and all of `sessions`,
        and of those that one of the former leads. Only Linux tells."""
        paths = frozenset(map(os.path.realpath, lock_paths))
        pids = [int(name) for name in (os.listdir("/proc") if _LINUX else ()) if name.isdigit()]
        marked = {pid for pid in pids if _is_marked(f"/proc/{pid}", markers, paths)}
        running = {pid: process for pid in pids if (process := _process(pid))}
        return list((marked | _members(running, marked, sessions)) - {os.getpid()})

    def is_open_elsewhere(self, path: str) -> bool:
        """Whether a process has another file open whose name, and whose directory's name, are the
        same: one of the two is a copy. Only Linux tells."""
        ending = os.sep + os.sep.join(os.path.realpath(path).split(os.sep)[-2:])
        return any(
            name.endswith(ending) and not _is_same(file, path)
            for pid in (os.listdir("/proc") if _LINUX else ())
            if pid.isdigit()
            for file, name in _open_files(f"/proc/{pid}")
        )

    def is_marked(self, pid: int, markers: Sequence[str], lock_path: str) -> bool:
        """Whether `processes_of` would find that process."""
        return _is_marked(f"/proc/{pid}", markers, (os.path.realpath(lock_path),))

    def group_and_session(self, pid: int) -> tuple[int, int]:
        """(process group, session) of a process; zeros where it is gone."""
        try:
            return os.getpgid(pid), os.getsid(pid)
        except ProcessLookupError:
            return 0, 0

    def is_stranger(self, pid: int) -> bool:
        """Whether a process is still there, and no child of this one. Those hold every lock that
        was open here, until they have reached their program."""
        process = _process(pid)
        return process is not None and process.parent != os.getpid()

    def start_of(self, pid: int) -> int:
        """When a process started, in ticks; 0 where nobody tells."""
        process = _process(pid)
        return process.start if process else 0

    def ticks(self) -> int:
        """Now, on the clock that the starts of processes are told by."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK_NS if _LINUX else 0

    def pid_namespace(self) -> int:
        """Where the pids that this process sees mean what they mean; 0 where nobody tells."""
        try:
            return os.stat("/proc/self/ns/pid").st_ino
        except OSError:
            return 0

    def kill(self, pid: int, signum: int) -> bool:
        """Signal one process; False where it belongs to somebody else. One that is gone is no
        error."""
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            pass
        except PermissionError:
            return False
        return True

    def give_way(self) -> None:
        """Let other processes go first."""
        os.nice(10)

    def descriptors_max(self) -> int:
        """How many files this process may have open."""
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return sys.maxsize if soft == resource.RLIM_INFINITY else soft

    def watch_process(self, pid: int) -> int:
        """A descriptor that becomes readable when that process ends; -1 where there is none."""
        try:
            return os.pidfd_open(pid) if _LINUX else -1
        except OSError:
            return -1

    def adopt_orphans(self, wanted: bool) -> None:
        """Whether processes whose parent has ended become children of this one instead of init's,
        if they descend from it. Only Linux can."""
        if _LINUX:
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted), 0, 0, 0)

    def children(self) -> list[int]:
        """Pids of the children of the main thread, ended ones too. Only Linux tells."""
        pid = os.getpid()
        try:
            fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        # Read bare: this happens for every job, and a file object asks the system four things more.
        text = b""
        try:
            while piece := os.read(fd, 1 << 16):
                text += piece
        finally:
            os.close(fd)
        return [int(child) for child in text.split()]


def _process(pid: int) -> _Process | None:
    """What `/proc` says of a process; None where it is gone, or nobody tells."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The second field is a name in parentheses, with whatever is in it.
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(fd)
    return _Process(fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def _members(
    running: Mapping[int, _Process], marked: Container[int], sessions: Iterable[Session]
) -> set[int]:
    """Those of `running` that are in one of `sessions`, or in one led by one of `marked`."""
    ours = {pid for pid, process in running.items() if pid in marked and process.session == pid}
    for session in sessions:
        leader = running.get(session.id)
        # No number is given out again while a living process has it as its pid or as its session.
        # So if the leader is the same, all of that session are. If it has gone, its number may
        # have become free and led another session since, whose leader has gone as well. But nobody
        # comes into a session later than by birth: whoever was born before `seen` was in it then,
        # when it was ours, and as long as that one lives it is ours still.
        if (
            leader.start == session.start
            if leader
            else any(
                process.session == session.id and process.start < session.seen
                for process in running.values()
            )
        ):
            ours.add(session.id)
    return {
        pid
        for pid, process in running.items()
        if process.session in ours and process.state not in "ZX"
    }


def _is_marked(process: str, markers: Sequence[str], lock_paths: Container[str]) -> bool:
    try:
        with open(f"{process}/environ", "rb") as file:
            environment = b"\0" + file.read()
    except OSError:
        return False
    if all(b"\0%b\0" % marker.encode() in environment for marker in markers):
        return True
    return any(name in lock_paths for _, name in _open_files(process))


def _open_files(process: str) -> Iterator[tuple[str, str]]:
    """What a process has open, as far as it lives and may be looked at: (where to look at it, its
    path)."""
    try:
        fds = os.listdir(f"{process}/fd")
    except OSError:
        return
    for file in (f"{process}/fd/{fd}" for fd in fds):
        with suppress(OSError):  # closed meanwhile
            yield file, os.readlink(file)


def _is_same(file: str, path: str) -> bool:
    """Whether both are one file, or the first is none any more."""
    try:
        one = os.stat(file)
    except OSError:
        return True
    try:
        return os.path.samestat(one, os.stat(path))
    except FileNotFoundError:
        return False
