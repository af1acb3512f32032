"""A sink in files: JSON lines in a directory, each event in it exactly once. Knows no network.

A file is named by the offset of its first event, and where the next one begins depends on nothing
but the lines: so the same log makes the same files. What is there already is compared and not
written again. That is how nothing stands there twice, wherever the process died before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from msgspec.structs import replace

from queuectl.engines.file.shelf import Numbered
from queuectl.errors import Invalid
from queuectl.events.codec import Stretch
from queuectl.home import check_directory_of
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.shipment import Shipment, fitting
from queuectl.ship.sink import Opening, Refused, Unavailable

_LOCK = "LOCK"
_NAME_BYTES = 256
_LINE_BYTES_MAX = 1 << 21
_REDACTED = b'"redacted":['
"""Within a string there would be a backslash before each quote."""
_OFFSET = re.compile(rb'\{"offset":([0-9]+),')
DEFAULTS = {"send_events": 0, "send_bytes": 4 << 20, "file_events": 0, "file_bytes": 64 << 20}


def checked(sink: Sink, host: Host) -> Sink:
    """Raises `Invalid` where no directory is named, and `NotFound` where none can be made."""
    kind, _, address = sink.to.partition(":")
    if not address:
        raise Invalid(f"--to {sink.to}: name a directory behind it")
    path = os.path.abspath(os.path.join(host.directory(), os.path.expanduser(address)))
    check_directory_of(path, host)
    return replace(sink, to=f"{kind}:{path}")


def outlet(opening: Opening) -> Files:
    """Raises what `Files` does."""
    return Files(opening)


class Files:
    """The files in one directory, which is made if it is not there."""

    suffixes: tuple[str, ...] = (".jsonl",)
    """How the names end of what is put there."""

    def __init__(self, opening: Opening) -> None:
        """Raises `Unavailable` where somebody else is at it, `Refused` where it is for something
        else, and `OSError`."""
        self._directory = opening.sink.to.partition(":")[2]
        self._host = opening.host
        self._shelf = Numbered(self._directory, self.suffixes[0], self._host)
        self._events_max = opening.sink.file_events
        """So many events at most are in a file (0: any number) …"""
        self._bytes_max = opening.sink.file_bytes
        """… and so many bytes, unless a single event has more."""
        self._first = 0
        """The file that is written to; 0 while there is none …"""
        self._following = 0
        """The next file, where there is one already: what it has goes into no other …"""
        self._fd = -1
        self._position = 0
        """… how many of its bytes are accounted for …"""
        self._events = 0
        """… how many events those are …"""
        self._size = 0
        """… and how many bytes it has."""
        self._lock = -1
        try:
            self._claim(opening.log)
            self._refuse_future(opening.head)
            self._find(opening.cursor)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for fd in (self._fd, self._lock):
            if fd >= 0:
                self._host.close(fd)
        self._fd = self._lock = -1

    # ---- whose directory it is

    def _claim(self, log: str) -> None:
        """Lock the directory, and see that it is for this log."""
        host, directory = self._host, self._directory
        if host.make_directory(directory):
            host.sync_directory(os.path.dirname(directory))
        path = os.path.join(directory, _LOCK)
        if not host.exists(path) and any(map(self._is_ours, host.names(directory))):
            raise Refused(f"{directory} has files that queuectl did not put there: name another")
        lock = host.hold(path)
        if lock is None:
            raise Unavailable(f"somebody else is writing to {directory}")
        self._lock = lock
        owner = host.read_at(lock, _NAME_BYTES, 0).decode(errors="replace").strip()
        if not owner:
            host.write_at(lock, log.encode() + b"\n", 0)
            host.fsync(lock)
            host.sync_directory(directory)
        elif owner != log:
            raise Refused(f"{directory} holds what another log had shipped: name another")

    def _is_ours(self, name: str) -> bool:
        return name.endswith(self.suffixes)

    def _refuse_future(self, head: int) -> None:
        """See that no file is of a past in which more had happened than in this one."""
        last = max(self._firsts(), default=0)
        if last > head:
            raise Refused(
                f"{self._directory} has event {last}, and the log has only {head}: the log is an"
                " older copy; move those files away, or ship elsewhere"
            )

    # ---- where it stands

    def _firsts(self) -> set[int]:
        """With which event each file begins that is there, of whatever form."""
        shelves = (Numbered(self._directory, suffix, self._host) for suffix in self.suffixes)
        return {first for shelf in shelves for first in shelf.list()}

    def _find(self, cursor: int) -> None:
        """Take up the file that the event after `cursor` goes into."""
        self._shelf.remove_leftovers()
        first = max((first for first in self._shelf.list() if first <= cursor), default=0)
        if first:
            self._open(first)
            for line in self._whole_lines():
                found = _OFFSET.match(line)
                if found is None or int(found[1]) > cursor:
                    break
                self._position += len(line) + 1
                self._events += 1
            self._renew()

    def _open(self, first: int) -> None:
        self._take(first, self._host.open(self._shelf.path(first), os.O_RDWR | os.O_APPEND))
        self._size = self._host.size(self._fd)

    def _take(self, first: int, fd: int) -> None:
        self._fd = fd
        self._first, self._position, self._events, self._size = first, 0, 0, 0
        self._following = min((other for other in self._firsts() if other > first), default=0)

    def _whole_lines(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._shelf.pieces(self._fd, 0, self._size):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines

    def _renew(self) -> None:
        """Make a file anew of which nobody knows whether all that can be read there is durable: it
        may be in memory only, after a sync that failed."""
        if self._position < self._size and self._first == max(self._shelf.list()):
            pieces = self._shelf.pieces(self._fd, 0, self._size)
            fd = self._shelf.publish(self._first, pieces)
            self._host.close(self._fd)
            self._fd = fd

    # ---- writing

    def send(self, shipment: Shipment) -> None:
        """Return once all of it is on disk. Raises `Refused` where something else is there."""
        self._write(Stretch(shipment.first, shipment.last - shipment.first + 1, shipment.data))

    def _write(self, rest: Stretch) -> None:
        if self._fd >= 0 and not self._host.is_at(self._path, self._host.identity(self._fd)):
            self._leave()  # whoever wanted it has taken it away
        while rest.events:
            some = self._fitting(rest) if self._fd >= 0 else 0
            if not some:
                self._finish(rest.first)
                self._begin(rest.first)
                some = max(1, self._fitting(rest))
            part, rest = rest.cut(some)
            self._put(part.data, part.first)
            self._events += some
        self._shelf.sync(self._host.fdatasync, self._fd)

    def _fitting(self, rest: Stretch) -> int:
        """How many of these lines still fit into the file."""
        room = self._events_max - self._events if self._events_max else rest.events
        if self._following:
            room = min(room, self._following - rest.first)
        return fitting(rest.data, rest.events, room, self._bytes_max - self._position)

    def _begin(self, first: int) -> None:
        if self._host.exists(self._shelf.path(first)):
            self._open(first)
            self._renew()
        else:
            self._take(first, self._host.create(self._shelf.path(first)))
            self._shelf.sync(self._host.sync_directory, self._directory)

    def _finish(self, following: int) -> None:
        """Nothing more goes into this file; only then the next one is begun."""
        if self._fd >= 0:
            if self._position < self._size:
                self._cut(self._position, following)
            self._shelf.sync(self._host.fdatasync, self._fd)
            self._leave()

    def _leave(self) -> None:
        self._host.close(self._fd)
        self._fd = -1

    def _put(self, data: bytes, first: int) -> None:
        """Let these lines, the first of them with the event `first`, stand at the position."""
        end = self._position + len(data)
        there = b"".join(self._shelf.pieces(self._fd, self._position, min(end, self._size)))
        if not data.startswith(there):
            start = _same_lines(data, there)
            line = data[start : data.index(b"\n", start)]
            self._cut(self._position + start, first + data.count(b"\n", 0, start), line)
            there = data[:start]
        self._host.write_all(self._fd, data[len(there) :])
        self._position = end
        self._size = max(self._size, end)

    def _cut(self, position: int, offset: int, wanted: bytes = b"") -> None:
        """Take away what was left half written where the line of an event should begin, which is
        `wanted` if it goes into this file. Raises `Refused` where a whole line stands there."""
        end = min(self._size, position + _LINE_BYTES_MAX)
        line, newline, _ = b"".join(self._shelf.pieces(self._fd, position, end)).partition(b"\n")
        if newline and _REDACTED in wanted and _REDACTED not in line:
            raise Refused(
                f"{self._path} has event {offset} as it was before it was redacted: move it away,"
                " and it is made anew"
            )
        if newline and b"\0" not in line:
            raise Refused(
                f"{self._path} has something else where event {offset} of the log belongs, so it is"
                " of another past, or was made with other limits: move it away, or ship elsewhere"
            )
        self._host.truncate(self._fd, position)
        self._shelf.sync(self._host.fdatasync, self._fd)
        self._size = position

    @property
    def _path(self) -> str:
        return self._shelf.path(self._first)


def _same_lines(data: bytes, there: bytes) -> int:
    """Where the first whole line of `data` begins that is another one there, or is not there."""
    start = end = 0
    while there.startswith(data[start:end], start) and end < len(data):
        start, end = end, data.index(b"\n", end) + 1
    return start
