"""`log replay`: everything once more from the first event, to compare or to look on."""

from __future__ import annotations

from typing import Any

import click

from queuectl import instants
from queuectl.cli.documents import emit, emit_lines
from queuectl.cli.moments import MOMENT
from queuectl.cli.parameters import json_option, jsonl_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import Invalid
from queuectl.projections.past import NOW, START, Moment, Past
from queuectl.telling.documents import event_document
from queuectl.telling.moments import Named
from queuectl.telling.story import event_line
from queuectl.telling.words import counted, seconds

_COMPARED = ["jobs", "counts", "settings", "paused-queues", "workers", "statistics"]


class Speed(click.ParamType[float]):
    """`10x`, `0.5x` or a bare number."""

    name = "speed"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            speed = float(str(value).lower().removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is no speed: write 10x, or 0.5x for half as fast", param, ctx)
        return speed


@click.command(
    epilog="""\b
Examples:
  queuectl log replay
  queuectl log replay --speed 10x --from 1h
  queuectl log replay --speed 60x --from 8812 --to 9000"""
)
@click.option(
    "--speed", type=Speed(), metavar="FACTOR", help="Show what happened, so many times as fast."
)
@click.option(
    "--from", "start", type=MOMENT, metavar="TIME|OFFSET", help="With --speed: from then on."
)
@click.option("--to", "end", type=MOMENT, metavar="TIME|OFFSET", help="With --speed: up to then.")
@json_option
@jsonl_option
@pass_app
def replay(
    app: App,
    speed: float | None,
    start: Named | None,
    end: Named | None,
    as_json: bool,
    as_jsonl: bool,
) -> None:
    """Fold the whole log once more and compare with what is known.

    Everything that queuectl answers is made anew from the first event on, as it was before the log
    was compacted, without any snapshot; exits 7 where something differs. With --speed history is
    shown instead, each event after the pause that there was before it, until Ctrl-C.
    """
    if speed is None:
        if start is not None or end is not None or as_jsonl:
            raise Invalid("--from, --to and --jsonl go with --speed: replay begins with event 1")
        _compare(app, as_json)
        return
    if as_json:
        raise Invalid("--json is one document and --speed shows events one by one: use --jsonl")
    with app.open() as queue:
        _play(app, queue, speed, start, end, as_jsonl)


def _compare(app: App, as_json: bool) -> None:
    from queuectl.projections.audit import agree

    with app.open() as queue:
        known = queue.state
        if queue.damage is not None:
            raise queue.damage
        since_s = queue.host.monotonic_s()
        with Progress(app) as progress:
            state, lost = Past(queue.log, "", queue.host).state(Moment(known.offset), progress)
        took_s = queue.host.monotonic_s() - since_s
        agree(known, state)
        jobs = sum(state.counts.values())
        rate = known.offset / took_s if took_s else 0.0
        if as_json:
            emit(
                {
                    "head": known.offset,
                    "jobs": jobs,
                    "seconds": took_s,
                    "events_per_second": rate,
                    "compared": _COMPARED,
                    "lost": lost or None,
                }
            )
            return
        click.echo(
            f"replayed {counted(known.offset, 'event')} in {seconds(took_s * 1000)}, {rate:,.0f} a"
            f" second: {counted(jobs, 'job')}, their counts, settings, paused queues, workers and"
            " statistics are what is known"
        )
        if lost:
            app.say(
                f"up to event {lost} from the log as it stands: originals before it are not in the"
                " archive"
            )


def _play(
    app: App, queue: Any, speed: float, start: Named | None, end: Named | None, as_jsonl: bool
) -> None:
    host = queue.host
    after = start.moment(queue) if start is not None else START
    until = end.moment(queue) if end is not None else NOW
    begun_us, begun_s = 0, host.monotonic_s()
    for events in queue.between(after, until):
        for event in events:
            at_us = instants.to_us(event.at)
            begun_us = begun_us or at_us
            # By how long it is since the first one: what printing takes does not add up.
            pause_s = (at_us - begun_us) / 1e6 / speed - (host.monotonic_s() - begun_s)
            if pause_s > 0:
                host.sleep(pause_s)
            if as_jsonl:
                emit_lines([event_document(event)])
            else:
                click.echo(event_line(event))
    if not begun_us:
        app.say("nothing happened then")
