"""Cursors: how far others have read a log that they ship elsewhere; nothing past them may go.

A cursor is a file with one decimal offset in it, named as its owner likes.
"""

from __future__ import annotations

import os

from queuectl.engines.file.shelf import MAKING
from queuectl.host import Host

_DIGITS_MAX = 20


def least(directory: str, host: Host) -> int | None:
    """The offset up to which everybody has read; None where nobody reads.

    One that cannot be understood has read nothing: what it needs must not go.
    """
    # What is still being written does not count, nor does what has gone since it was listed.
    names = [name for name in host.names(directory) if not name.startswith(MAKING)]
    found = [_read(os.path.join(directory, name), host) for name in names]
    return min((offset for offset in found if offset is not None), default=None)


def _read(path: str, host: Host) -> int | None:
    try:
        fd = host.open(path, os.O_RDONLY)
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
