"""What options accept: durations, states in every spelling, and sets of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, TypeVar

import click

from queuectl.cli import completion
from queuectl.cli.root import App
from queuectl.cli.text import counted, printable
from queuectl.domain.job import STATES, Job
from queuectl.errors import Invalid, NotFound, PartlyDone, QueuectlError, Rejected
from queuectl.quantities import parse_duration_ms
from queuectl.suggestion import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

STATE_ALIASES = {
    "running": "processing",
    "active": "processing",
    "done": "completed",
    "succeeded": "completed",
    "success": "completed",
    "dlq": "dead",
    "canceled": "cancelled",
    "retrying": "failed",
    "queued": "pending",
}

pass_app = click.make_pass_decorator(App)


class Duration(click.ParamType[int]):
    """`500ms`, `30s`, `5m`, `1h30m`; a bare number is seconds. Gives milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_duration_ms(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class State(click.ParamType[str]):
    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        plain = str(value).lower()
        state = STATE_ALIASES.get(plain, plain)
        if state not in STATES:
            hint = did_you_mean(plain, [*STATES, *STATE_ALIASES])
            hint = hint or f": it is one of {', '.join(STATES)}"
            self.fail(f"{value!r} is no state{hint}", param, ctx)
        return state

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return [
            click.shell_completion.CompletionItem(state)
            for state in STATES
            if state.startswith(incomplete)
        ]


DURATION = Duration()
STATE = State()

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
queues_option = click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="NAME",
    help="Only jobs of this queue.",
    shell_complete=completion.queues,
)
jsonl_option = click.option(
    "--jsonl", "as_jsonl", is_flag=True, help="Print JSON documents, one a line."
)


def filters(command: F) -> F:
    """Options that choose jobs by what they are."""
    for option in (
        click.option(
            "--tag", "tags", multiple=True, metavar="TAG", help="Only jobs with this tag."
        ),
        queues_option,
    ):
        command = option(command)
    return command


def bulk(command: F) -> F:
    """Options of every command that changes many jobs at once."""
    for option in (
        click.option("--reason", default="", help="Why, for the history."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only print the ids of what would change."),
        click.option("--all", "every", is_flag=True, help="All jobs that this can be done to."),
        filters,
        click.argument("names", nargs=-1, metavar="[ID]...", shell_complete=completion.jobs),
    ):
        command = option(command)
    return command


def id_of(queue: Any, name: str) -> str:
    """The id that a name stands for; the name itself where there is no such job any more."""
    try:
        return str(queue.get(name).id)
    except NotFound:
        return name


def chosen(
    queue: Any,
    names: tuple[str, ...],
    *,
    every: bool,
    states: frozenset[str],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
) -> list[str]:
    """The ids that arguments and filters name. Raises `Invalid` where they name nothing, and
    `Damaged` where only a part of the log could be read: of that nothing is chosen."""
    if names and (every or queues or tags):
        raise Invalid("name jobs, or choose them by --all, --queue and --tag: not both")
    if names:
        ids = list(dict.fromkeys(queue.get(name).id for name in names))
    elif every or queues or tags:
        ids = [job.id for job in queue.jobs(states=states, queues=queues, tags=tags)]
    else:
        raise Invalid("name at least one job, or choose them by --queue, --tag or --all")
    if queue.damage is not None:
        raise queue.damage
    return ids


def confirm(app: App, verb: str, ids: list[str], *, named: bool, yes: bool, dry_run: bool) -> bool:
    """Whether to go on with a change of `ids`; asks on a terminal when they were not named."""
    if dry_run:
        for id in ids:
            click.echo(id)
        app.say(f"would {verb} {counted(len(ids), 'job')}; nothing was changed")
        return False
    if not ids:
        app.say(f"there is no job to {verb}")
        return False
    if named or yes or not sys.stdin.isatty():
        return True
    agreed = click.confirm(f"{verb} {counted(len(ids), 'job')}?", err=True)
    if not agreed:
        app.say("nothing was changed")
    return agreed


def each(app: App, ids: list[str], act: Callable[[list[str]], Any], done: str) -> None:
    """Do something to every job with one append, or, if one of them forbids it, to the others.

    Prints the ids of those it was done to. Raises `PartlyDone` where some could not be.
    """
    try:
        act(ids)
        changed = ids
    except (Rejected, NotFound):
        if len(ids) == 1:
            raise
        changed = _one_by_one(ids, act)
    for id in changed:
        click.echo(id)
    app.say(f"{done} {counted(len(changed), 'job')}")
    if len(changed) < len(ids):
        left = len(ids) - len(changed)
        raise PartlyDone(f"{left} of {counted(len(ids), 'job')} could not be {done}")


def _one_by_one(ids: list[str], act: Callable[[list[str]], Any]) -> list[str]:
    changed = []
    error: QueuectlError | None = None
    for id in ids:
        try:
            act([id])
            changed.append(id)
        except (Rejected, NotFound) as failed:
            error = failed
            click.echo(f"queuectl: {printable(str(failed))}", err=True)
    if error is not None and not changed:
        raise error
    return changed


def newest(
    queue: Any,
    limit: int,
    *,
    states: Collection[str] = (),
    queues: Collection[str] = (),
    tags: Collection[str] = (),
) -> tuple[list[Job], str]:
    """The newest `limit` jobs (0: all), newest first, and what to say where there are more."""
    jobs = queue.jobs(states=states, queues=queues, tags=tags, newest_first=True)
    shown = list(islice(jobs, limit or None))
    if not limit or next(jobs, None) is None:
        return shown, ""
    if queues or tags:
        return shown, f"the newest {len(shown)} jobs; --limit 0 shows all"
    counts = queue.known.counts
    total = sum(counts[state] for state in states or counts)
    return shown, f"{len(shown)} of {total} jobs; --limit 0 shows all"
