"""`simulate`: what would have happened under other settings, or with other workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from queuectl.cli.documents import emit
from queuectl.cli.moments import TIME
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.reading import reading
from queuectl.cli.root import App
from queuectl.cli.text import columns
from queuectl.domain import settings as rules
from queuectl.errors import Invalid, NotFound
from queuectl.events import vocabulary as v
from queuectl.telling.documents import percentiles
from queuectl.telling.moments import Named
from queuectl.telling.story import forgotten
from queuectl.telling.words import counted, seconds
from queuectl.whatif.figures import Figures
from queuectl.whatif.recording import Recording
from queuectl.whatif.schedule import Plan, Simulation

_BEARING = ("max_retries", "backoff", "backoff_base", "backoff_max_ms", "jitter", "timeout_ms")
"""The fields of `Settings` that jobs are given when they are enqueued."""


@click.command(
    epilog="""\b
Examples:
  queuectl simulate --workers 8
  queuectl simulate --last 7d --set max-retries=5 --set backoff-base=3
  queuectl simulate --last 1d --workers 2 --slots 4 --json | jq .simulated.wait_seconds.p95"""
)
@click.option(
    "--last",
    "--since",
    "since",
    type=TIME,
    help="From then on: a time, or how long ago; else all.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="So many, all the time and for all queues, in the place of those there were.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="So many slots each; else as many as they had.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that jobs are enqueued with, as for config set. Repeatable.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="For what has to be drawn by chance."
)
@json_option
@pass_app
def simulate(
    app: App,
    since: Named | None,
    workers: int | None,
    slots: int | None,
    changes: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Schedule what happened anew, and compare.

    Jobs come when they came, people ask when they asked, and each run takes as long and ends as it
    did; when it starts is decided anew, by the rules of the queue. It goes to the end of the log,
    and on until all is over that was over then. Jobs that still waited at the end of the log are
    run, too, where a slot is free for them before that, and counted. Runs that never happened are
    drawn from those that did. What is assumed is said below the table. Nothing is changed.
    """
    settings = _settings(changes)
    with reading(app) as (source, progress):
        now = source.queue.now()
        begin = since.time(source.queue) if since is not None else ""
        recording = source.whole_jobs(lambda: Recording(begin, source.queue.find_spec))
        happened = recording.finish()
        if not recording.jobs:
            raise NotFound(f"there is no job since {recording.begin or now} to be simulated")
        plan = Plan(workers, slots or _usual_slots(recording, workers), settings)
        simulation = Simulation(recording, plan, seed)
        simulated = simulation.run(progress)
        progress.clear()
        came = _Outcome(recording, plan, seed, simulation, happened, simulated, source.lost)
        if as_json:
            emit(_document(came))
            return
        click.echo(_table(happened, simulated))
        click.echo()
        for sentence in _assumptions(came):
            click.echo(f"- {sentence}")


def _settings(changes: tuple[str, ...]) -> dict[str, Any]:
    """By field of `Settings` what is to be otherwise. Raises `Invalid`."""
    settings = rules.Settings()
    fields = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise Invalid(f"--set {change}: write it as KEY=VALUE, like max-retries=5")
        field = rules.find(key).field
        if field not in _BEARING:
            known = [setting.key for setting in rules.SETTINGS if setting.field in _BEARING]
            raise Invalid(
                f"--set {change}: it changes nothing here; what does is {', '.join(known)}"
            )
        settings = rules.changed(settings, key, value)
        fields[field] = getattr(settings, field)
    return fields


def _usual_slots(recording: Recording, workers: int | None) -> int | None:
    """How many slots most of the workers had; None where they are to stay as they were."""
    if workers is None:
        return None
    events = [*recording.standing, *recording.doings]
    had = Counter(event.slots for event in events if isinstance(event, v.WorkerStarted))
    return had.most_common(1)[0][0] if had else 1


# ---- what came of it


class _Outcome(NamedTuple):
    recording: Recording
    plan: Plan
    seed: int
    simulation: Simulation
    happened: Figures
    simulated: Figures
    lost: int
    """Up to that event not all is known of the past."""


def _document(came: _Outcome) -> dict[str, Any]:
    recording, plan, seed, simulation, happened, simulated, _ = came
    return {
        "since": recording.begin,
        "until": recording.end,
        "jobs": len(recording.jobs),
        "workers": plan.workers,
        "slots": plan.slots,
        "settings": {
            setting.key: setting.show(plan.settings[setting.field])
            for setting in rules.SETTINGS
            if setting.field in plan.settings
        },
        "seed": seed,
        "happened": _figures(happened),
        "simulated": _figures(simulated),
        "drawn_runs": simulation.drawn,
        "refused_requests": simulation.refused,
        "assumptions": list(_assumptions(came)),
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        **figures.counts,
        "left": figures.left,
        "makespan_seconds": figures.makespan_ms / 1000,
        "utilisation": figures.utilisation,
        "wait_seconds": percentiles(figures.wait),
        "turnaround_seconds": percentiles(figures.turnaround),
    }


def _table(happened: Figures, simulated: Figures) -> str:
    was, would_be = _figures(happened), _figures(simulated)
    rows = []
    for name, value in was.items():
        other = would_be[name]
        label = name.removesuffix("_seconds").replace("_", " ")
        if isinstance(value, dict):
            rows += [_row(f"{label} {share}", value[share], other[share]) for share in value]
        elif name.endswith("_seconds"):
            rows.append(_row(label, value, other))
        elif isinstance(value, float):
            rows.append((label, f"{value:.1%}", f"{other:.1%}", f"{other - value:+.1%}"))
        else:
            rows.append((label, f"{value:,}", f"{other:,}", f"{other - value:+,}"))
    return columns(rows, ("", "HAPPENED", "SIMULATED", "CHANGE"))


def _row(label: str, was: float, would_be: float) -> tuple[str, str, str, str]:
    change = round((would_be - was) * 1000)
    sign = "-" if change < 0 else "+"
    return label, seconds(was * 1000), seconds(would_be * 1000), sign + seconds(abs(change))


def _assumptions(came: _Outcome) -> Iterator[str]:
    """What has to be known of the figures to believe them."""
    recording, plan, seed, simulation, happened, simulated, lost = came
    yield (
        f"{counted(len(recording.jobs), 'job')} from {recording.begin} to {recording.end};"
        " each run takes as long as it did and ends as it did"
    )
    if plan.workers is not None:
        each = " each" if plan.workers > 1 else ""
        yield f"{counted(plan.workers, 'worker')} with {counted(plan.slots or 1, 'slot')}{each}"
    else:
        slots = f", with {counted(plan.slots, 'slot')} each" if plan.slots else ""
        yield f"the workers that there were, when they were there{slots}"
    for field, value in plan.settings.items():
        shown = next(s for s in rules.SETTINGS if s.field == field)
        yield f"{shown.key} is {shown.show(value)} for jobs that were not given their own"
    if lost:
        yield forgotten(lost)
    if happened.left:
        yield (
            f"{counted(happened.left, 'job')} had not ended at the end of the log: here they are"
            " run to their end, too, as far as there are slots for them"
        )
    if simulation.drawn:
        yield (
            f"{counted(simulation.drawn, 'run')} that history does not have: drawn from the runs of"
            f" the same kind of command, retries from retries (seed {seed})"
        )
    if simulation.refused:
        yield (
            f"{counted(simulation.refused, 'request')} of people came when the job no longer"
            " allowed it, and changed nothing"
        )
    if simulated.waiting:
        yield (
            f"{counted(simulated.waiting, 'job')} would still wait at the end: so long as they have"
            " waited counts as their wait"
        )
    if "timeout_ms" in plan.settings:
        yield "a run that timed out would time out again, however long it is let"
