"""Cursors: how far others have read a log that they ship elsewhere; nothing past them may go.

A cursor is a file with one decimal offset in it, named as its owner likes.
"""

from __future__ import annotations

import os
from collections.abc import Container

from queuectl.engines.file.shelf import MAKING, put
from queuectl.host import Host

_DIGITS_MAX = 20


def least(directory: str, host: Host, lost: Container[str] = ()) -> int | None:
    """The offset up to which everybody has read; None where nobody reads.

    One that cannot be understood has read nothing: what it needs must not go. Those named in `lost`
    are not waited for.
    """
    # What is still being written does not count, nor does what has gone since it was listed.
    names = [
        name for name in host.names(directory) if not name.startswith(MAKING) and name not in lost
    ]
    found = [read(directory, name, host) for name in names]
    return min((offset for offset in found if offset is not None), default=None)


def read(directory: str, name: str, host: Host) -> int | None:
    """The offset of one cursor, 0 where it cannot be understood; None where there is none."""
    try:
        fd = host.open(os.path.join(directory, name), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:
        return 0
    try:
        text = host.read_at(fd, _DIGITS_MAX + 2, 0).strip()
    except OSError:
        return 0
    finally:
        host.close(fd)
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else 0


def move(directory: str, name: str, offset: int, host: Host) -> None:
    """Make a cursor say `offset`, durably and at once or not at all. Raises `OSError`."""
    if host.make_directory(directory):
        host.sync_directory(os.path.dirname(directory))
    put(os.path.join(directory, name), b"%d\n" % offset, host)
