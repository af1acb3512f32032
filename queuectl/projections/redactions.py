"""What is being taken out of a log, as far as that matters to who keeps what it has read."""

from __future__ import annotations

from queuectl.events import vocabulary as v
from queuectl.events.log import Log
from queuectl.projections.state import State


class Redactions:
    """Goes on from a state, and folds nothing else."""

    def __init__(self, state: State) -> None:
        self._offset = state.offset
        self._pending = set(state.redacting)
        self._done = state.redacted

    def done_by(self, log: Log) -> int | None:
        """The last event by which all was taken out that was to be; None where some is not yet."""
        for events in log.read(self._offset):
            for event in events:
                if isinstance(event, v.JobRedacting):
                    self._pending.add(event.job)
                elif isinstance(event, v.JobRedacted):
                    self._pending.discard(event.job)
                    self._done = event.offset
            self._offset = events[-1].offset
        return None if self._pending else self._done
