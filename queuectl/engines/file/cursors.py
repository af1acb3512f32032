"""Cursors: how far others have read a log that they ship elsewhere; nothing past them may go.

A cursor is a file with one decimal offset in it, named as its owner likes. A checksum may stand
behind it, by which its owner knows whether it is as it was written.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Container

from queuectl.engines.file.shelf import MAKING, put
from queuectl.errors import Altered
from queuectl.events.log import LAST
from queuectl.host import Host

_DIGITS_MAX = 20
_BYTES_MAX = _DIGITS_MAX + len(" 00000000\n")


def names(directory: str, host: Host) -> list[str]:
    """All there are, but for what is still being written."""
    return [name for name in host.names(directory) if not name.startswith(MAKING)]


def least(
    directory: str,
    host: Host,
    head: Callable[[], int] = lambda: LAST,
    lost: Container[str] = (),
    sealed: Container[str] = (),
) -> int | None:
    """The offset up to which everybody has read of a log that ends with `head`; None where nobody
    reads. Those named in `lost` are not waited for; those in `sealed` are to be as `move` has
    written them."""
    found = [
        waited_for(directory, name, host, head, sealed=name in sealed)
        for name in names(directory, host)
        if name not in lost
    ]
    # What has gone since it was listed does not count.
    return min((offset for offset in found if offset is not None), default=None)


def waited_for(
    directory: str, name: str, host: Host, head: Callable[[], int], *, sealed: bool
) -> int | None:
    """The offset of one cursor as compaction sees it: one that cannot be believed has read nothing,
    so that what it needs does not go; nor has one that `move` has written of a log that went
    further than this one. None where there is none."""
    try:
        offset = read(directory, name, host, sealed=sealed)
    except Altered:
        return 0
    # Asked for the end of the log only now: it may have been moved a moment ago.
    return 0 if sealed and offset is not None and offset > head() else offset


def read(directory: str, name: str, host: Host, *, sealed: bool = False) -> int | None:
    """The offset of one cursor; None where there is none.

    Raises `Altered` where it cannot be understood; where it is to be `sealed`, also where it is not
    as `move` has written it.
    """
    path = os.path.join(directory, name)
    try:
        # Of a pipe, nobody waits for what it says.
        fd = host.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = host.read_at(fd, _BYTES_MAX + 1, 0)
        finally:
            host.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Altered(f"{path} cannot be read ({error.strerror})") from None
    digits = data.split(b" ")[0].strip()
    if digits.isdigit() and len(digits) <= _DIGITS_MAX:
        offset = int(digits)
        if data == _sealed(name, offset) or (not sealed and data.strip() == digits):
            return offset
    raise Altered(f"{path} is not as it was written")


def move(directory: str, name: str, offset: int, host: Host) -> None:
    """Make a cursor say `offset`, durably and at once or not at all. Raises `OSError`."""
    if host.make_directory(directory):
        host.sync_directory(os.path.dirname(directory))
    put(os.path.join(directory, name), _sealed(name, offset), host)


def _sealed(name: str, offset: int) -> bytes:
    return b"%d %08x\n" % (offset, zlib.crc32(f"{name} {offset}".encode()))
