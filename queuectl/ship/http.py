"""Sinks behind HTTP: posting something until it is acknowledged, and the plain one that takes JSON
lines.

Each request has a connection of its own. On one that is kept, a second answer to a request could be
taken for that to the next, and a shipment for acknowledged that nobody has got.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import SplitResult, urlsplit

from msgspec.structs import replace

from queuectl import __version__
from queuectl.errors import Invalid
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship.shipment import Shipment
from queuectl.ship.sink import Opening, Refused, Unavailable

_GZIP_LEVEL = 5
_ANSWER_BYTES_MAX = 1 << 16
_SHOWN_CHARACTERS = 200
_RETRY_AFTER_S_MAX = 3600.0
"""Who says later than that may be wrong."""
_AGAIN = frozenset((408, 409, 425, 429))
"""Of the answers that blame the request, those that may be other ones later. 409 says that the same
shipment is being processed still, from a try before."""
_TOKEN_CHARACTERS_MAX = 1 << 14
_TOKEN = re.compile(r"[!-~]+")


DEFAULTS = {
    "send_events": 5000,
    "send_bytes": 1 << 20,
    "timeout_ms": 30_000,
    "gzip": True,
    "token_file": "",
    "token_env": "",
}


def outlet(opening: Opening) -> JsonLines:
    return JsonLines(opening.sink, opening.host)


def checked(sink: Sink, host: Host) -> Sink:
    """Raises `Invalid` for what is not the URL of something to post to."""
    check_url(sink.to)
    return with_token(sink, host)


def with_token(sink: Sink, host: Host) -> Sink:
    """The same, with the token's file named from wherever it is looked for. Raises `Invalid`."""
    if sink.token_file and sink.token_env:
        raise Invalid("--token-file and --token-env: there is one token; name one of them")
    if not sink.token_file:
        return sink
    path = os.path.expanduser(sink.token_file)
    return replace(sink, token_file=os.path.abspath(os.path.join(host.directory(), path)))


def check_url(url: str) -> None:
    """Raises `Invalid`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character <= " " for character in url):
        raise Invalid(f"--to {url}: that is no URL such as https://host:8080/path")
    check_open(parts)
    if parts.fragment:
        raise Invalid(f"--to {url}: a fragment (#{parts.fragment}) is not sent to anybody")


def check_open(url: SplitResult) -> None:
    """Raises `Invalid` where a URL holds what not everybody may see."""
    if url.username is not None or url.password is not None:
        raise Invalid(
            "--to: a password in a URL can be seen by everybody: use --token-file or --token-env"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is posted goes where somebody said, and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


class Poster:
    """Posts with what a sink's definition says: token, timeout, compression."""

    def __init__(self, sink: Sink, host: Host) -> None:
        self._sink = sink
        self._host = host
        self._token = Token(sink, host)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the answer once it says that all is well.

        Raises `Unavailable` where it may be so later, and `Refused` where it never will.
        """
        token = self._token.read()
        sent = {"User-Agent": f"queuectl/{__version__}", **headers}
        if self._sink.gzip:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            sent["Content-Encoding"] = "gzip"
        if token:
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, body, sent, method="POST")
        try:
            with self._opener.open(request, timeout=self._sink.timeout_ms / 1000) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise self._meaning(error, token) from None
        except urllib.error.URLError as error:
            reason = error.reason
            why = reason.strerror if isinstance(reason, OSError) else None
            raise Unavailable(f"{url}: {why or reason}") from None
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"{url}: no whole answer ({why})") from None

    def _read(self, answer: IO[bytes]) -> bytes:
        """All of an answer: one that is cut off may be about something else."""
        give_up_s = self._host.monotonic_s() + self._sink.timeout_ms / 1000
        data = b""
        while piece := answer.read(_ANSWER_BYTES_MAX):
            data += piece[: _ANSWER_BYTES_MAX - len(data)]
            if self._host.monotonic_s() >= give_up_s:
                raise TimeoutError("timed out")
        return data

    def _meaning(self, error: urllib.error.HTTPError, token: str) -> Exception:
        try:
            said = self._read(error).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            said = ""
        said = " ".join(said.split())
        if token:
            # Some servers repeat what they were sent.
            said = said.replace(token, "…")
        about = f": {said[:_SHOWN_CHARACTERS]}" if said else ""
        why = f"{error.url} answers {error.code} {error.reason}{about}"
        if error.code >= 500 or error.code in _AGAIN:
            return Unavailable(why, self._retry_s(error.headers.get("Retry-After", "")))
        if 300 <= error.code < 400 and error.headers.get("Location"):
            why += f" (it is elsewhere: {error.headers['Location'][:_SHOWN_CHARACTERS]})"
        return Refused(why)

    def _retry_s(self, text: str) -> float:
        """How long `Retry-After` asks to wait, in seconds or until a date."""
        try:
            wait_s = (
                float(text)
                if text.isdecimal()
                else parsedate_to_datetime(text).timestamp() - self._host.now_us() / 1e6
            )
        except (ValueError, TypeError):
            return 0.0
        return min(max(0.0, wait_s), _RETRY_AFTER_S_MAX)


class Token:
    """The bearer token of a sink, read anew each time: it may be replaced while we run."""

    def __init__(self, sink: Sink, host: Host) -> None:
        self._sink = sink
        self._host = host

    def read(self) -> str:
        """Empty where it has none. Raises `Unavailable` where it is not there, and `OSError`."""
        sink = self._sink
        if sink.token_env:
            where = f"the variable {sink.token_env}"
            text = self._host.environment().get(sink.token_env, "")
        elif sink.token_file:
            where = f"the file {sink.token_file}"
            with open(sink.token_file, encoding="utf-8", errors="replace") as file:
                text = file.read(_TOKEN_CHARACTERS_MAX)
        else:
            return ""
        text = text.strip()
        if not _TOKEN.fullmatch(text):
            raise Unavailable(f"{where} holds no token")
        return text


class JsonLines:
    """Posts shipments as JSON lines, each under a key by which the receiver knows it again."""

    def __init__(self, sink: Sink, host: Host) -> None:
        self._url = sink.to
        self._poster = Poster(sink, host)

    def send(self, shipment: Shipment) -> None:
        headers = {
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": f'"{shipment.key}"',
        }
        self._poster.post(self._url, shipment.data, headers)

    def close(self) -> None:
        """Nothing is held between two shipments."""
