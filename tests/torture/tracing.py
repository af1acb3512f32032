"""What real processes did to the files below a directory, told by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import crashes as c
import pytest

_CALLS = (
    "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,ftruncate,"
    "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,sendfile,copy_file_range,link,linkat"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"^(\d+) +(\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<(.*?)>)?$")


def trace(argv: Sequence[str], notes: Path, **how: object) -> list[str]:
    """Run a program; the lines of what it and its children called. Skips where that cannot be."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-yy",
            "-xx",
            "-s",
            "16777216",
            "-e",
            f"trace={_CALLS}",
            "-o",
            notes,
            *argv,
        ],
        capture_output=True,
        text=True,
        timeout=1200,
        **how,  # type: ignore[call-overload]
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("strace may not trace here: run as root, or with CAP_SYS_PTRACE")
    assert done.returncode == 0, done.stderr
    return _whole(notes.read_text().splitlines())


def _whole(lines: list[str]) -> list[str]:
    """Calls that were interrupted by another process's stand where they ended."""
    begun: dict[str, str] = {}
    whole = []
    for line in lines:
        if found := _BEGUN.match(line):
            begun[found[1]] = found[2]
        elif found := _RESUMED.match(line):
            whole.append(f"{found[1]} {begun.pop(found[1])}{found[2]}")
        else:
            whole.append(line)
    return whole


def operations(lines: list[str], root: str, acknowledgements: str) -> Iterator[c.Operation]:
    """The calls that changed something below `root`, or told something to the file
    `acknowledgements`; a call that failed changed nothing."""
    below = root + "/"
    for line in lines:
        found = _LINE.match(line)
        if found is None or int(found[4]) < 0:
            continue
        call, arguments, result = found[2], _arguments(found[3]), int(found[4])
        if call in ("openat", "open", "creat"):
            path = _path(arguments)
            if path.startswith(below) and "O_CREAT" in line:
                yield c.Create(path)
        elif call in ("write", "pwrite64", "fsync", "fdatasync", "ftruncate"):
            path = _name_of(arguments[0])
            if path == acknowledgements:
                for told in _bytes(arguments[1]).decode().splitlines():
                    yield c.Restart() if told == c.RESTARTED else c.Acknowledge(told)
            elif path == root or path.startswith(below):
                yield _to_file(call, path, arguments, result)
        elif call in ("rename", "renameat", "renameat2"):
            old, new = _paths(arguments)
            if new.startswith(below):
                yield c.Rename(old, new)
        elif call in ("unlink", "unlinkat"):
            path = _path(arguments)
            if path.startswith(below):
                yield c.Unlink(path)
        elif call in ("mkdir", "mkdirat"):
            path = _path(arguments)
            if path.startswith(below):
                yield c.MakeDirectory(path)
        else:
            assert below not in line, f"a call that nobody has thought of: {line[:200]}"


def _to_file(call: str, path: str, arguments: list[str], result: int) -> c.Operation:
    if call == "write":
        return c.Write(path, -1, _bytes(arguments[1])[:result])
    if call == "pwrite64":
        return c.Write(path, int(arguments[3]), _bytes(arguments[1])[:result])
    if call == "ftruncate":
        return c.Truncate(path, int(arguments[1]))
    return c.Sync(path)


def _arguments(text: str) -> list[str]:
    # Strings are all hex, so a comma stands between arguments only.
    return text.split(", ")


def _bytes(argument: str) -> bytes:
    return bytes.fromhex(argument.strip('"').replace("\\x", ""))


def _name_of(argument: str) -> str:
    """The path of a descriptor, as strace shows it."""
    found = _DESCRIPTOR.match(argument)
    name = (found and found[2]) or ""
    return _bytes(name).decode() if name.startswith("\\x") else name


def _paths(arguments: list[str]) -> list[str]:
    """The paths among the arguments, each made whole by the directory before it."""
    found = []
    base = ""
    for argument in arguments:
        if argument.startswith('"'):
            found.append(os.path.join(base, _bytes(argument).decode()))
        else:
            base = _name_of(argument)
    return found


def _path(arguments: list[str]) -> str:
    return _paths(arguments)[0]
