"""The signals that ask a worker to stop, and the one that tells of an ended child."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self


class StopSignals:
    """While entered, stop signals are counted instead of ending the process, and any signal makes
    `bell` readable. For the main thread."""

    def __init__(self, bell: int) -> None:
        self.count = 0
        self._bell = bell

    def __enter__(self) -> Self:
        stops = [signal.SIGTERM, signal.SIGINT]
        # Whoever was started with nohup is to go on when the terminal is closed.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            stops.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._stop) for number in stops}
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakeup = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        return self

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
