"""Moments as people name them: an event, a time, or how long ago; and a queue as of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from queuectl import instants
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import Invalid
from queuectl.telling.moments import Named, parsed
from queuectl.telling.story import forgotten
from queuectl.telling.words import ago


class _Moment(click.ParamType[Named]):
    """`2026-11-22T09:00:00Z`, `2h` for so long ago, and `8812` where an event may name it."""

    name = "time"

    def __init__(self, *, offsets: bool) -> None:
        self._offsets = offsets

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Named:
        named = parsed(str(value))
        if named is None or (named.offset is not None and not self._offsets):
            event = "the offset of an event, " if self._offsets else ""
            self.fail(
                f"{value!r} is no moment: write {event}a time with its zone like"
                " 2026-11-22T09:00:00Z, or how long ago, like 2h",
                param,
                ctx,
            )
        return named


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


def past(app: App, queue: Any, named: Named, *, or_empty: bool = False) -> Any:
    """The queue as it was at that moment, as `at` gives it; says if not all of it is known."""
    try:
        with Progress(app) as progress:
            view = queue.at(named.moment(queue), progress, or_empty=or_empty)
    except Invalid as error:
        raise Invalid(f"{named.text}: {error}") from None
    if view.lost:
        app.say(forgotten(view.lost))
    return view
