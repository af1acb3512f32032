"""Shipping to one sink, turn by turn: read, send, and only then move the cursor. Knows no kinds of
sinks, no threads and no terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

from queuectl import instants
from queuectl.domain import backoff
from queuectl.engines.file import FileLog
from queuectl.errors import Altered, Disproved, NoSpace, QueuectlError, SyncFailed
from queuectl.home import Home
from queuectl.host import Host
from queuectl.runtime.sinks import Condition, Sinks
from queuectl.ship.shipment import Shipment, Shipments
from queuectl.ship.sink import Open, Opening, Outlet, Unavailable

_RETRY_S = 0.5
_RETRY_MS_MAX = 60_000
_JITTER = 0.5
_TRIES = 5
"""Whoever wants it done once wants to hear that it cannot be done now."""


class Shipping:
    """One sink, served by nobody else until this is closed."""

    def __init__(
        self,
        home: Home,
        host: Host,
        name: str,
        open_outlet: Open,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`note` hears what people should know. Raises `NotFound`, and `Rejected` where somebody
        else ships to it. Where its cursor cannot be believed, it is over at once."""
        self._home = home
        self._host = host
        self._sinks = Sinks(home, host)
        self.sink = self._sinks.get(name)
        self._open_outlet = open_outlet
        self._note = note
        self._lock = self._sinks.hold(name)
        self._log = FileLog(home.log, host, archive=home.archive)
        self.cursor, unknown = self._begin()
        """The last event that the sink has for good."""
        self._shipments = self._read()
        self._noted = self._sinks.noted_shipment(self._lock)
        self._shipment: Shipment | None = None
        """What is being sent, until the sink has it."""
        self._outlet: Outlet | None = None
        self._failures = 0
        self._retry_s = -math.inf
        self.until: int | None = None
        """Up to which event to ship, giving up soon where that fails; None for ever on."""
        self.stopping = False
        """Begin no other shipment."""
        self.error: Exception | None = None
        """Why nothing more will be shipped."""
        self._tell(Condition(at=self._now()), "")
        if unknown is not None:
            self._halt(unknown)

    def _begin(self) -> tuple[int, QueuectlError | None]:
        """(the cursor, why it cannot be believed)."""
        try:
            return self._sinks.cursor(self.sink.name, self._log.head), None
        except (Altered, Disproved) as error:
            return 0, error

    def _read(self) -> Shipments:
        """The log behind the cursor."""
        return Shipments(
            self._log,
            self.cursor,
            events_max=self.sink.send_events,
            bytes_max=self.sink.send_bytes,
            show_env=self.sink.show_env,
            missing=self._miss,
        )

    def _miss(self, first: int, last: int, why: str) -> None:
        about = f" ({why})" if why else ""
        self._say(
            f"events {first} to {last} were taken out of the log and are not in the archive any"
            f" more{about}: it gets what the log has kept of them"
        )

    def close(self) -> None:
        self.break_off()
        self._log.close()
        self._let_go()

    def _let_go(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            self._host.close(lock)

    def break_off(self) -> None:
        """Let go of the sink, even if it is just being sent to: for any thread."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            with suppress(OSError):
                outlet.close()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do."""
        done = self.until is not None and self.cursor >= self.until
        return done or self.stopping or self.error is not None

    def turn(self) -> float:
        """Ship what there is; returns when to try again (monotonic seconds): never, as long as the
        log has nothing new."""
        while not self.is_over and self._host.monotonic_s() >= self._retry_s:
            try:
                if not self._ship():
                    return math.inf
            except (Unavailable, NoSpace, SyncFailed, OSError) as error:
                self._fail(error)
            except QueuectlError as error:
                self.stop(error)
        return self._retry_s

    def _ship(self) -> bool:
        """Ship one shipment; False where there is none."""
        shipment = self._shipment = self._shipment or self._next()
        if shipment is None:
            return False
        if self._outlet is None:
            self._outlet = self._open_outlet(
                Opening(
                    self.sink,
                    shipment.log,
                    self.cursor,
                    self._log.head(),
                    self._home,
                    self._host,
                )
            )
        self._sinks.note_shipment(self._lock, shipment.first, shipment.last)
        self._outlet.send(shipment)
        self._sinks.move(self.sink.name, shipment.last)
        self.cursor, self._shipment = shipment.last, None
        if self._failures:
            self._failures, self._retry_s = 0, -math.inf
            self._tell(Condition(at=self._now()), "it goes on")
        return True

    def _next(self) -> Shipment | None:
        """The next shipment; after a failure or a crash the same one that was being sent, as its
        receiver may know it already."""
        first, last = self._noted
        self._noted = (0, 0)
        return self._shipments.next(last if first == self.cursor + 1 else 0)

    # ---- what goes wrong

    def stop(self, error: Exception) -> None:
        """Ship nothing more until somebody has seen to it, and say so."""
        self._halt(error)
        self._say(f"{error}; nothing more is shipped to it")

    def _halt(self, error: Exception) -> None:
        self.error = error
        self.break_off()
        self._tell(Condition(error=str(error), at=self._now(), failures=1, stopped=True), "")
        # Others may be shipped to for long yet, and this one is to be seen to.
        self._let_go()

    def _fail(self, error: Exception) -> None:
        """Send the same shipment again later, through another outlet: nobody knows what became of
        it in this one."""
        self.break_off()
        # It is read once more: until then some of it may have been redacted.
        if self._shipment is not None:
            self._noted = self.cursor + 1, self._shipment.last
            self._shipment = None
        self._shipments = self._read()
        if self.stopping:
            return
        if isinstance(error, OSError):
            where = f" ({error.filename})" if error.filename else ""
            error = QueuectlError(f"{error.strerror or error}{where}")
        self._failures += 1
        if self.until is not None and self._failures >= _TRIES:
            self.stop(error)
            return
        chance = int.from_bytes(self._host.random(4), "big") / (1 << 32)
        delay_ms = backoff.delay_ms(
            "doubling", _RETRY_S, _RETRY_MS_MAX, self._failures, _JITTER, chance
        )
        delay_s = max(delay_ms / 1000, getattr(error, "retry_s", 0.0))
        self._retry_s = self._host.monotonic_s() + delay_s
        now = self._now()
        condition = Condition(
            error=str(error),
            at=now,
            failures=self._failures,
            retry_at=instants.later(now, round(delay_s * 1000)),
        )
        self._tell(condition, f"{error}; it is tried again" if self._failures == 1 else "")

    def _tell(self, condition: Condition, text: str) -> None:
        # Whoever looks sees less; what counts is that shipping goes on.
        with suppress(OSError):
            self._sinks.note_condition(self.sink.name, condition)
        if text:
            self._say(text)

    def _say(self, text: str) -> None:
        self._note(f"sink {self.sink.name}: {text}")

    def _now(self) -> instants.Instant:
        return instants.from_us(self._host.now_us())
