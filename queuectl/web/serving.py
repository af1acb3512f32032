"""Serving: from a port to its end."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

from queuectl.errors import QueuectlError


def bind(host: str, port: int) -> socket.socket:
    """A socket to be served at. Raises `QueuectlError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        raise QueuectlError(f"{host}:{port} cannot be served: {error.strerror}") from None
    return bound


def serve(app: Starlette, bound: socket.socket) -> None:
    """Answer requests until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[bound])
