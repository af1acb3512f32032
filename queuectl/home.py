"""Where things lie on disk: the only place that knows the names inside a data directory."""

from __future__ import annotations

import os.path


class Home:
    """The paths of one data directory; `root` is absolute."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.log = os.path.join(self.root, "log")
        self.run = os.path.join(self.root, "run")
        self.output = os.path.join(self.root, "output")

    def output_directory(self, job: str) -> str:
        return os.path.join(self.output, job)

    def output_file(self, job: str, token: int, stream: str) -> str:
        """Where the attempt `token` of `job` writes; `stream` is `out` or `err`."""
        return os.path.join(self.output, job, f"{token}.{stream}")

    def worker_lock(self, worker: str) -> str:
        """Locked as long as the worker lives."""
        return os.path.join(self.run, worker)

    def worker_bell(self, worker: str) -> str:
        """The pipe that wakes the worker."""
        return os.path.join(self.run, f"{worker}.bell")

    def slot_lock(self, worker: str, slot: int) -> str:
        """Locked as long as any process of the attempt in that slot lives."""
        return os.path.join(self.run, f"{worker}.{slot}")
