"""Which run a process belongs to that has outlived the one that started it; knows no job.

The worker adopts what its runs leave behind, so nothing can go so far that it is not seen: not by
a session of its own, not by closing every file, not by an empty environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from queuectl.host import Host
from queuectl.runtime.start import Start


class _Run(NamedTuple):
    start: Start
    markers: Sequence[str]
    lock_path: str


class Orphans:
    """The adopted children of this process, by the run that they are part of."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._strangers = set(host.children())
        """Children that no run has left."""
        self._runs: dict[int, _Run] = {}
        self._suspects: dict[int, set[int]] = {}
        """Per orphan the tokens of the runs that it may be part of."""

    def begin(self, token: int, start: Start, markers: Sequence[str], lock_path: str) -> None:
        """A run is being started."""
        self._runs[token] = _Run(start, markers, lock_path)

    def end(self, token: int) -> None:
        """Nothing of that run is left; told again, it changes nothing."""
        self._runs.pop(token, None)

    def leave(self, pid: int) -> None:
        """That child is not to be ended: it belongs to somebody else."""
        self._strangers.add(pid)
        self._suspects.pop(pid, None)

    def forget(self, pid: int) -> None:
        """A child that was to be left alone has been reaped: another may come to have its id."""
        self._strangers.discard(pid)

    def of(self, token: int) -> list[int]:
        """Orphans that are part of that run, and of no other that still goes on, as of the last
        `reap`."""
        live = self._runs.keys()
        return [pid for pid, tokens in self._suspects.items() if tokens & live == {token}]

    def reap(self) -> None:
        """See who was adopted, and let those that have ended go."""
        known = {run.start.pid for run in self._runs.values()} | self._strangers
        for pid in self._host.children():
            if pid in known:
                continue
            if self._host.has_ended(pid):
                self._host.reap(pid)
                self._suspects.pop(pid, None)
            elif pid not in self._suspects:
                self._suspects[pid] = self._suspected(pid)

    def _suspected(self, pid: int) -> set[int]:
        _, session = self._host.group_and_session(pid)
        for token, run in self._runs.items():
            # A session that lies outside of this container is told as 0, too.
            own = run.start.pid != 0 and session == run.start.pid
            if own or self._host.is_marked(pid, run.markers, run.lock_path):
                return {token}
        # It has wiped every trace. Better to end it late than to end what another run still needs.
        return set(self._runs)
