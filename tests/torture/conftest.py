from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import directory_in_memory


@pytest.fixture
def ram() -> Iterator[Path]:
    place = directory_in_memory()
    yield place
    shutil.rmtree(place)
