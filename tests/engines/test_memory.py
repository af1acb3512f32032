"""The memory log keeps what every log promises."""

from __future__ import annotations

import pytest
from conformance import LogConformance, Open
from hosts import SteadyHost

from queuectl.engines.memory import MemoryLog


class TestMemoryLog(LogConformance):
    @pytest.fixture
    def handle(self, host: SteadyHost) -> Open:
        log = MemoryLog(host)
        return lambda: log
