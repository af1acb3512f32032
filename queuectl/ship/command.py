"""A sink that is a command: each shipment is the input of one run, and its exit code the answer."""

from __future__ import annotations

import signal

from msgspec.structs import replace

from queuectl.errors import Invalid
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.shipment import Shipment
from queuectl.ship.sink import Opening, Refused, Unavailable

_SCHEME = "exec:"
_DATAERR = 65
"""As in sysexits.h: what was given is no good."""
DEFAULTS = {"send_events": 5000, "send_bytes": 1 << 20, "timeout_ms": 300_000}


def checked(sink: Sink, host: Host) -> Sink:
    """Raises `Invalid` for what is no command."""
    command = sink.to.removeprefix(_SCHEME)
    if not command.strip() or "\0" in command:
        raise Invalid(f"--to {sink.to}: name a command behind it")
    return replace(sink, cwd=host.directory())


def outlet(opening: Opening) -> Command:
    return Command(opening.sink, opening.host)


class Command:
    """Runs what stands behind `exec:` by the shell, in the directory that it was defined in.

    A shipment is taken where it exits with 0, and never will be where it exits with 65; anything
    else is tried again.
    """

    def __init__(self, sink: Sink, host: Host) -> None:
        self._sink = sink
        self._host = host
        self._pid = 0

    def send(self, shipment: Shipment) -> None:
        environment = {
            **self._host.environment(),
            "QUEUECTL_SINK": self._sink.name,
            "QUEUECTL_SHIPMENT": shipment.key,
        }
        argv = ["/bin/sh", "-c", self._sink.to.removeprefix(_SCHEME)]
        timeout_s = self._sink.timeout_ms / 1000
        code = self._host.run_on(
            shipment.data, argv, self._sink.cwd, environment, timeout_s, self._begun
        )
        self._pid = 0
        if code is None:
            raise Unavailable(f"the command took longer than {timeout_s:g} s")
        if code == _DATAERR:
            events = f"events {shipment.first} to {shipment.last}"
            raise Refused(f"the command will not take {events} (exit code {code})")
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
            raise Unavailable(f"the command failed ({how})")

    def _begun(self, pid: int) -> None:
        self._pid = pid

    def close(self) -> None:
        if self._pid:
            self._host.signal_group(self._pid, signal.SIGKILL)
