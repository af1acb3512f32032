"""Machines that obey a test: a clock that is set by hand, a disk that fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from queuectl import instants
from queuectl.beside import outcome_of
from queuectl.host import Host

START = "2026-01-01T00:00:00.000000Z"


class SteadyHost(Host):
    """The real machine, but its clocks stand until somebody moves them."""

    def __init__(self) -> None:
        self.us = instants.to_us(START)

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.us / 1_000_000

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


class Untroubled(SteadyHost):
    """The same, and syncs cost nothing: for many small logs that need not outlive the machine."""

    fsync = fdatasync = staticmethod(lambda fd: None)

    def sync_directory(self, path: str) -> None:
        pass

    # One thing after the other, so that a test can say at which call something happens.
    beside = staticmethod(outcome_of)


class Late(Untroubled):
    """What is begun beside happens when it is waited for, and not before."""

    beside = staticmethod(cache)


class Somewhere(Untroubled):
    """The same, and it is a machine of nobody in particular."""

    def user(self) -> str:
        return "ann"

    def name(self) -> str:
        return "lovelace"

    def directory(self) -> str:
        return "/srv"


class OtherBoot(SteadyHost):
    """The same machine after a restart."""

    def boot_id(self) -> str:
        return "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Killed(BaseException):
    """The process ended here: no handler of it runs."""


DISK_CALLS = (
    "open",
    "create",
    "write",
    "write_at",
    "fsync",
    "fdatasync",
    "truncate",
    "rename",
    "link",
    "make_private",
    "unlink",
    "remove_directory",
    "sync_directory",
    "reserve",
)


class FaultyHost(Untroubled):
    """A machine on which a call that touches the disk can fail, or the process die, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.fault: Callable[[int, str], BaseException | None] = lambda number, name: None
        """Asked before every call on the disk, with its number since `watch` and its name."""
        self.dead = False

    def watch(self, fault: Callable[[int, str], BaseException | None]) -> None:
        """Count from 0 again, and let `fault` decide what fails."""
        self.calls.clear()
        self.fault = fault

    def fail(self, name: str, error: BaseException) -> None:
        """Let the next call of that name fail."""
        errors = [error]
        self.watch(lambda _, called: errors.pop() if errors and called == name else None)

    def _disk(self, name: str, *arguments: Any) -> Any:
        if self.dead:
            raise Killed
        error = self.fault(len(self.calls), name)
        self.calls.append(name)
        if error is not None:
            self.dead = isinstance(error, Killed)
            raise error
        return getattr(super(), name)(*arguments)


def _through_disk(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self._disk(name, *arguments)


for _name in DISK_CALLS:
    setattr(FaultyHost, _name, _through_disk(_name))


FILE_CALLS = (
    *DISK_CALLS,
    "read_at",
    "size",
    "exists",
    "file_size",
    "names",
    "make_directory",
    "free_bytes",
    "memory_file",
    "is_private",
    "file_system",
    "hold",
    "is_held",
    "make_bell",
)


class BrokenHost(FaultyHost):
    """A machine on which whatever has to do with files can fail, reading and looking too."""


for _name in FILE_CALLS[len(DISK_CALLS) :]:
    setattr(BrokenHost, _name, _through_disk(_name))
