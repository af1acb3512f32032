"""Waiting until a file changes: woken by the system, and where that cannot be, by looking often."""

from __future__ import annotations

from queuectl.host import Host

_LOOK_S = 0.05
"""How often to look where nobody wakes."""
_WATCH_S = 1.0
"""How long to trust a watch: the file may have been replaced."""


class Waiting:
    """For one file, which need not be there yet."""

    def __init__(self, host: Host, path: str) -> None:
        self._host = host
        self._path = path
        self._fd = -1

    def wait(self, timeout_s: float) -> None:
        """Return once the file may have changed since the last call, at the latest after so long.
        The first call returns at once: what happened before it is not known."""
        if self._fd < 0:
            self._fd = self._host.make_watch()
            if not self._host.watch(self._fd, self._path):
                self.close()
                self._host.sleep(min(timeout_s, _LOOK_S))
        elif self._host.wait([self._fd], min(timeout_s, _WATCH_S)):
            self._host.silence(self._fd)
        else:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self._host.close(self._fd)
            self._fd = -1
