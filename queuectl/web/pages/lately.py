"""What happened lately, kept at hand for every page that shows it."""

from __future__ import annotations

from queuectl import instants
from queuectl.projections.recent import EVENTS, MINUTES, Recent
from queuectl.queueview import QueueView
from queuectl.view import PastView, View


class Lately:
    """Filled from the log once, and then by what the queue hears."""

    def __init__(self) -> None:
        self._now: Recent | None = None
        self._view: View | None = None
        """Whose: another queue takes its place once a damaged log was repaired."""

    def of(self, view: View) -> Recent:
        """What had happened lately at the moment that is looked at."""
        if isinstance(view, PastView):
            return _gathered(view)
        if self._now is None or self._view is not view:
            self._now, self._view = _gathered(view), view
            if isinstance(view, QueueView):
                view.heard.append(self._now.hear)
        return self._now


def _gathered(view: View) -> Recent:
    last = view.known.offset
    since = instants.later(view.now(), -MINUTES * 60_000)
    recent = Recent(min(view.log.before(since), max(0, last - EVENTS)))
    if last > recent.offset:
        for events in view.log.read_originals(recent.offset):
            within = [event for event in events if event.offset <= last]
            if within:
                recent.apply(within)
            if events[-1].offset >= last:
                break
    return recent
