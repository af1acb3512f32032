from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Untroubled
from shipping_logs import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, Untroubled())
    yield site
    site.close()
