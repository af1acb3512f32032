"""Where things lie on disk: the only place that knows the names inside a data directory, and
whether such a directory can be trusted."""

from __future__ import annotations

import os.path
import re

from queuectl.errors import NotFound, QueuectlError
from queuectl.host import Host

OUTPUT_RUNS = 1000
"""So many tokens have a directory for their output."""
_OUTPUT = re.compile(r"(.+)\.([1-9][0-9]*)\.(?:out|err)")


def check_directory_of(path: str, host: Host) -> None:
    """Raises `NotFound` where the directory is not there in which something is to be made."""
    directory = os.path.dirname(path)
    # Neither a file nor a link that leads nowhere will do.
    if not host.exists(os.path.join(directory, os.curdir)):
        raise NotFound(f"there is no directory {directory}: make it first")


class Home:
    """The paths of one data directory; `root` is absolute."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.log = os.path.join(self.root, "log")
        self.run = os.path.join(self.root, "run")
        self.output = os.path.join(self.root, "output")
        self.archive = os.path.join(self.root, "archive")
        self.payloads = os.path.join(self.root, "payloads")
        self.cursors = os.path.join(self.root, "cursors")
        self.sinks = os.path.join(self.root, "sinks")
        self.web = os.path.join(self.root, "web")
        self.snapshots = os.path.join(self.root, "snapshots")
        self.past = os.path.join(self.snapshots, "past")

    def make(self, host: Host) -> None:
        """Make what is not there yet; raises what `check` and `check_directory_of` do, and
        `OSError`."""
        check_directory_of(self.root, host)
        # The log last: whoever finds it finds all of them.
        for directory in (self.root, self.run, self.output, self.log):
            if host.make_directory(directory):
                host.sync_directory(os.path.dirname(directory))
        self.check(host)

    def find(self, host: Host) -> None:
        """Refuse a place where there is no queue, and what `check` refuses."""
        if not host.exists(self.log):
            raise NotFound(
                f"there is no queue at {self.root}: enqueue a job to make one,"
                " or name another place with --data"
            )
        self.check(host)

    def check(self, host: Host) -> None:
        """Refuse a place that others could write to, or whose file system cannot be trusted."""
        if not host.is_private(self.root):
            raise QueuectlError(
                f"{self.root} belongs to or can be written by somebody else, who could make this"
                " queue run anything: chown it to yourself and chmod 700 it"
            )
        kind = host.network_file_system(self.root)
        if kind and not host.environment().get("QUEUECTL_ALLOW_NETWORK_FS"):
            raise QueuectlError(
                f"{self.root} is on a network file system ({kind}), where locks and syncs cannot be"
                " trusted: use a local disk, or set QUEUECTL_ALLOW_NETWORK_FS=1 to risk it"
            )

    def output_directory(self, token: int) -> str:
        """Shared by hundreds of attempts: one for each job would take most of its start, because
        file systems lay new directories far apart."""
        return os.path.join(self.output, str(token // OUTPUT_RUNS))

    def output_file(self, job: str, token: int, stream: str) -> str:
        """Where the attempt `token` of `job` writes; `stream` is `out` or `err`."""
        return os.path.join(self.output_directory(token), f"{job}.{token}.{stream}")

    def run_of(self, name: str) -> tuple[str, int] | None:
        """(job, token) of the attempt that writes to the file of that name; None for any other."""
        found = _OUTPUT.fullmatch(name)
        return (found[1], int(found[2])) if found else None

    def worker_lock(self, worker: str) -> str:
        """Locked as long as the worker lives."""
        return os.path.join(self.run, worker)

    def worker_bell(self, worker: str) -> str:
        """The pipe that wakes the worker."""
        return os.path.join(self.run, f"{worker}.bell")

    def slot_lock(self, worker: str, slot: int) -> str:
        """Locked as long as any process of the attempt in that slot lives."""
        return os.path.join(self.run, f"{worker}.{slot}")
