"""What happened lately, kept at hand for every page that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl import instants
from queuectl.events import vocabulary as v
from queuectl.projections.recent import EVENTS, MINUTES, Recent
from queuectl.queueview import PastView, QueueView, View


class Lately:
    """Filled from the log once, and then by what the queue hears."""

    def __init__(self) -> None:
        self._now: Recent | None = None

    def of(self, view: View) -> Recent:
        """What had happened lately at the moment that is looked at."""
        if isinstance(view, PastView):
            return _gathered(view)
        if self._now is None:
            self._now = _gathered(view)
            if isinstance(view, QueueView):
                view.heard.append(self._hear)
        return self._now

    def _hear(self, events: Sequence[v.Event]) -> None:
        assert self._now is not None
        new = [event for event in events if event.offset > self._now.offset]
        if new:
            self._now.apply(new)


def _gathered(view: View) -> Recent:
    last = view.known.offset
    since = instants.later(view.now(), -MINUTES * 60_000)
    recent = Recent(min(view.log.before(since), max(0, last - EVENTS)))
    if last > recent.offset:
        for events in view.log.read_originals(recent.offset):
            within = [event for event in events if event.offset <= last]
            if within:
                recent.apply(within)
            if len(within) < len(events):
                break
    return recent
