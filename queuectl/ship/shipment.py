"""What is sent at a time: some lines of the log that follow each other, made fit to be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from queuectl.engines.file import FileLog, lines
from queuectl.errors import Damaged
from queuectl.events.codec import Stretch
from queuectl.events.log import Missing, ignored

_ENV = re.compile(rb'"env":\[(?:"(?:[^"\\]|\\.)*",?)*\]')
_PAIR = re.compile(rb'"((?:[^"\\=]|\\.)*)=(?:[^"\\]|\\.)*"')


class Shipment(NamedTuple):
    """Events that follow each other without a gap."""

    log: str
    """The identity of the log."""
    first: int
    """The offset of the first of them."""
    last: int
    data: bytes
    """Each as a JSON object in UTF-8 on one line, with its newline."""

    @property
    def key(self) -> str:
        """By this a receiver knows it again."""
        return f"{self.log}-{self.first}-{self.last}"

    @property
    def texts(self) -> list[bytes]:
        """The events one by one, without newlines."""
        return self.data.split(b"\n")[:-1]


class Shipments:
    """The log behind an offset, shipment by shipment; only one of them is in memory."""

    def __init__(
        self,
        log: FileLog,
        after: int,
        *,
        events_max: int,
        bytes_max: int,
        show_env: bool,
        missing: Missing = ignored,
    ) -> None:
        """A shipment has at most `events_max` events (0: any number), and `bytes_max` bytes unless
        a single event has more. `missing` hears what is neither in the log nor in the archive."""
        self._log = log
        self._identity = ""
        self._after = after
        """The last event that was read."""
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._show_env = show_env
        self._missing = missing
        self._stretches: Iterator[Stretch] = iter(())
        self._rest = Stretch(1, 0, b"")
        """What was read and is in no shipment yet."""
        self._damage: Damaged | None = None

    def next(self, last: int = 0) -> Shipment | None:
        """The next one, not past the event `last` (0: as it fits); None where there is nothing new.

        Raises `Damaged` once all that comes before the damage has been given.
        """
        parts: list[bytes] = []
        first = following = size = 0
        while self._rest.events or self._read():
            if parts and self._rest.first != following:
                break
            first = first or self._rest.first
            room = last - self._rest.first + 1 if last >= first else self._rest.events
            if self._events_max:
                room = min(room, first + self._events_max - self._rest.first)
            some = fitting(self._rest.data, self._rest.events, room, self._bytes_max - size)
            if not some and parts:
                break
            part, self._rest = self._rest.cut(some or 1)
            parts.append(part.data)
            size += len(part.data)
            following = part.last + 1
        if not parts:
            if self._damage is not None:
                raise self._damage
            return None
        data = b"".join(parts)
        if not self._show_env and b'"env":[' in data:
            data = _ENV.sub(_names_only, data)
        self._identity = self._identity or self._log.segments.log_of_first()
        return Shipment(self._identity, first, following - 1, data)

    def _read(self) -> bool:
        """Read on; whether there is more."""
        if self._damage is not None:
            return False
        try:
            found = next(self._stretches, None)
            if found is None:
                self._stretches = lines.read(self._log, self._after, self._missing)
                found = next(self._stretches, None)
        except Damaged as damage:
            self._damage, found = damage, None
        if found is None:
            return False
        self._rest, self._after = found, found.last
        return True


def fitting(data: bytes, count: int, events: int, size: int) -> int:
    """How many of the `count` lines in `data` are among the first `events` of them, and in all not
    longer than `size` bytes."""
    if count > events:
        count = max(0, events)
        data = data[: len(data) - len(data.split(b"\n", count)[-1])]
    return count if len(data) <= size else data.count(b"\n", 0, max(0, size))


def _names_only(env: re.Match[bytes]) -> bytes:
    """Of variables given with a job only their names."""
    return _PAIR.sub(rb'"\1"', env[0])
