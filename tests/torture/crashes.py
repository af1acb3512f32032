"""What a power cut may leave of a directory, from the operations that were done to it.

A file keeps what it held when it was last synced, and any part of what was done since: the first
writes, all but one, half of one, or zeros where data should be. So does a directory with its names.
Knows nothing of logs, only that a file that is written over in place and never synced (the lock
file) has more past than anybody needs to try.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SECTOR = 512
RESTARTED = "restarted"
"""What a recorded program tells where its machine restarts."""
_PAST = 3
"""So many of the last changes to a file that were not synced are tried one by one."""


class Write(NamedTuple):
    path: str
    position: int
    """-1 for the end of the file."""
    data: bytes


class Truncate(NamedTuple):
    path: str
    size: int


class Sync(NamedTuple):
    path: str
    """A file or a directory."""


class Create(NamedTuple):
    path: str


class Rename(NamedTuple):
    old: str
    new: str


class Unlink(NamedTuple):
    path: str


class MakeDirectory(NamedTuple):
    path: str


class Acknowledge(NamedTuple):
    """From here on somebody has been told this."""

    what: str


class Restart(NamedTuple):
    """The machine went down here and came up again; by luck nothing was lost."""


Operation = (
    Write | Truncate | Sync | Create | Rename | Unlink | MakeDirectory | Acknowledge | Restart
)
Change = tuple[int, bytes | None]
"""(position, data), or (size, None) for a truncation."""
State = dict[str, bytes | None]
"""Content by path; None for a directory."""


def changed(content: bytes, changes: Iterable[Change]) -> bytes:
    """`content` after some changes; a gap in it is zeros."""
    new = bytearray(content)
    for position, data in changes:
        if data is None:
            del new[position:]
            data = b""
        new.extend(bytes(max(0, position - len(new))))
        new[position : position + len(data)] = data
    return bytes(new)


class File:
    def __init__(self, content: bytes = b"") -> None:
        self.synced = self.now = content
        self.pending: list[Change] = []

    def change(self, position: int, data: bytes | None) -> None:
        self.pending.append((position, data))
        self.now = changed(self.now, [(position, data)])

    def sync(self) -> None:
        self.synced = self.now
        self.pending = []

    def survivors(self, chance: random.Random) -> Iterator[bytes]:
        """Contents that a power cut may leave, besides all and nothing of what is pending."""
        pending = self.pending
        for index in range(max(0, len(pending) - _PAST), len(pending)):
            before, (position, data), after = pending[:index], pending[index], pending[index + 1 :]
            yield changed(self.synced, before)
            yield changed(self.synced, before + after)
            if data:
                cut = chance.randrange(1, len(data)) if len(data) > 1 else 0
                sector = max(0, min(len(data), -(position + cut) % SECTOR + cut))
                hole = data[:cut] + bytes(len(data) - cut)
                late = bytes(sector) + data[sector:]
                for torn in (data[:cut], data[:sector], hole, bytes(len(data)), late):
                    yield changed(self.synced, [*before, (position, torn)])
                    if after:
                        yield changed(self.synced, [*before, (position, torn), *after])


Names = dict[str, File | None]
NameChange = tuple[tuple[str, File | None, bool], ...]
"""(name, what, whether it is there) of everything that changes at once."""


def renamed(names: Names, changes: Iterable[NameChange]) -> Names:
    new = dict(names)
    for change in changes:
        for name, what, there in change:
            if there:
                new[name] = what
            else:
                new.pop(name, None)
    return new


class Directory:
    def __init__(self) -> None:
        self.synced: Names = {}
        self.now: Names = {}
        self.pending: list[NameChange] = []

    def change(self, *change: tuple[str, File | None, bool]) -> None:
        self.pending.append(change)
        self.now = renamed(self.now, [change])

    def sync(self) -> None:
        self.synced = self.now
        self.pending = []

    def survivors(self) -> Iterator[Names]:
        yield self.synced
        for index in range(max(0, len(self.pending) - _PAST), len(self.pending)):
            yield renamed(self.synced, self.pending[:index])
            yield renamed(self.synced, self.pending[:index] + self.pending[index + 1 :])


class Disk:
    """A tree below `root`, as memory shows it and as a power cut may leave it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.directories: dict[str, Directory] = {root: Directory()}
        self.acknowledged: list[str] = []

    def file(self, path: str) -> File | None:
        """The file of that name; None for one that has lost its name and that nobody will find."""
        directory = self.directories.get(os.path.dirname(path))
        return directory.now.get(os.path.basename(path)) if directory else None

    def do(self, operation: Operation) -> None:
        match operation:
            case Acknowledge(what):
                self.acknowledged.append(what)
            case Restart():
                # Its memory is empty: whatever is seen from here on comes from the disk.
                for kept in (*self._files(), *self.directories.values()):
                    kept.sync()
            case Write(path, position, data):
                if file := self.file(path):
                    file.change(len(file.now) if position < 0 else position, data)
            case Truncate(path, size):
                if file := self.file(path):
                    file.change(size, None)
            case Sync(path) if path in self.directories:
                self.directories[path].sync()
            case Sync(path):
                if file := self.file(path):
                    file.sync()
            case Create(path) if self.file(path) is None:
                self._named(path, File(), True)
            case MakeDirectory(path):
                self._named(path, None, True)
                self.directories[path] = Directory()
            case Unlink(path):
                self._named(path, self.file(path), False)
            case Rename(old, new):
                file = self.file(old)
                assert os.path.dirname(old) == os.path.dirname(new)
                self.directories[os.path.dirname(old)].change(
                    (os.path.basename(old), None, False), (os.path.basename(new), file, True)
                )

    def _named(self, path: str, file: File | None, there: bool) -> None:
        self.directories[os.path.dirname(path)].change((os.path.basename(path), file, there))

    # ---- what may be left

    def killed(self) -> State:
        """What a killed process leaves: all of it."""
        return self._state({}, {})

    def crashed(self, chance: random.Random) -> Iterator[State]:
        """What a power cut may leave now; not every combination, but each kind of loss with
        everything else kept and with everything else lost, and some by chance."""
        files = self._files()
        all_lost = {id(file): file.synced for file in files}
        names = {path: directory.now for path, directory in self.directories.items()}
        no_names = {path: directory.synced for path, directory in self.directories.items()}
        for contents in ({}, all_lost):
            for survived in (names, no_names):
                yield self._state(contents, survived)
                for path, directory in self.directories.items():
                    for some in directory.survivors():
                        yield self._state(contents, {**survived, path: some})
                for file in files:
                    for content in file.survivors(chance):
                        yield self._state({**contents, id(file): content}, survived)
        options = [(file, [file.now, file.synced, *file.survivors(chance)]) for file in files]
        for _ in range(4):
            yield self._state(
                {id(file): chance.choice(contents) for file, contents in options},
                {
                    path: chance.choice([directory.now, *directory.survivors()])
                    for path, directory in self.directories.items()
                },
            )

    def _files(self) -> list[File]:
        """Every file that may be found again and of which something is not synced."""
        found: dict[int, File] = {}
        for directory in self.directories.values():
            for file in (*directory.now.values(), *directory.synced.values()):
                if file is not None and file.pending:
                    found[id(file)] = file
        return list(found.values())

    def _state(self, contents: dict[int, bytes], names: dict[str, Names]) -> State:
        state: State = {}
        waiting = [self.root]
        while waiting:
            path = waiting.pop()
            state[path] = None
            for name, file in names.get(path, self.directories[path].now).items():
                below = os.path.join(path, name)
                if below in self.directories:
                    waiting.append(below)
                elif file is not None:
                    state[below] = contents.get(id(file), file.now)
        return state
