"""The log that `docs/format.md` prints: a real one, made on a host whose clock and chance are set.

The page must show these bytes exactly; whoever changes the format sees here that it did.
"""

from __future__ import annotations

from pathlib import Path

from queuectl import instants
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.host import Host

BOOT = "6d0f7c4e-53d1-4a6f-9a0e-2f0b6a1d7c11"
WORKER = "01kbmkrhhx6cq4f2t0vza9mw7e"


class _SetHost(Host):
    """The real machine, but for its clock, its chance and its boot id."""

    def __init__(self) -> None:
        self._times_us = iter(
            instants.to_us(f"2026-11-22T02:31:00.{fraction}Z")
            for fraction in ("000000", "000214", "003900", "017102")
        )

    def now_us(self) -> int:
        return next(self._times_us)

    def random(self, size: int) -> bytes:
        return bytes(range(0xA0, 0xA0 + size))

    def boot_id(self) -> str:
        return BOOT


def make(directory: Path) -> None:
    """Make the example log in `directory`, which must exist and be empty."""
    log = FileLog(str(directory), _SetHost())
    log.append(
        [
            Batch(
                [
                    v.JobEnqueued(
                        job="job1",
                        queue="default",
                        attempt=0,
                        command="echo “hi” >&2; exit 1",
                        cwd="/srv",
                        timeout_ms=300_000,
                        backoff_max_ms=3_600_000,
                        actor="ann@host1",
                    )
                ]
            )
        ]
    )
    log.append(
        [
            Batch(
                [
                    v.JobClaimed(
                        job="job1",
                        queue="default",
                        attempt=1,
                        worker=WORKER,
                        slot=1,
                        until="2026-11-22T02:32:00.003871Z",
                    )
                ]
            )
        ]
    )
    log.append(
        [
            Batch(
                [
                    v.JobFailed(
                        job="job1",
                        queue="default",
                        attempt=1,
                        worker=WORKER,
                        token=2,
                        exit_code=1,
                        wait_ms=3,
                        run_ms=12,
                        cpu_ms=2,
                        stderr_bytes=9,
                        reason="exit",
                        error="“hi”",
                    ),
                    v.JobRetried(
                        job="job1",
                        queue="default",
                        attempt=1,
                        run_at="2026-11-22T02:31:02.016958Z",
                        delay_ms=2000,
                    ),
                ]
            )
        ]
    )
    log.close()
