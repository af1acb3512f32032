"""What shipping asks of a sink, whatever it is: take a shipment for good, or say why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from queuectl.errors import QueuectlError
from queuectl.home import Home
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.shipment import Shipment


class Unavailable(QueuectlError):
    """The sink could not take a shipment now and may later."""

    def __init__(self, why: str, retry_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_s = retry_s
        """It asked not to be tried again before so many seconds."""


class Refused(QueuectlError):
    """The sink will never take this shipment, however often it is sent."""


class Opening(NamedTuple):
    """What is to be opened a way to, and from where."""

    sink: Sink
    log: str
    """The identity of the log."""
    cursor: int
    """The last event that the sink has for good."""
    head: int
    """The last event that there is."""
    home: Home
    host: Host


class Outlet(Protocol):
    """The way to one sink, open."""

    def send(self, shipment: Shipment) -> None:
        """Return once all of the shipment is the sink's, whatever happens here afterwards.

        Raises `Unavailable` or `OSError` where it may not be and is to be sent again, through an
        outlet opened anew; and `Refused`.
        """

    def close(self) -> None:
        """Give back what is held. From another thread it breaks off a `send` that takes too
        long, where that can be."""


Open = Callable[[Opening], Outlet]
"""Opens the way to a sink. Raises `Unavailable`, `Refused` and `OSError`."""
