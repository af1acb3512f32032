"""Starting a program by C's own `posix_spawn`, from any thread; knows not why it runs.

Python's holds the interpreter up until the child has reached its program, which beside other load
takes many times as long as all the rest; and it knows no working directory.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
_STRUCT_BYTES = 1024
"""More than any C library needs for what it keeps to itself."""


class _Spawner:
    """The functions of the C library, and what is the same for every start."""

    def __init__(self) -> None:
        """Raises `AttributeError` where the C library is too old."""
        import ctypes  # only where something is started

        self.types: Any = ctypes
        libc = ctypes.CDLL(None)
        self.spawn = libc.posix_spawn
        self.init = libc.posix_spawn_file_actions_init
        self.destroy = libc.posix_spawn_file_actions_destroy
        self.open = libc.posix_spawn_file_actions_addopen
        self.dup2 = libc.posix_spawn_file_actions_adddup2
        self.chdir = libc.posix_spawn_file_actions_addchdir_np
        self.attributes = ctypes.create_string_buffer(_STRUCT_BYTES)
        signals = ctypes.create_string_buffer(_STRUCT_BYTES)
        libc.posix_spawnattr_init(self.attributes)
        flags = ctypes.c_short(_SETSID | _SETSIGMASK | _SETSIGDEF)
        libc.posix_spawnattr_setflags(self.attributes, flags)
        libc.sigemptyset(signals)
        libc.posix_spawnattr_setsigmask(self.attributes, signals)
        # Python ignores these two; a shell expects them as the system has them.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            libc.sigaddset(signals, number)
        libc.posix_spawnattr_setsigdefault(self.attributes, signals)


@cache
def _spawner() -> _Spawner | None:
    try:
        return _Spawner() if sys.platform == "linux" else None
    except AttributeError:
        return None


def is_possible() -> bool:
    return _spawner() is not None


def spawn(
    argv: list[bytes], cwd: bytes, env: Mapping[bytes, bytes], out: int, err: int, keep: int
) -> int:
    """As `Processes.spawn` says."""
    c = _spawner()
    assert c is not None
    types = c.types
    actions = types.create_string_buffer(_STRUCT_BYTES)
    variables = [b"%b=%b" % pair for pair in env.items()]
    pid = types.c_int()
    c.init(actions)
    try:
        code = (
            c.open(actions, 0, os.devnull.encode(), os.O_RDONLY, 0)
            or c.dup2(actions, out, 1)
            or c.dup2(actions, err, 2)
            # Onto itself: that is how a descriptor is passed on in the child alone, so that what
            # another thread starts at the same time does not get it.
            or c.dup2(actions, keep, keep)
            or c.chdir(actions, cwd)
            or c.spawn(
                types.byref(pid),
                argv[0],
                actions,
                c.attributes,
                (types.c_char_p * (len(argv) + 1))(*argv),
                (types.c_char_p * (len(variables) + 1))(*variables),
            )
        )
    finally:
        c.destroy(actions)
    if code:
        raise _failure(code, argv[0], cwd)
    return int(pid.value)


def _failure(code: int, program: bytes, cwd: bytes) -> OSError:
    """The error, with what it is about: that is not told, but can be seen."""
    try:
        os.stat(os.path.join(cwd, b"."))
    except OSError as error:
        return OSError(error.errno, error.strerror, cwd)
    return OSError(code, os.strerror(code), program)
