"""Files that are named on the command line, to be read; `-` is standard input."""

from __future__ import annotations

import sys
from typing import BinaryIO

from queuectl.errors import Invalid, NotFound, QueuectlError


def opened(file: str) -> BinaryIO:
    """Raises `NotFound` where it is not there, and `Invalid` where it cannot be read."""
    try:
        return open(file, "rb")
    except OSError as error:
        raise meant(error, file) from None


def content(file: str) -> bytes:
    """All of it. Raises what `opened` does."""
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        with opened(file) as stream:
            return stream.read()
    except OSError as error:
        raise meant(error, file) from None


def meant(error: OSError, file: str) -> QueuectlError:
    """What to tell where a file could not be opened or read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound(f"there is no file {file}")
    return Invalid(f"{'standard input' if file == '-' else file}: {error.strerror}")
