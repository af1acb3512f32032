"""How a worker is told to work, and who hears of it; knows neither processes nor the log."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.events import vocabulary as v


class Listener:
    """Hears what a worker does; does nothing with it."""

    def note(self, text: str) -> None:
        """Something that people should know, once."""

    def happened(self, event: v.Event) -> None:
        """An event that this worker has recorded."""


class Options(NamedTuple):
    """How a worker works."""

    slots: int = 1
    """How many jobs it runs at a time."""
    queues: frozenset[str] | None = None
    """The queues it serves; None for all."""
    poll_ms: int | None = None
    """How often it looks without being woken; None for the setting."""
    limit: int | None = None
    """How many jobs it starts at most."""
    burst: str = ""
    """End when nothing is left to run: `wait` counts jobs that wait for their time, `now` not."""
    grace_ms: int | None = None
    """From asking a job to end to making it; None for the setting."""
    timeout_ms: int | None = None
    """For jobs that were given no timeout of their own."""
    backoff_base: float | None = None
    """For jobs that were given no base of their own."""
