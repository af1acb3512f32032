"""A sink in NATS JetStream: each event is a message with an id by which the stream knows it again.

Needs the extra `nats`. The client lives on an event loop in a thread of its own, so that the
connection is kept alive while nothing is shipped.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from queuectl.errors import Invalid, not_installed
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.http import Token, check_open, with_token
from queuectl.ship.shipment import Shipment
from queuectl.ship.sink import Opening, Refused, Unavailable

DEFAULTS = {
    "send_events": 1000,
    "send_bytes": 1 << 20,
    "timeout_ms": 10_000,
    "token_file": "",
    "token_env": "",
    "subject": "queuectl",
}
_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_TYPE = re.compile(rb'"type":"([^"]+)"')
_NO_STREAM = "no stream takes the subject {0}.>: make one that does"


def checked(sink: Sink, host: Host) -> Sink:
    """Raises `Invalid` for what is no server's address, and `QueuectlError` without the extra."""
    _library()
    try:
        parts = urlsplit(sink.to)
        usable = parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise Invalid(f"--to {sink.to}: that is no server such as nats://host:4222")
    check_open(parts)
    if not _SUBJECT.fullmatch(sink.subject):
        raise Invalid(f"--subject {sink.subject}: it is words with dots between, such as a.b")
    return with_token(sink, host)


def outlet(opening: Opening) -> Stream:
    return Stream(opening.sink, opening.host)


def _library() -> Any:
    try:
        import nats
    except ImportError:
        raise not_installed("a sink in NATS needs nats-py", "nats", "nats-py") from None
    return nats


class Stream:
    """Publishes each event to SUBJECT.<its type>, and waits for all to be acknowledged."""

    def __init__(self, sink: Sink, host: Host) -> None:
        """Raises `QueuectlError` without the extra."""
        self._nats = _library()
        self._sink = sink
        self._timeout_s = sink.timeout_ms / 1000
        self._token = Token(sink, host)
        self._client: Any = None
        self._error: Exception | None = None
        """What the client complained of last."""
        self._trouble = asyncio.Event()
        self._sending: concurrent.futures.Future[Any] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"{sink.name} nats", daemon=True
        )
        self._thread.start()

    def send(self, shipment: Shipment) -> None:
        errors = self._nats.errors
        self._sending = asyncio.run_coroutine_threadsafe(self._send(shipment), self._loop)
        try:
            self._sending.result()
        except errors.MaxPayloadError:
            raise Refused(
                f"{self._sink.to} takes no message as long as one of the events {shipment.first} to"
                f" {shipment.last}: raise max_payload there"
            ) from None
        except self._nats.js.errors.BadRequestError as error:
            raise Refused(f"{self._sink.to}: {error.description}") from None
        except self._nats.js.errors.NoStreamResponseError:
            raise Unavailable(_NO_STREAM.format(self._sink.subject)) from None
        except concurrent.futures.CancelledError:
            raise Unavailable("broken off") from None
        except TimeoutError:
            why = self._error or f"no answer within {self._timeout_s:g} s"
            raise Unavailable(f"{self._sink.to}: {why}") from None
        except (errors.Error, OSError) as error:
            said = getattr(error, "description", None) or getattr(error, "strerror", None)
            raise Unavailable(f"{self._sink.to}: {said or error}") from None

    def close(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop)
        self._thread.join(self._timeout_s)
        if not self._loop.is_running():
            self._loop.close()

    # ---- on the loop

    async def _send(self, shipment: Shipment) -> None:
        async with asyncio.timeout(self._timeout_s):
            stream = await self._connected()
            waiting = [
                await stream.publish_async(
                    f"{self._sink.subject}.{_type_of(text)}",
                    text,
                    headers={"Nats-Msg-Id": f"{shipment.log}-{offset}"},
                )
                for offset, text in enumerate(shipment.texts, shipment.first)
            ]
            acknowledged = asyncio.gather(*waiting)
            trouble = asyncio.ensure_future(self._trouble.wait())
            try:
                await asyncio.wait((acknowledged, trouble), return_when=asyncio.FIRST_COMPLETED)
                if acknowledged.done():
                    acknowledged.result()
                elif self._error is not None:
                    raise self._error
            finally:
                trouble.cancel()
                acknowledged.cancel()

    async def _connected(self) -> Any:
        if self._client is None or not self._client.is_connected:
            await self._hang_up()
            self._client = self._nats.NATS()
            await self._client.connect(
                [self._sink.to],
                name=f"queuectl ship {self._sink.name}",
                allow_reconnect=False,
                connect_timeout=self._timeout_s,
                error_cb=self._hear,
                closed_cb=self._hear_of_end,
                token=self._token.read() or None,
            )
        self._error = None
        self._trouble.clear()
        return self._client.jetstream(publish_async_max_pending=self._sink.send_events)

    async def _hear(self, error: Exception) -> None:
        # Also what a stream answers to a message that it does not take: the client does not give
        # that to whoever waits for the answer.
        self._error = error
        self._trouble.set()

    async def _hear_of_end(self) -> None:
        await self._hear(self._error or self._nats.errors.ConnectionClosedError())

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(self._nats.errors.Error, OSError):
                await client.close()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._hang_up()
        except TimeoutError:
            pass
        finally:
            self._loop.stop()


def _type_of(text: bytes) -> str:
    # The first one found is the mark itself: text of people comes later in the line.
    found = _TYPE.search(text)
    return found[1].decode() if found else "unknown"
