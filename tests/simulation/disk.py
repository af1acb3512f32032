"""A simulated disk: what everybody sees of it, and what of that is left when the power goes.

Knows no processes. It is harsher than most file systems are: a synced file does not bring its name
with it, operations on names are lost one by one, and what a failed sync has dropped stays readable
until the machine restarts.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from random import Random

_SECTOR = 512


class File:
    """An inode. `content` is what processes see; `durable` is what was made to last."""

    __slots__ = (
        "allocated",
        "content",
        "durable",
        "exclusive",
        "is_pipe",
        "names",
        "openings",
        "pending",
        "rings",
        "shared",
        "waiting",
    )

    def __init__(self, *, is_pipe: bool = False) -> None:
        self.content = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """Writes since the last sync, in order: (position, bytes), or None for a cut there."""
        self.allocated = 0
        """Up to which byte it has blocks."""
        self.names = 0
        self.openings = 0
        self.is_pipe = is_pipe
        self.rings = 0
        self.exclusive: object | None = None
        """The opening that holds the lock alone."""
        self.shared: set[object] = set()
        self.waiting: list[object] = []
        """Processes that wait for the lock or the pipe."""

    def sync(self) -> None:
        for position, data in self.pending:
            _apply(self.durable, position, data)
        self.pending.clear()

    def drop(self, chance: Random) -> None:
        """A failed sync: some sectors may have got through, and none is tried again."""
        for position, data in self.pending:
            _apply_torn(self.durable, position, data, chance)
        self.pending.clear()

    def spoil(self, chance: Random) -> None:
        """Change some of its bytes, as a bad disk does; often a digit, so that it still reads."""
        digits = [at for at, byte in enumerate(self.content) if byte in b"0123456789"]
        for _ in range(chance.randrange(1, 4)):
            if digits and chance.random() < 0.7:
                at, flipped = chance.choice(digits), 1
            elif self.content:
                at, flipped = chance.randrange(len(self.content)), 1 << chance.randrange(8)
            else:
                return
            self.content[at] ^= flipped
            if at < len(self.durable):
                self.durable[at] = self.content[at]

    def lose_power(self, chance: Random) -> None:
        """Keep what was synced, and of the rest what chance wants."""
        for position, data in self.pending:
            fate = chance.random()
            if fate < 0.3:
                continue
            if fate < 0.6:
                _apply(self.durable, position, data)
            else:
                _apply_torn(self.durable, position, data, chance)
        self.pending.clear()
        self.content = bytearray(self.durable)
        self.allocated = len(self.content)
        self.openings = 0
        self.rings = 0
        self.exclusive = None
        self.shared = set()
        self.waiting = []


def _apply(content: bytearray, position: int, data: bytes | None) -> None:
    if data is None:
        del content[position:]
        return
    if position > len(content):
        content.extend(bytes(position - len(content)))
    content[position : position + len(data)] = data


def _apply_torn(content: bytearray, position: int, data: bytes | None, chance: Random) -> None:
    """Part of one write: its first bytes, any of its sectors, or its length without its bytes."""
    if data is None:
        if chance.random() < 0.5:
            _apply(content, position, None)
        return
    end = position + len(data)
    kind = chance.random()
    if kind < 0.4:
        _apply(content, position, data[: chance.randrange(len(data) + 1)])
        return
    if kind < 0.9:
        at = position
        while at < end:
            sector_end = min(end, at - at % _SECTOR + _SECTOR)
            if chance.random() < 0.5:
                _apply(content, at, data[at - position : sector_end - position])
            at = sector_end
    if kind > 0.7 and len(content) < end:
        content.extend(bytes(end - len(content)))


class Directory:
    """What a name can lead to besides a file."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        """What is in it now, in the order it came."""


Entry = File | Directory
_Change = tuple[str, Entry | None]


class Disk:
    """Names and the files behind them, with a bounded amount of space."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.capacity = 1 << 40
        self.failures: Counter[File | str] = Counter()
        """How often syncs of a file, or of the directory of that name, have failed since the power
        went the last time."""
        self._used = 0
        """Bytes that are allocated to files, also to those that have no name any more."""
        self.entries: dict[str, Entry] = {"/": Directory()}
        self._durable = dict(self.entries)
        self._pending: list[tuple[str, list[_Change]]] = []
        """Changes of names since they were made durable: (directory, what changes together)."""

    @property
    def free(self) -> int:
        return max(0, self.capacity - self._used)

    def plant(self, path: str, content: bytes) -> None:
        """A file that was always there, and the directories that lead to it."""
        directory = _directory(path)
        above = [directory[:end] for end, letter in enumerate(directory) if letter == "/" and end]
        for place in (*above, directory):
            if place not in self.entries:
                self.add(place, Directory())
        file = File()
        self.add(path, file)
        self.write(file, 0, content)
        file.sync()
        for place in ("/", *above, directory):
            self.sync_directory(place)

    # ---- names

    def find(self, path: str) -> File:
        entry = self.entries.get(path)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(entry, Directory):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return entry

    def add(self, path: str, entry: Entry) -> None:
        directory = _directory(path)
        if not isinstance(self.entries.get(directory), Directory):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if path in self.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._change(directory, [(path, entry)])

    def rename(self, old: str, new: str) -> None:
        self._change(_directory(new), [(old, None), (new, self.find(old))])

    def unlink(self, path: str) -> None:
        self.find(path)
        self._change(_directory(path), [(path, None)])

    def remove(self, path: str) -> None:
        """Take away a file or an empty directory, if there is one."""
        if path in self.entries:
            self._change(_directory(path), [(path, None)])

    def _change(self, directory: str, changes: list[_Change]) -> None:
        released: list[File] = []
        inside = self.entries[directory]
        assert isinstance(inside, Directory)
        for path, entry in changes:
            before = self.entries.pop(path, None)
            name = path[path.rindex("/") + 1 :]
            inside.names.pop(name, None)
            if entry is not None:
                self.entries[path] = entry
                inside.names[name] = None
                if isinstance(entry, File):
                    entry.names += 1
            if isinstance(before, File):
                before.names -= 1
                released.append(before)
        self._pending.append((directory, changes))
        for file in released:
            self.release(file)

    def release(self, file: File) -> None:
        """Give back the space of a file that nobody can reach any more."""
        if not file.names and not file.openings:
            self._used -= file.allocated
            file.allocated = 0

    def list(self, directory: str) -> list[str]:
        entry = self.entries.get(directory)
        return list(entry.names) if isinstance(entry, Directory) else []

    def sync_directory(self, directory: str) -> None:
        self._settle(directory)

    def drop_directory(self, directory: str) -> None:
        """A failed sync of a directory: what it has not written, it does not write any more.

        New directories are tried again: against losing those nobody could do anything.
        """
        self._pending = [
            (place, changes)
            for place, changes in self._pending
            if place != directory
            or isinstance(changes[0][1], Directory)
            or self._survives(0.3, changes)
        ]

    def _survives(self, share: float, changes: list[_Change]) -> bool:
        if self._chance.random() < share:
            _change_names(self._durable, changes)
        return False

    def _settle(self, directory: str) -> None:
        kept = []
        for change in self._pending:
            if change[0] == directory:
                _change_names(self._durable, change[1])
            else:
                kept.append(change)
        self._pending = kept

    # ---- bytes

    def write(self, file: File, position: int, data: bytes) -> int:
        """Write as much as there is space for. Raises `OSError` where there is none."""
        end = position + len(data)
        if end > file.allocated:
            missing = end - file.allocated
            if missing > self.free:
                missing = self.free
                end = file.allocated + missing
                data = data[: max(0, end - position)]
                if not data:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._used += missing
            file.allocated = end
        content = file.content
        if position == len(content):
            content += data
        else:
            _apply(content, position, data)
        file.pending.append((position, data))
        return len(data)

    def reserve(self, file: File, end: int) -> None:
        missing = end - file.allocated
        if missing > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if missing > 0:
            self._used += missing
            file.allocated = end

    def truncate(self, file: File, size: int) -> None:
        if size < len(file.content):
            del file.content[size:]
            file.pending.append((size, None))
        elif size > len(file.content):
            raise AssertionError("nothing grows a file without writing")
        self._used -= max(0, file.allocated - size)
        file.allocated = min(file.allocated, size)

    # ---- the power

    def lose_power(self) -> None:
        """Only what was made durable is sure to be left; of the rest, chance decides."""
        self.failures.clear()
        chance = self._chance
        kind = chance.random()
        # All, none, as far as a journal had got, or any of them: each names something real.
        length = chance.randrange(len(self._pending) + 1)
        for index, (_, changes) in enumerate(self._pending):
            if (
                kind < 0.2
                or (kind < 0.6 and index < length)
                or (kind >= 0.8 and chance.random() < 0.5)
            ):
                _change_names(self._durable, changes)
        self._pending.clear()
        self._remount()
        for file in self._files():
            file.lose_power(chance)
            file.names = 1
        self._used = sum(file.allocated for file in self._files())

    def _remount(self) -> None:
        """See what is durable, without what lies in directories that are not."""
        self.entries = {}
        for path, entry in sorted(self._durable.items()):
            inside = self.entries.get(_directory(path))
            if isinstance(inside, Directory):
                inside.names[path[path.rindex("/") + 1 :]] = None
            elif path != "/":
                continue
            if isinstance(entry, Directory):
                entry.names.clear()
            self.entries[path] = entry
        self._durable = dict(self.entries)

    def _files(self) -> list[File]:
        return [entry for entry in self.entries.values() if isinstance(entry, File)]


def _directory(path: str) -> str:
    return path[: path.rindex("/")] or "/"


def _change_names(names: dict[str, Entry], changes: list[_Change]) -> None:
    for path, entry in changes:
        if entry is None:
            names.pop(path, None)
        else:
            names[path] = entry
