"""Serving: from a port to the end of the last stream."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EADDRINUSE
from types import FrameType

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from queuectl.errors import Invalid, QueuectlError
from queuectl.web.guard import HEAD_BYTES_MAX, SEND_S
from queuectl.web.live import Live

_HEAD_S = 20.0
"""How long a client may take to say what it wants."""
_CONNECTIONS_MAX = 500
_GRACE_S = 3
"""How long a client may still take what it has been answered, once the server is to end."""


def bind(host: str, port: int) -> socket.socket:
    """A socket to be served at. Raises `QueuectlError`."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With its protocol, by which asyncio knows that the end of an answer may be sent at once:
        # else it waits until the beginning is acknowledged, for which a client takes 40 ms.
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise QueuectlError(f"--host {host}: {error.strerror}") from None
    except UnicodeError:
        raise Invalid(f"--host {host:.60}: it is no name of a machine") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Every connection has it from here. Whoever reads nothing for so long is gone, whatever
            # is still to be sent.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_S * 1000))
        bound.bind((host, port))
        # At once, so that of two that are started together one hears that it is too late.
        bound.listen()
    except OSError as error:
        bound.close()
        if error.errno == EADDRINUSE:
            raise QueuectlError(
                f"{where} is in use by another program: choose another with --port"
            ) from None
        raise QueuectlError(f"{where} cannot be served: {error.strerror}") from None
    return bound


def serve(app: Starlette, live: Live, bound: socket.socket) -> None:
    """Answer requests until SIGTERM or Ctrl-C; a second one does not wait for answers."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        limit_concurrency=_CONNECTIONS_MAX,
        # Never so long: by then nobody is left.
        timeout_graceful_shutdown=10 * _GRACE_S,
    )
    _Server(config, live).run(sockets=[bound])


class _Server(uvicorn.Server):
    """Ends streams when it is to end; its own would wait for them."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._live.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._live.stop()
        # Whoever reads nothing would be waited for, and its answer be said to have failed.
        cut = asyncio.get_running_loop().call_later(_GRACE_S, self._cut_off)
        await super().shutdown(sockets)
        cut.cancel()
        await asyncio.to_thread(self._live.join)

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Its own raises them again at the end, which would be the end of what is to be done
        after."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


class _Protocol(H11Protocol):
    """Gives up on who does not come to the point."""

    _give_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._give_up = self.loop.call_later(_HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._give_up is None:
            self._give_up = self.loop.call_later(_HEAD_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None
