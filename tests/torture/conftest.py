from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def ram(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where syncs cost nothing: for states that are laid out by hand."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(dir=MEMORY, prefix="torture-"))
    yield place
    shutil.rmtree(place)
