"""What jobs print: one file per run and stream, written by the job itself, never copied.

Files are named by fencing token, so a zombie of an old run writes into its own.
"""

from __future__ import annotations

import os

from queuectl.home import Home
from queuectl.host import Host

ERROR_CHARACTERS_MAX = 500
_TAIL_BYTES = 4096


class Output:
    """The two files of one run, open while it lasts."""

    def __init__(self, home: Home, host: Host, job: str, token: int) -> None:
        """Raises `OSError` where they cannot be made."""
        self._host = host
        out = home.output_file(job, token, "out")
        try:
            self.out = self._create(out)
        except FileNotFoundError:
            host.make_directory(home.output)
            host.make_directory(home.output_directory(token))
            self.out = self._create(out)
        try:
            self.err = self._create(home.output_file(job, token, "err"))
        except OSError:
            host.close(self.out)
            raise

    def _create(self, path: str) -> int:
        try:
            return self._host.create(path)
        except FileExistsError:
            # From a log that somebody has deleted since: its tokens are given again.
            self._host.unlink(path)
            return self._host.create(path)

    def sizes(self) -> tuple[int, int]:
        """Bytes so far on standard output and standard error."""
        return self._host.size(self.out), self._host.size(self.err)

    def last_error_line(self) -> str:
        """The last line with anything in it on standard error, bounded; empty if there is none."""
        size = self._host.size(self.err)
        if not size:
            return ""
        start = max(0, size - _TAIL_BYTES)
        text = self._host.read_at(self.err, _TAIL_BYTES, start).decode(errors="replace")
        lines = text.replace("\0", "\ufffd").rstrip().splitlines()
        return lines[-1].strip()[:ERROR_CHARACTERS_MAX] if lines else ""

    def close(self) -> None:
        self._host.close(self.out)
        self._host.close(self.err)


class OutputReader:
    """Reads what a run has printed so far, and then what it goes on to print."""

    def __init__(self, home: Home, host: Host, job: str, token: int, stream: str) -> None:
        self._host = host
        self._path = home.output_file(job, token, stream)
        self._fd = -1
        self.position = 0
        """The byte that is read next."""

    def read(self, size: int = 1 << 16) -> bytes:
        """The next bytes; empty when there are none (yet)."""
        if self._fd < 0:
            try:
                self._fd = self._host.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return b""
        piece = self._host.read_at(self._fd, size, self.position)
        self.position += len(piece)
        return piece

    def exists(self) -> bool:
        return self._host.exists(self._path)

    def size(self) -> int:
        """Bytes so far."""
        return self._host.file_size(self._path)

    def close(self) -> None:
        if self._fd >= 0:
            self._host.close(self._fd)
