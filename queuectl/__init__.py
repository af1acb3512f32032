"""queuectl: a background job queue for shell commands on an append-only log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.domain.job import Job
    from queuectl.jobqueue import Queue

__version__ = "0.1.0"
__all__ = ["Job", "Queue", "__version__"]


def __getattr__(name: str) -> object:
    # Lazily, so that `queuectl --version` does not load the whole house.
    if name == "Queue":
        from queuectl.jobqueue import Queue

        return Queue
    if name == "Job":
        from queuectl.domain.job import Job

        return Job
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
