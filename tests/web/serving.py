"""A real server on a real queue, and who asks it."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from programs import Background, Shell
from workers import PATIENCE_S, eventually

_LINK = re.compile(r"http://([^:/]+):(\d+)/(login/\S+)?")


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self
        return str(self.json["detail"])


class Web:
    """A server that a test has started."""

    def __init__(self, shell: Shell, *options: str, code: str = "") -> None:
        self.shell = shell
        self.running = self._start(shell, options, code)
        found = eventually(lambda: self._found())
        self.port = int(found[2])
        self.link = "/" + (found[3] or "")
        self.token = ""

    @staticmethod
    def _start(shell: Shell, options: tuple[str, ...], code: str) -> Background:
        words = ("web", "serve", "--port", "0", *options)
        return shell.start(*words) if not code else shell.start_changed(code, *words)

    def _found(self) -> re.Match[str] | None:
        assert self.running.process.poll() is None, self.running.err
        return _LINK.match(self.running.out)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> Reply:
        """Ask with this token, or with the test's own; the names of headers have _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        token = self.token if token is None else token
        if token:
            given.setdefault("Authorization", f"Bearer {token}")
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            given.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, raw, given)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, told, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Any:
        """The document at a path below /api/v1."""
        reply = self.ask("GET", f"/api/v1{path}", **more)
        assert reply.status == 200, reply
        return reply.json

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        reply = self.ask("POST", f"/api/v1{path}", body, **more)
        assert reply.status in (200, 201), reply
        return reply.json

    def raw(self, data: bytes) -> bytes:
        """Everything that comes back for bytes, until the server ends it."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as plug:
            plug.sendall(data)
            pieces = []
            while piece := plug.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)

    def stream(self, path: str, **headers: str) -> Stream:
        return Stream(self, path, headers)

    def sign_in(self, link: str | None = None) -> str:
        """The cookie that a link gives, as a browser sends it."""
        reply = self.ask("GET", link or self.link, token="")
        assert (reply.status, reply.headers["location"]) == (303, "/"), reply
        return reply.headers["set-cookie"].partition(";")[0]

    def stop(self) -> int:
        """End it as a system does; returns its exit code."""
        self.running.signal(signal.SIGTERM)
        return self.running.ended().code


class Stream:
    """An answer that goes on."""

    def __init__(self, web: Web, path: str, headers: dict[str, str]) -> None:
        self._connection = HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE_S)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(
            "GET", path, headers={"Authorization": f"Bearer {web.token}", **given}
        )
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.read()

    def lines(self) -> Iterator[bytes]:
        """Line by line, without their ends."""
        while line := self.answer.readline():
            yield line.rstrip(b"\n")

    def messages(self) -> Iterator[dict[str, str]]:
        """Server-sent events, field by field."""
        fields: dict[str, str] = {}
        for line in self.lines():
            if line:
                name, _, value = line.decode().partition(": ")
                fields[name] = value
            elif fields:
                yield fields
                fields = {}

    def events(self) -> Iterator[dict[str, Any]]:
        for message in self.messages():
            if "data" in message and "event" not in message:
                yield {**json.loads(message["data"]), "id": message.get("id")}

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


def reads_nothing(web: Web) -> socket.socket:
    """Somebody who has asked for all events and takes none of them."""
    plug = socket.create_connection(("127.0.0.1", web.port))
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = f"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: {web.host}\r\n"
    request += f"Authorization: Bearer {web.token}\r\nAccept: text/event-stream\r\n\r\n"
    plug.sendall(request.encode())
    return plug


def token(shell: Shell, name: str, role: str) -> str:
    return shell.ok("web", "token", "add", name, "--role", role).out.strip()


def web_files(shell: Shell) -> list[Path]:
    return sorted((shell.data / "web").iterdir())
