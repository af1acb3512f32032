"""A real HTTP server on loopback that takes what is shipped, and misbehaves when it is told to."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import msgspec


class Request(NamedTuple):
    """One that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes
    """Uncompressed."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.body.split(b"\n")[:-1]]


Answer = Callable[["_Handler", Request], None]


class Receiver:
    """`answers` are given to the next requests, one each; afterwards all is well."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.taken: dict[str, Request] = {}
        """What was acknowledged or may have been, by its key."""
        self.choose: Callable[[], Answer] = lambda: self.answers.pop(0) if self.answers else take
        receiver = self

        class Handler(_Handler):
            def answer(self, request: Request) -> None:
                receiver.requests.append(request)
                receiver.choose()(self, request)

            def keep(self, request: Request) -> None:
                receiver.taken[request.headers.get("idempotency-key", "")] = request

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def offsets(self) -> list[int]:
        """Of all that was taken, each once, in the order of the log."""
        found = {event["offset"] for request in self.taken.values() for event in request.events}
        return sorted(found)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.answer(Request(self.path, headers, body))

    def answer(self, request: Request) -> None:
        raise NotImplementedError

    def keep(self, request: Request) -> None:
        raise NotImplementedError

    def say(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """Cut the connection, at once and rudely."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


# ---- answers


def take(handler: _Handler, request: Request) -> None:
    handler.keep(request)
    handler.say(200, b"{}")


def says(code: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda handler, request: handler.say(code, body, **headers)


def cuts(handler: _Handler, request: Request) -> None:
    handler.cut()


def takes_and_cuts(handler: _Handler, request: Request) -> None:
    handler.keep(request)
    handler.cut()


def cuts_in_the_answer(handler: _Handler, request: Request) -> None:
    handler.keep(request)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    handler.cut()


def takes_twice(handler: _Handler, request: Request) -> None:
    """Acknowledges one request twice, the second time where the next one's answer would stand."""
    take(handler, request)
    handler.say(200, b"{}")


def is_slow(seconds: float) -> Answer:
    def wait(handler: _Handler, request: Request) -> None:
        threading.Event().wait(seconds)
        handler.cut()

    return wait


def talks_nonsense(handler: _Handler, request: Request) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    handler.cut()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
