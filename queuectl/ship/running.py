"""Shipping to many sinks at once, a thread for each, so that none holds up another: woken by the
log, ended by signals. Knows no kinds of sinks and no terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from queuectl.errors import QueuectlError
from queuectl.home import Home
from queuectl.host import Host
from queuectl.runtime.signals import StopSignals
from queuectl.ship.shipping import Shipping

_GATHER_S = 0.01
"""What is appended within so short a time is shipped together."""
_UNWATCHED_S = 0.05
"""How often to look at the log where nothing wakes."""
_GRACE_S = 10.0
"""How long a stop waits for what is being sent."""
_LEAVE_S = 1.0


def run(
    shippings: Sequence[Shipping],
    home: Home,
    host: Host,
    *,
    look: Callable[[], None],
    look_s: float,
    note: Callable[[str], None],
) -> None:
    """Ship until all are over or a signal asks to stop; a second one breaks off what is being sent.

    The log is looked at whenever it wakes, and every `look_s` seconds; `look` is called each time.
    `note` hears what people should know.
    """
    waiting, waking = host.make_pipe()
    watch = host.make_watch()
    lanes = [_Lane(shipping, host, waking) for shipping in shippings]
    # The mark is moved there with every append.
    mark = os.path.join(home.log, "LOCK")
    give_up_s = 0.0
    try:
        with StopSignals(waking) as signals:
            host.watch(watch, mark)
            for lane in lanes:
                lane.start()
            while any(lane.is_alive() for lane in lanes):
                if signals.count and not give_up_s:
                    give_up_s = host.monotonic_s() + _GRACE_S
                    note("stopping once the sinks have answered; a second signal does not wait")
                    for lane in lanes:
                        lane.shipping.stopping = True
                if signals.count > 1 or (give_up_s and host.monotonic_s() >= give_up_s):
                    break
                for lane in lanes:
                    lane.news.set()
                look()
                # Each time anew: somebody may have put another file in its place.
                watched = host.watch(watch, mark)
                ready = host.wait({waiting, watch} - {-1}, look_s if watched else _UNWATCHED_S)
                if watch in ready:
                    host.sleep(_GATHER_S)
                    host.silence(watch)
                host.silence(waiting)
    finally:
        for lane in lanes:
            lane.shipping.stopping = True
            lane.shipping.break_off()
            lane.news.set()
            if lane.ident is not None:
                lane.join(_LEAVE_S)
        if not any(lane.is_alive() for lane in lanes):
            for fd in {waiting, waking, watch} - {-1}:
                host.close(fd)


class _Lane(threading.Thread):
    """The thread of one sink."""

    def __init__(self, shipping: Shipping, host: Host, waking: int) -> None:
        # What was not acknowledged is sent again, so nothing is lost with it.
        super().__init__(name=shipping.sink.name, daemon=True)
        self.shipping = shipping
        self.news = threading.Event()
        """Set when the log may have something new."""
        self._host = host
        self._waking = waking

    def run(self) -> None:
        shipping = self.shipping
        while not shipping.is_over:
            self.news.clear()
            try:
                again_s = shipping.turn()
            except Exception as error:
                what = f"{type(error).__name__}: {error}; this is a defect"
                shipping.stop(QueuectlError(what))
                break
            if not shipping.is_over:
                wait_s = again_s - self._host.monotonic_s()
                self.news.wait(min(max(0.0, wait_s), threading.TIMEOUT_MAX))
        self._host.write(self._waking, b".")
