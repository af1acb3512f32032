"""Tables on disk that are made once and never changed: rows by number, and numbers by name.

For caches that must be read in part: whoever wants one row reads two blocks. Every block carries a
checksum, so that a spoiled table is noticed before anything of it is believed. Knows neither what
a row is nor where the truth is kept.

A file is blocks of rows, blocks of names, an index of both, and a footer that tells where the index
is. A row is a line `[number,value]` of JSON, a name a line `name<TAB>number`; both are sorted. The
blocks of a packed table are compressed, each for itself.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from heapq import merge
from itertools import count, dropwhile, groupby
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeVar
from zlib import compress, crc32, decompress, error

import msgspec

from queuectl.host import SYNC_BYTES, Host

_Key = TypeVar("_Key", int, str)
_BLOCK_BYTES = 1 << 16
_BLOCKS_KEPT = 64
_FOOTER_BYTES = 64
_FOOTER = (10, 10, 16)
"""The bases of the figures in the footer: where the index is, its size, its checksum."""
_LEVEL = 1
"""The higher ones take several times as long, and gain a third."""
_NUMBER = re.compile(rb"\t([0-9]+)\n")


class Spoiled(Exception):
    """A table is not what was written: nothing read from it may be believed."""


class _Block(msgspec.Struct, array_like=True, gc=False):
    first: int | str
    """The lowest number, or name, in it."""
    position: int
    size: int
    crc: int


class _Index(msgspec.Struct):
    rows: list[_Block]
    names: list[_Block]
    count: int
    gone: list[int]
    """Numbers whose rows in older tables do not count any more; rising."""
    packed: bool = False


class Entry(NamedTuple):
    """A row in the order of numbers."""

    number: int
    line: bytes
    """`[number,value]`, without its newline; empty for one that is gone."""


_index_decoder = msgspec.json.Decoder(_Index)
_first = attrgetter("first")


class _Writer:
    """Appends lines to a file, block by block."""

    def __init__(self, host: Host, fd: int, packed: bool) -> None:
        self._host = host
        self._fd = fd
        self._packed = packed
        self.position = 0
        self._synced = 0

    def blocks(self, lines: Iterable[tuple[int | str, bytes]]) -> list[_Block]:
        """Write `lines`, each with its key; returns the blocks that they lie in."""
        blocks: list[_Block] = []
        pieces: list[bytes] = []
        size = 0
        first: int | str = 0
        for key, line in lines:
            if not pieces:
                first = key
            pieces.append(line)
            size += len(line)
            if size >= _BLOCK_BYTES:
                blocks.append(self._block(first, pieces))
                pieces, size = [], 0
        if pieces:
            blocks.append(self._block(first, pieces))
        return blocks

    def _block(self, first: int | str, pieces: list[bytes]) -> _Block:
        data = b"".join(pieces)
        if self._packed:
            data = compress(data, _LEVEL)
        block = _Block(first, self.position, len(data), crc32(data))
        self.write(data)
        return block

    def write(self, data: bytes) -> None:
        self._host.write_all(self._fd, data)
        self.position += len(data)
        if self.position - self._synced >= SYNC_BYTES:
            self._host.fdatasync(self._fd)
            self._synced = self.position


def entry(number: int, value: bytes) -> Entry:
    """A row with its value in JSON."""
    return Entry(number, b"[%d,%s]" % (number, value))


def write(
    host: Host,
    path: str,
    rows: Iterable[Entry],
    names: Iterable[tuple[str, int]],
    gone: Collection[int] = (),
    *,
    packed: bool = False,
) -> None:
    """Make a table, durably but for its name. Raises `OSError`; then no file is left.

    `rows` and `names` are rising.
    """
    fd = host.create(path)
    try:
        writer = _Writer(host, fd, packed)
        written = 0

        def lines() -> Iterator[tuple[int, bytes]]:
            nonlocal written
            for number, line in rows:
                written += 1
                yield number, line + b"\n"

        row_blocks = writer.blocks(lines())
        name_blocks = writer.blocks((name, b"%s\t%d\n" % (name.encode(), n)) for name, n in names)
        index = msgspec.json.encode(_Index(row_blocks, name_blocks, written, sorted(gone), packed))
        footer = b"%020d %020d %08x" % (writer.position, len(index), crc32(index))
        writer.write(index + footer.ljust(_FOOTER_BYTES - 1) + b"\n")
        host.fsync(fd)
    except BaseException:
        host.close(fd)
        host.unlink(path)
        raise
    host.close(fd)


def _number_of(line: bytes) -> int:
    return int(line[1 : line.index(b",")])


def _name_of(line: bytes) -> str:
    return line[: line.index(b"\t")].decode()


class Table:
    """A table to read from. Everything raises `Spoiled` where it is not as it was written."""

    def __init__(self, host: Host, path: str) -> None:
        self.path = path
        self._host = host
        try:
            self._fd = host.open(path, os.O_RDONLY)
        except OSError as error:
            raise Spoiled(f"{path}: {error.strerror}") from None
        self._kept: dict[int, bytes] = {}

    @cached_property
    def _index(self) -> _Index:
        end = self._host.size(self._fd)
        footer = self._host.read_at(self._fd, _FOOTER_BYTES, max(0, end - _FOOTER_BYTES))
        try:
            figures = zip(footer.split(), _FOOTER, strict=True)
            position, size, crc = (int(figure, base) for figure, base in figures)
            if not 0 <= position <= position + size <= end:
                raise ValueError
            index = self._read(position, size, crc)
            return _index_decoder.decode(index)
        except (ValueError, msgspec.MsgspecError):
            raise Spoiled(f"{self.path}: its end does not verify") from None

    def _read(self, position: int, size: int, crc: int) -> bytes:
        data = self._host.read_at(self._fd, size, position)
        if len(data) != size or crc32(data) != crc:
            raise Spoiled(f"{self.path}: byte {position} and the {size} after it do not verify")
        return data

    def _lines(self, block: _Block) -> bytes:
        data = self._read(block.position, block.size, block.crc)
        try:
            return decompress(data) if self._index.packed else data
        except error:
            raise Spoiled(f"{self.path}: byte {block.position} does not decompress") from None

    def close(self) -> None:
        self._host.close(self._fd)

    def __len__(self) -> int:
        return self._index.count

    @cached_property
    def gone(self) -> frozenset[int]:
        """Numbers whose rows in older tables do not count any more."""
        return frozenset(self._index.gone)

    def row(self, number: int) -> bytes | None:
        """The line of one row; None where it is not in here."""
        return self._find(self._index.rows, number, _number_of)

    def number(self, name: str) -> int | None:
        """The number that a name stands for; None where it is not in here."""
        line = self._find(self._index.names, name, _name_of)
        return None if line is None else int(line.rpartition(b"\t")[2])

    def _find(
        self, blocks: list[_Block], key: _Key, key_of: Callable[[bytes], _Key]
    ) -> bytes | None:
        at = bisect_right(blocks, key, key=_first) - 1
        if at < 0:
            return None
        data = self._block(blocks[at])
        low, high = 1, len(data)
        # Both are where a line begins, and it is not before or behind them.
        while low < high:
            start = data.rfind(b"\n", low - 1, (low + high) // 2) + 1
            end = data.index(b"\n", start)
            found = key_of(data[start:end])
            if found == key:
                return data[start:end]
            if found < key:
                low = end + 1
            else:
                high = start
        return None

    def _block(self, block: _Block) -> bytes:
        """The lines of a block, each with a newline on both sides."""
        data = self._kept.get(block.position)
        if data is None:
            data = b"\n" + self._lines(block)
            if len(self._kept) >= _BLOCKS_KEPT:
                self._kept.clear()
            self._kept[block.position] = data
        return data

    def row_blocks(self) -> Iterator[bytes]:
        """All rows, rising, in pieces of whole lines."""
        yield from map(self._lines, self._index.rows)

    def entries(self, *, newest_first: bool = False, beyond: int | None = None) -> Iterator[Entry]:
        """All rows and those that are gone, by number; with `beyond`, those that come after it."""
        entries = self._entries(newest_first, beyond)
        if beyond is None:
            return entries
        if newest_first:
            return dropwhile(lambda one: one.number >= beyond, entries)
        return dropwhile(lambda one: one.number <= beyond, entries)

    def _entries(self, newest_first: bool, beyond: int | None) -> Iterator[Entry]:
        gone = iter(sorted(self.gone, reverse=newest_first))
        next_gone = next(gone, None)
        for block in self._from(newest_first, beyond):
            lines = self._lines(block).split(b"\n")
            lines.pop()
            for line in reversed(lines) if newest_first else lines:
                number = _number_of(line)
                while next_gone is not None and (next_gone > number) == newest_first:
                    yield Entry(next_gone, b"")
                    next_gone = next(gone, None)
                yield Entry(number, line)
        if next_gone is not None:
            yield Entry(next_gone, b"")
            yield from (Entry(number, b"") for number in gone)

    def _from(self, newest_first: bool, beyond: int | None) -> Sequence[_Block]:
        """The blocks of rows, without most that come before `beyond`."""
        blocks = self._index.rows
        if newest_first:
            end = len(blocks) if beyond is None else bisect_right(blocks, beyond, key=_first)
            return blocks[:end][::-1]
        start = 0 if beyond is None else max(0, bisect_right(blocks, beyond, key=_first) - 1)
        return blocks[start:]

    def numbers(self) -> Iterator[int]:
        """The numbers of all rows, in the order of their names."""
        for block in self._index.names:
            lines = self._lines(block)
            yield from map(int, _NUMBER.findall(lines))

    def names(self, start: str = "") -> Iterator[tuple[str, int]]:
        """Names and their numbers, rising, from `start` on."""
        blocks = self._index.names
        at = max(0, bisect_right(blocks, start, key=_first) - 1)
        for block in blocks[at:]:
            lines = self._lines(block).decode().split("\n")
            for line in lines[:-1]:
                name, _, number = line.partition("\t")
                if name >= start:
                    yield name, int(number)


def merged(
    tables: Sequence[Table], *, newest_first: bool = False, beyond: int | None = None
) -> Iterator[Entry]:
    """What several tables say together, by number, with what is gone; `tables` is from the newest
    to the oldest, and the newest that knows a number is right about it. `beyond` as in
    `Table.entries`."""

    def aged(age: int, table: Table) -> Iterator[tuple[int, int, bytes]]:
        # Negative, so that in both directions the newest comes first among equals.
        age = -age if newest_first else age
        for number, line in table.entries(newest_first=newest_first, beyond=beyond):
            yield number, age, line

    streams = [aged(age, table) for age, table in enumerate(tables)]
    together = merge(*streams, reverse=newest_first) if len(streams) > 1 else streams[0]
    for number, entries in groupby(together, itemgetter(0)):
        yield Entry(number, next(entries)[2])


def write_merged(host: Host, path: str, tables: Sequence[Table], *, last: bool) -> None:
    """Make one table of several, from the newest to the oldest; `last` where no older one is left
    whose rows could have to be hidden. Raises `OSError` and `Spoiled`."""
    gone: list[int] = []

    def rows() -> Iterator[Entry]:
        for found in merged(tables):
            if found.line:
                yield found
            else:
                gone.append(found.number)

    def named(age: int, table: Table) -> Iterator[tuple[str, int, int]]:
        for name, number in table.names():
            yield name, age, number

    def names() -> Iterator[tuple[str, int]]:
        left_out = frozenset(gone)
        for name, several in groupby(merge(*map(named, count(), tables)), itemgetter(0)):
            number = next(several)[2]
            if number not in left_out:
                yield name, number

    write(host, path, rows(), names(), () if last else gone)
