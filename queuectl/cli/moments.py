"""Moments as people name them: an event, a time, or how long ago; and a queue as of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import click

from queuectl import instants
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.cli.text import ago
from queuectl.errors import Invalid
from queuectl.events.log import LAST
from queuectl.projections.past import Moment
from queuectl.quantities import parse_duration_ms


class Named(NamedTuple):
    """A moment as it was written."""

    text: str
    offset: int | None = None
    at: instants.Instant = ""
    ago_ms: int = 0

    def moment(self, queue: Any) -> Moment:
        """What it means now."""
        return Moment(self.offset) if self.offset is not None else Moment(at=self.time(queue))

    def time(self, queue: Any) -> instants.Instant:
        """The same, of one that was not named by an event."""
        return self.at or instants.later(queue.now(), -self.ago_ms)

    def begin(self, queue: Any) -> Moment:
        """The same, to go on from. Raises `Invalid` where the log has not got there yet."""
        head = queue.log.head()
        if self.offset is not None and self.offset > head:
            raise Invalid(f"{self.text}: that has not happened yet: the last event is {head}")
        if self.at > queue.now():
            raise Invalid(f"{self.text}: that is in the future: it is {queue.now()} now")
        return self.moment(queue)


class _Moment(click.ParamType[Named]):
    """`2026-11-22T09:00:00Z`, `2h` for so long ago, and `8812` where an event may name it."""

    name = "time"

    def __init__(self, *, offsets: bool) -> None:
        self._offsets = offsets

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Named:
        named = _named(str(value))
        if named is None or (named.offset is not None and not self._offsets):
            event = "the offset of an event, " if self._offsets else ""
            self.fail(
                f"{value!r} is no moment: write {event}a time with its zone like"
                " 2026-11-22T09:00:00Z, or how long ago, like 2h",
                param,
                ctx,
            )
        return named


def _named(text: str) -> Named | None:
    if text.isascii() and text.isdecimal():
        return Named(text, offset=min(int(text), LAST - 1))
    with suppress(ValueError, OverflowError):
        return Named(text, at=instants.parse(text))
    with suppress(ValueError):
        # Without a unit it would be an event that was mistyped.
        float(text)
        return None
    with suppress(ValueError):
        return Named(text, ago_ms=parse_duration_ms(text))
    return None


MOMENT = _Moment(offsets=True)
TIME = _Moment(offsets=False)
"""For what is chosen by when it was, and need not be an event."""
at_option = click.option(
    "--at",
    type=MOMENT,
    metavar="TIME|OFFSET",
    help="As it was then: 2026-11-22T09:00:00Z, 2h for two hours ago, or after an event.",
)


@contextmanager
def look(app: App, at: Named | None) -> Iterator[Any]:
    """The queue, or as it was at a moment; says on standard error which that is."""
    with app.open() as queue:
        if at is None:
            yield queue
            return
        view = past(app, queue, at)
        state = view.state
        when = view.now()
        app.say(
            f"as of {when}, {ago(instants.between_ms(when, queue.now()))},"
            f" after event {state.offset}"
        )
        try:
            yield view
        finally:
            view.close()


def past(app: App, queue: Any, named: Named) -> Any:
    """The queue as it was at that moment; says if not all of it is known."""
    try:
        with Progress(app) as progress:
            view = queue.at(named.moment(queue), progress)
    except Invalid as error:
        raise Invalid(f"{named.text}: {error}") from None
    if view.lost:
        app.say(
            f"the originals of events up to {view.lost} are not in the archive: jobs that were"
            " forgotten since are missing"
        )
    return view
