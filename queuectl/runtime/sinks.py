"""The sinks of a queue: what is to be shipped where, how far each has got, and what it holds back.
Knows not how a sink is reached."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from queuectl import ids, instants
from queuectl.engines.file import FileLog, cursors, lines, shelf
from queuectl.errors import Altered, Disproved, Invalid, Newer, NotFound, Rejected
from queuectl.events.log import LAST
from queuectl.home import Home
from queuectl.host import Host
from queuectl.instants import Instant
from queuectl.quantities import format_duration, format_size
from queuectl.suggestion import did_you_mean

_DEFINITION = ".json"
_LOCK = ".lock"
_CONDITION = ".status"
_LOST = ".lost"
_BYTES_MAX = 1 << 16
_SHIPMENT_BYTES = 41
_NAME_MAX = 64
_AGAIN = (
    "say with queuectl ship reset where to go on: with --to-start it is sent all again, and what"
    " files have already is not written twice"
)


class Sink(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One sink as somebody defined it; an option that its kind does not have is left out."""

    name: str
    to: str
    """Its kind and its address."""
    start: int = 0
    """The event after which shipping began, or begins where the cursor is gone."""
    show_env: bool = False
    """Ship the values given with --env, too."""
    send_events: int = 0
    """So many events at most are sent together …"""
    send_bytes: int = 0
    """… and about so many bytes."""
    file_events: int = 0
    """So many events at most are in one file; 0 for no limit."""
    file_bytes: int = 0
    """So many bytes at most, unless one event alone is longer."""
    timeout_ms: int = 0
    """How long one shipment may take."""
    gzip: bool = False
    """Send it compressed."""
    token_file: str = ""
    """Where the bearer token is to be found: in this file …"""
    token_env: str = ""
    """… or in this variable of whoever ships."""
    signals: tuple[str, ...] = ()
    """What of OpenTelemetry it gets: `traces`, `logs` or both."""
    subject: str = ""
    """What the subjects of its messages begin with."""
    cwd: str = ""
    """The directory that its command runs in."""
    max_lag_ms: int = 0
    """How old what it lacks may be before compaction waits for it no longer; 0: it always waits."""
    max_held_bytes: int = 0
    """The same for how much of the log it lacks."""
    actor: str = ""
    """Who defined it: user@host."""
    at: Instant = ""
    """When."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How shipping to a sink went when something last changed about that."""

    error: str = ""
    """Why the last try failed; empty where it did not."""
    at: Instant = ""
    failures: int = 0
    """Tries that failed one after the other."""
    retry_at: Instant = ""
    """When it will be tried again."""
    stopped: bool = False
    """It will not be tried again until somebody has seen to it."""


class Lag(NamedTuple):
    """What a sink lacks yet."""

    events: int
    ms: int
    """How old the first of them is."""
    bytes: int
    """Of the log, which compaction leaves as they are for its sake."""


class Sinks:
    """All sinks of one queue, in its data directory."""

    def __init__(self, home: Home, host: Host) -> None:
        self._home = home
        self._host = host

    def names(self) -> list[str]:
        """All there are, in alphabetical order."""
        return self._with(_DEFINITION)

    def get(self, name: str) -> Sink:
        """Raises `NotFound`, `Newer` for a definition that this program does not understand, and
        `Altered` for that of another sink."""
        data = self._read(name, _DEFINITION)
        if data is None:
            hint = did_you_mean(name, self.names()) or "; queuectl ship list shows those there are"
            raise NotFound(f"there is no sink {name}{hint}")
        path = self._path(name, _DEFINITION)
        try:
            sink = msgspec.json.decode(data, type=Sink)
        except msgspec.MsgspecError as error:
            raise Newer(
                f"the definition of sink {name} cannot be understood ({error}): use a newer"
                f" queuectl, or delete {path} and add it again"
            ) from None
        if sink.name != name:
            # It would be shipped to in the place of that one, whose cursor would be moved.
            raise Altered(
                f"{path} is the definition of sink {sink.name}: give it back that name,"
                f" or delete it and add {name} with queuectl ship add"
            )
        return sink

    def add(self, sink: Sink) -> None:
        """Define a sink; compaction waits for it from now on. Raises `Rejected` where there is one
        of that name."""
        if self._host.make_directory(self._home.sinks):
            self._host.sync_directory(self._home.root)
        lock = self.hold(sink.name)
        try:
            if sink.name in self.names():
                raise Rejected(f"there is a sink {sink.name} already: choose another name")
            # The cursor last: without one the definition says where to begin.
            data = msgspec.json.format(msgspec.json.encode(sink)) + b"\n"
            shelf.put(self._path(sink.name, _DEFINITION), data, self._host)
            self.move(sink.name, sink.start)
        finally:
            self._host.close(lock)

    def remove(self, name: str) -> None:
        """Forget a sink and how far it has got. Raises `NotFound`, and `Rejected` while somebody
        ships to it."""
        self.get(name)
        lock = self.hold(name)
        try:
            # The definition last: a cursor without one would hold compaction up for ever.
            path = os.path.join(self._home.cursors, name)
            for gone in (path, *(self._path(name, what) for what in (_LOST, _CONDITION, _LOCK))):
                self._unlink(gone)
            self._host.sync_directory(self._home.cursors)
            self._unlink(self._path(name, _DEFINITION))
            self._host.sync_directory(self._home.sinks)
        finally:
            self._host.close(lock)

    def reset(self, name: str, offset: int) -> None:
        """Go on after `offset`. Raises `NotFound`, and `Rejected` while somebody ships to it."""
        self.get(name)
        lock = self.hold(name)
        try:
            self.move(name, offset)
            self._unlink(self._path(name, _CONDITION))
        finally:
            self._host.close(lock)

    # ---- who ships

    def hold(self, name: str) -> int:
        """Be the only one who has to do with a sink, until the descriptor returned is closed.

        Raises `Rejected` where somebody else is.
        """
        lock = self._host.hold(self._path(name, _LOCK))
        if lock is None:
            raise Rejected(
                f"somebody else is shipping to {name}: let that end first, or see ship status"
            )
        shelf.clear_up(self._path(name, _DEFINITION), self._host)
        shelf.clear_up(self._path(name, _CONDITION), self._host)
        shelf.clear_up(os.path.join(self._home.cursors, name), self._host)
        return lock

    def is_served(self, name: str) -> bool:
        """Whether somebody ships to it now."""
        return self._host.is_held(self._path(name, _LOCK))

    def note_shipment(self, lock: int, first: int, last: int) -> None:
        """Write down what is about to be sent, so that it is the same shipment again if this
        process dies before it knows what became of it."""
        self._host.write_at(lock, b"%020d %020d" % (first, last), 0)

    def noted_shipment(self, lock: int) -> tuple[int, int]:
        """(first, last) of what was sent last; zeros where nothing was."""
        words = self._host.read_at(lock, _SHIPMENT_BYTES, 0).split()
        if len(words) != 2 or not all(word.isdigit() for word in words):
            return 0, 0
        return int(words[0]), int(words[1])

    # ---- how far it has got

    def cursor(self, name: str, head: Callable[[], int] = lambda: LAST) -> int:
        """The last event that was shipped to it, of a log that ends with `head`.

        Raises `Altered` where that cannot be believed, and `Disproved` where the log ends before.
        """
        try:
            found = cursors.read(self._home.cursors, name, self._host, sealed=True)
        except Altered as error:
            raise Altered(f"the cursor of sink {name} was altered: {error}; {_AGAIN}") from None
        cursor = self.get(name).start if found is None else found
        # Asked for only now, as somebody may ship meanwhile.
        if cursor > (end := head()):
            raise Disproved(
                f"sink {name} has been shipped all up to event {cursor}, and the log ends with"
                f" event {end}: it was cut off, or is an older copy; {_AGAIN}"
            )
        return cursor

    def waited_for(self, name: str, head: Callable[[], int]) -> int:
        """The event up to which compaction takes it to have all of a log that ends with `head`; 0
        where nobody knows."""
        found = cursors.waited_for(self._home.cursors, name, self._host, head, sealed=True)
        return self.get(name).start if found is None else found

    def others(self) -> Iterator[tuple[str, int | None, str]]:
        """(name, offset, what is wrong with it) of each cursor that is of no sink: compaction waits
        for them, too."""
        for name in sorted({*cursors.names(self._home.cursors, self._host)} - {*self.names()}):
            try:
                yield name, cursors.read(self._home.cursors, name, self._host), ""
            except Altered as error:
                yield name, None, str(error)

    def move(self, name: str, offset: int) -> None:
        """All up to `offset` has been shipped. Raises `OSError`."""
        cursors.move(self._home.cursors, name, offset, self._host)
        self._unlink(self._path(name, _LOST))

    def lag(self, log: FileLog, name: str, now: Instant) -> Lag:
        cursor = self.waited_for(name, log.head)
        size, at = lines.left(log, cursor)
        return Lag(max(0, log.head() - cursor), instants.between_ms(at, now) if at else 0, size)

    def condition(self, name: str) -> Condition:
        data = self._read(name, _CONDITION)
        try:
            return msgspec.json.decode(data or b"{}", type=Condition)
        except msgspec.MsgspecError:
            return Condition()

    def note_condition(self, name: str, condition: Condition) -> None:
        """Raises `OSError`."""
        shelf.put(self._path(name, _CONDITION), msgspec.json.encode(condition), self._host)

    # ---- who was waited for long enough

    def lost(self) -> list[str]:
        """Those that compaction waits for no longer."""
        return self._with(_LOST)

    def mark_lost(self, name: str, why: str) -> None:
        """Let compaction wait for it no longer, until it has got further. Raises `OSError`."""
        shelf.put(self._path(name, _LOST), why.encode() + b"\n", self._host)

    def overdue(self, log: FileLog, now: Instant) -> Iterator[tuple[str, str]]:
        """(name, why) of each that lags further behind than it may, and is waited for yet."""
        for name in {*self.names()} - {*self.lost()}:
            try:
                sink = self.get(name)
            except (Altered, Newer, NotFound):  # nobody knows how far it may lag
                continue
            if not (sink.max_lag_ms or sink.max_held_bytes):
                continue
            lag = self.lag(log, sink.name, now)
            if 0 < sink.max_lag_ms < lag.ms:
                is_behind, may_be = format_duration(lag.ms), format_duration(sink.max_lag_ms)
                yield sink.name, f"it lags {is_behind} behind, and its max-lag is {may_be}"
            elif 0 < sink.max_held_bytes < lag.bytes:
                holds, may_hold = format_size(lag.bytes), format_size(sink.max_held_bytes)
                yield sink.name, f"it holds up {holds} of the log, and its max-held is {may_hold}"

    # ---- files

    def _path(self, name: str, what: str) -> str:
        return os.path.join(self._home.sinks, name + what)

    def _with(self, what: str) -> list[str]:
        return sorted(
            name[: -len(what)]
            for name in self._host.names(self._home.sinks)
            if name.endswith(what) and not name.startswith(shelf.MAKING)
        )

    def _read(self, name: str, what: str) -> bytes | None:
        try:
            fd = self._host.open(self._path(name, what), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return self._host.read_at(fd, _BYTES_MAX, 0)
        finally:
            self._host.close(fd)

    def _unlink(self, path: str) -> None:
        if self._host.exists(path):
            self._host.unlink(path)


def check_name(name: str) -> str:
    """Raises `Invalid` for what cannot be the name of a sink."""
    if not ids.is_valid(name) or len(name) > _NAME_MAX or name.startswith(shelf.MAKING):
        raise Invalid(
            f"{name!r} is no name for a sink: 1 to {_NAME_MAX} of A-Za-z0-9._:-, not starting with"
            f" a dot, a dash or {shelf.MAKING}"
        )
    return name
