"""The log in files keeps what every log promises: in one segment, and in as many as can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance import LogConformance, Open
from filelogs import FileLog
from hosts import SteadyHost


class TestFileLog(LogConformance):
    segment_bytes_max = 1 << 20

    @pytest.fixture
    def handle(self, tmp_path: Path, host: SteadyHost) -> Iterator[Open]:
        logs: list[FileLog] = []

        def open_log() -> FileLog:
            size = self.segment_bytes_max
            logs.append(FileLog(str(tmp_path), host, segment_bytes_max=size, lock_timeout_s=5))
            return logs[-1]

        yield open_log
        for log in logs:
            log.close()


class TestFileLogThatRotatesAlways(TestFileLog):
    segment_bytes_max = 1
