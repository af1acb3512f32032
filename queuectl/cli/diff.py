"""`diff`: what happened between two moments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import click

from queuectl import instants
from queuectl.cli.documents import emit
from queuectl.cli.moments import MOMENT, past
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.cli.text import columns, state_name
from queuectl.errors import Invalid
from queuectl.events.vocabulary import AnyEvent, QueuePaused, wire_name
from queuectl.projections.difference import TOLD, Difference, Stay
from queuectl.projections.past import Moment
from queuectl.telling.moments import Named
from queuectl.telling.story import dated, tell
from queuectl.telling.words import counted, seconds

_NOW = Named("0s")


@click.command(
    epilog="""\b
Examples:
  queuectl diff --from 1h
  queuectl diff --from 2026-11-22T09:00:00Z --to 2026-11-22T17:00:00Z
  queuectl diff --from 8812 --json | jq '.events["job.dead"]'"""
)
@click.option(
    "--from",
    "start",
    type=MOMENT,
    required=True,
    metavar="TIME|OFFSET",
    help="From then on: 2026-11-22T09:00:00Z, 2h for two hours ago, or after an event.",
)
@click.option(
    "--to", "end", type=MOMENT, metavar="TIME|OFFSET", help="Up to then; by default to now."
)
@json_option
@pass_app
def diff(app: App, start: Named, end: Named | None, as_json: bool) -> None:
    """Show what happened between two moments.

    How many events of each kind, how many jobs are in which state, and who changed settings, paused
    queues, started and stopped workers. From before the first event, such as --from 0, it is all
    that happened.
    """
    with app.open() as queue:
        _refuse_backwards(queue, start, end)
        before = past(app, queue, start, or_empty=True)
        after = past(app, queue, end or _NOW)
        first, last = before.state.offset, after.state.offset
        if first > last or before.now() > after.now():
            raise Invalid(
                f"--from is after --to: {before.now()}, event {first}, and {after.now()}, event"
                f" {last}"
            )
        found = Difference(before.state.settings)
        with Progress(app) as progress:
            for events in queue.between(Moment(first), Moment(last)):
                found.see(events)
                progress(events[-1].offset - first, last - first)
        if queue.damage is not None:
            # Both moments may be known from snapshots, and what happened in between is not.
            raise queue.damage
        if as_json:
            emit(_document(before, after, found))
            return
        took = seconds(instants.between_ms(before.now(), after.now()))
        begins = f"after event {first}" if first else "before the first event"
        app.say(
            f"from {before.now()}, {begins}, to {after.now()}, after event {last}:"
            f" {counted(last - first, 'event')} in {took}"
        )
        for line in _lines(app, before, after, found):
            click.echo(line, color=app.colour)


def _refuse_backwards(queue: Any, start: Named, end: Named | None) -> None:
    """Before anything is worked out; of an event and a time, which comes first is seen later."""
    if end is None or (start.offset is None) != (end.offset is None):
        return
    if start.moment(queue) > end.moment(queue):
        raise Invalid(f"--from {start.text} is after --to {end.text}: exchange them")


def _lines(app: App, before: Any, after: Any, found: Difference) -> Iterator[str]:
    counts = [
        f"+{found.kinds[kind]} {wire_name(kind).removeprefix('job.')}"
        for kind in get_args(AnyEvent)
        if kind in found.kinds and kind not in TOLD
    ]
    if counts:
        yield ", ".join(counts)
    then, now = before.state.counts, after.state.counts
    rows = [
        (state_name(state, app.colour), str(then[state]), str(now[state]), f"{change:+}")
        for state in now
        if (change := now[state] - then[state])
    ]
    if rows:
        yield columns(rows, ("JOBS", "BEFORE", "AFTER", "CHANGE"))
    told = [
        *(
            dated(event, f"{event.key} {was} -> {event.value} (by {event.actor})")
            for event, was in found.settings
        ),
        *(dated(event, tell(event)) for event in found.queues),
        *(
            dated(event, tell(event))
            for stay in found.workers.values()
            for event in (stay.started, stay.stopped)
            if event is not None
        ),
    ]
    yield from sorted(told)


def _document(before: Any, after: Any, found: Difference) -> dict[str, Any]:
    return {
        **{
            name: {
                "offset": view.state.offset,
                "at": view.now(),
                "jobs": view.state.counts,
            }
            for name, view in (("from", before), ("to", after))
        },
        "events": {wire_name(kind): times for kind, times in found.kinds.items()},
        "settings": [
            {
                "offset": event.offset,
                "at": event.at,
                "key": event.key,
                "before": was,
                "after": event.value,
                "actor": event.actor,
            }
            for event, was in found.settings
        ],
        "queues": [
            {
                "offset": event.offset,
                "at": event.at,
                "queue": event.queue,
                "paused": isinstance(event, QueuePaused),
                "actor": event.actor,
                "reason": event.reason or None,
            }
            for event in found.queues
        ],
        "workers": [_stay_document(stay) for stay in found.workers.values()],
    }


def _stay_document(stay: Stay) -> dict[str, Any]:
    started, stopped = stay.started, stay.stopped
    return {
        "id": stay.worker,
        "host": started.host if started else None,
        "pid": started.pid if started else None,
        "slots": started.slots if started else None,
        "started_at": started.at if started else None,
        "stopped_at": stopped.at if stopped else None,
        "reason": stopped.reason if stopped else None,
    }
