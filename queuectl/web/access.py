"""Who may do what: roles, tokens, one-time links for browsers, and what browsers get for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hmac import compare_digest
from typing import NamedTuple

import msgspec
from starlette.requests import HTTPConnection

from queuectl import ids, instants
from queuectl.engines.file import shelf
from queuectl.errors import Invalid, LockTimedOut, Newer, NoSpace, NotFound, Rejected
from queuectl.home import Home
from queuectl.host import OUT_OF_SPACE, Host
from queuectl.suggestion import did_you_mean
from queuectl.web.secrets import digest, secret

VIEWER, SUBMITTER, OPERATOR, ADMIN = ROLES = ("viewer", "submitter", "operator", "admin")
"""Each may do what those before it may: see; enqueue jobs, which is to run anything; change what
becomes of jobs and queues; change settings."""
_BYTES_MAX = 1 << 20
_HOUR_US = 3600 * 1_000_000
_SESSION_US = 12 * _HOUR_US
_SESSIONS_MAX = 1000
_PATIENCE_S = 2.0
"""How long to wait for somebody else who changes the file."""


class Visitor(NamedTuple):
    """Who asks."""

    name: str
    """That of their token; empty for whoever started the server."""
    role: str
    actor: str = ""
    """What events call them; empty for what they call whoever started the server."""

    def may(self, role: str) -> bool:
        """Whether they may do what is for that role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def lacks(self, role: str) -> str:
        """What they are told who may not."""
        return f"this is for the role {role} or above, and you are {self.role}: use such a token"


def visitor(connection: HTTPConnection) -> Visitor | None:
    """Who asks; None for somebody unknown."""
    found = connection.scope.get("queuectl.visitor")
    assert found is None or isinstance(found, Visitor)
    return found


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The right to ask, of whoever has the secret."""

    name: str
    role: str
    digest: str
    """SHA-256 of the secret, which itself is kept nowhere."""
    actor: str
    """Who added it."""
    at: str


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser is let in by, once."""

    name: str
    """Of the token whose rights it gives; empty for all rights."""
    digest: str
    until_us: int


class _Kept(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the file holds."""

    tokens: list[Token] = []
    links: list[Link] = []
    url: str = ""
    """Where the server was started last."""


class Tokens:
    """The tokens and links of one queue, in a private file in its data directory."""

    def __init__(self, home: Home, host: Host) -> None:
        self._home = home
        self._host = host
        self._path = os.path.join(home.web, "access.json")

    def list(self) -> list[Token]:
        """All tokens there are, by name."""
        return sorted(self._read().tokens, key=lambda token: token.name)

    def add(self, name: str, role: str, *, actor: str) -> str:
        """Make a token; returns its secret, which nobody can find out later.

        Raises `Invalid`, and `Rejected` where there is one of that name.
        """
        if not ids.is_valid(name):
            raise Invalid(
                f"{name!r:.60} is no name for a token: 1 to 128 of A-Z a-z 0-9 . _ : -,"
                " not beginning with '.' or '-'"
            )
        if role not in ROLES:
            raise Invalid(f"{role!r:.60} is no role: it is one of {', '.join(ROLES)}")
        made = secret(self._host)
        at = instants.from_us(self._host.now_us())
        with self._changing() as kept:
            if any(token.name == name for token in kept.tokens):
                raise Rejected(f"there is a token {name} already: remove it, or take another name")
            token = Token(name=name, role=role, digest=digest(made), actor=actor, at=at)
            kept.tokens.append(token)
        return made

    def remove(self, name: str) -> None:
        """Let nobody in by that token any more, whoever is already in included. Raises
        `NotFound`."""
        with self._changing() as kept:
            self._named(kept, name)
            kept.tokens = [token for token in kept.tokens if token.name != name]
            kept.links = [link for link in kept.links if link.name != name]

    def link(self, name: str, valid_ms: int) -> str:
        """Make a link that lets a browser in once, within so long; returns its secret. Raises
        `NotFound`."""
        made = secret(self._host)
        now_us = self._host.now_us()
        with self._changing() as kept:
            if name:
                self._named(kept, name)
            link = Link(name=name, digest=digest(made), until_us=now_us + valid_ms * 1000)
            kept.links = [*(one for one in kept.links if one.until_us > now_us), link]
        return made

    def take(self, made: str) -> Visitor | None:
        """Whom a link lets in, which it does no more from now on; None where it lets nobody in."""
        found: Link | None = None
        wanted = digest(made)
        # Most that come here are wrong: those are no reason to write.
        if not any(compare_digest(link.digest, wanted) for link in self._read().links):
            return None
        now_us = self._host.now_us()
        with self._changing() as kept:
            for link in kept.links:
                if compare_digest(link.digest, wanted) and link.until_us > now_us:
                    found = link
            kept.links = [one for one in kept.links if one is not found and one.until_us > now_us]
        return self.known(found.name) if found is not None else None

    def find(self, made: str) -> Visitor | None:
        """Whose token has that secret."""
        wanted = digest(made)
        found: Token | None = None
        # All of them are compared, so that the time tells nothing.
        for token in self._read().tokens:
            if compare_digest(token.digest, wanted):
                found = token
        return _visitor(found) if found is not None else None

    def mark(self, name: str) -> str:
        """What tells the token of that name from a later one of the same name."""
        return next((one.digest for one in self._read().tokens if one.name == name), "")

    def known(self, name: str, mark: str = "") -> Visitor | None:
        """Who has the token of that name, if there still is one, and it is the one marked so."""
        if not name:
            return Visitor("", ADMIN)
        for token in self._read().tokens:
            if token.name == name and mark in ("", token.digest):
                return _visitor(token)
        return None

    @property
    def url(self) -> str:
        """Where the server was started last. Raises `NotFound`."""
        url = self._read().url
        if not url:
            raise NotFound("no server was ever started here: queuectl web starts one")
        return url

    def serve_at(self, url: str) -> None:
        """Remember where it is served."""
        with self._changing() as kept:
            kept.url = url

    # ---- the file

    def _named(self, kept: _Kept, name: str) -> Token:
        for token in kept.tokens:
            if token.name == name:
                return token
        names = [token.name for token in kept.tokens]
        hint = did_you_mean(name, names) or "; queuectl web token list shows those there are"
        raise NotFound(f"there is no token {name}{hint}")

    @contextmanager
    def _changing(self) -> Iterator[_Kept]:
        """What the file holds, to be changed by one at a time. Raises `LockTimedOut` and
        `NoSpace`; then it is as it was."""
        host, home = self._host, self._home
        try:
            if host.make_directory(home.web):
                host.sync_directory(home.root)
            lock = host.hold_within(os.path.join(home.web, "LOCK"), _PATIENCE_S)
            if lock is None:
                raise LockTimedOut("somebody else keeps changing the tokens: try again")
            try:
                kept = self._read()
                yield kept
                shelf.clear_up(self._path, host)
                data = msgspec.json.format(msgspec.json.encode(kept)) + b"\n"
                shelf.put(self._path, data, host)
            finally:
                host.close(lock)
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            raise NoSpace(
                f"no space left for {self._path}: nothing was changed; free some, then try again"
            ) from None

    def _read(self) -> _Kept:
        try:
            fd = self._host.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return _Kept()
        try:
            data = self._host.read_at(fd, _BYTES_MAX, 0)
        finally:
            self._host.close(fd)
        try:
            return msgspec.json.decode(data, type=_Kept)
        except msgspec.MsgspecError as error:
            raise Newer(
                f"{self._path} cannot be understood ({error}): use a newer queuectl, or delete it"
                " and add the tokens again"
            ) from None


def _visitor(token: Token) -> Visitor:
    return Visitor(token.name, token.role, f"{token.name}@web")


# ---- browsers that were let in


class Sessions:
    """Who is in, by the cookie that a browser has; they end with the server, or after 12 hours."""

    def __init__(self, tokens: Tokens, host: Host) -> None:
        self._tokens = tokens
        self._host = host
        self._names: dict[str, tuple[str, str, int]] = {}
        """By digest of the cookie the name and mark of the token, and until when."""

    def begin(self, visitor: Visitor) -> str:
        """Let somebody in; returns what the cookie is to hold."""
        made = secret(self._host)
        while len(self._names) >= _SESSIONS_MAX:
            del self._names[next(iter(self._names))]
        until_us = self._host.now_us() + _SESSION_US
        self._names[digest(made)] = (visitor.name, self._tokens.mark(visitor.name), until_us)
        return made

    def find(self, made: str) -> Visitor | None:
        """Who has that cookie, with the rights they have now."""
        # What is looked up is no secret, so how long that takes tells nothing of one.
        name, mark, until_us = self._names.get(digest(made), ("", "", 0))
        return self._tokens.known(name, mark) if until_us > self._host.now_us() else None

    def end(self, made: str) -> None:
        """That cookie is worth nothing any more."""
        self._names.pop(digest(made), None)
