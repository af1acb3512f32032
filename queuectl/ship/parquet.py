"""A sink in Parquet files: each event in one of them exactly once, or yet to come in JSON lines.

Events are written as JSON lines, as any sink in files does. A file of them in which nothing more
will be written is made into a Parquet file of the same name. Needs the extra `duckdb`.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise

from queuectl.engines.file.shelf import Numbered
from queuectl.events.codec import Stretch
from queuectl.exports import duck
from queuectl.exports.target import Target
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship import files
from queuectl.ship.files import Files
from queuectl.ship.sink import Opening

_MAKING = re.compile(r"\.[0-9]{20}\.parquet\.[0-9a-f]{8}")
DEFAULTS = {**files.DEFAULTS, "file_bytes": 256 << 20}


def checked(sink: Sink, host: Host) -> Sink:
    """Raises what that of `files` does, and `QueuectlError` without the extra."""
    duck.library()
    return files.checked(sink, host)


def outlet(opening: Opening) -> Parquet:
    """Raises what `Files` does, and `QueuectlError` without the extra."""
    duck.library()
    return Parquet(opening)


class Parquet(Files):
    """The files in one directory."""

    suffixes = (".jsonl", ".parquet")

    def _find(self, cursor: int) -> None:
        self._tables = Numbered(self._directory, self.suffixes[1], self._host)
        for name in self._host.names(self._directory):
            if _MAKING.fullmatch(name):  # a crash left it
                self._host.remove_tree(os.path.join(self._directory, name))
        self._turn(cursor + 1)
        super()._find(cursor)

    def _write(self, rest: Stretch) -> None:
        for first, last in self._made:
            # What is in a Parquet file is not written again.
            before, rest = rest.cut(min(max(0, first - rest.first), rest.events))
            if before.events:
                super()._write(before)
            rest = rest.after(last)
        if rest.events:
            super()._write(rest)
        self._turn(self._first)

    def _turn(self, going_on: int) -> None:
        """Make Parquet files of those in which nothing more will be written: all but the last, and
        the one that the event `going_on` goes into."""
        firsts = sorted(self._firsts())
        lines = set(self._shelf.list())
        self._made: list[tuple[int, int]] = []
        """From which to which event they go; of one that is the last nobody knows."""
        for first, following in pairwise(firsts):
            if first in lines and first <= going_on < following:
                continue
            if first in lines:
                path = self._tables.path(first)
                if not self._host.exists(path):
                    with Target(path, self._host) as target:
                        duck.parquet_of_lines(self._shelf.path(first), target)
                        target.keep()
                self._shelf.remove([first])
            self._made.append((first, following - 1))
