"""Directories in memory, where syncs cost nothing: for states that are laid out by hand."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MEMORY = "/dev/shm"


def directory_in_memory() -> Path:
    """A new one; on disk where the system has no memory to give."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    return Path(tempfile.mkdtemp(dir=memory, prefix="queuectl-"))
