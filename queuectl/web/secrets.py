"""Secrets: made of chance, and known again by their digest alone."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from queuectl.host import Host

_BYTES = 32


def secret(host: Host) -> str:
    """A new one of 256 bits, of letters that a URL can have."""
    return urlsafe_b64encode(host.random(_BYTES)).rstrip(b"=").decode()


def digest(made: str) -> str:
    """What is kept of it. One hash is enough: nobody can try 256 bits."""
    return sha256(made.encode(errors="surrogatepass")).hexdigest()
