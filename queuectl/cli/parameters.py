"""What options accept: durations, states in every spelling, and sets of jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any, TypeVar

import click

from queuectl.cli import completion
from queuectl.cli.root import App
from queuectl.domain.job import STATES, Job
from queuectl.errors import Invalid, PartlyDone, QueuectlError
from queuectl.quantities import parse_duration_ms, parse_size
from queuectl.suggestion import did_you_mean
from queuectl.telling.words import counted, printable

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
        return completion.items(STATES, incomplete)


class Size(click.ParamType[int]):
    """`64M`, `1GiB` or a bare number of bytes. Gives bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            size = parse_size(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if not size:
            self.fail(f"{value!r}: it is at least one byte", param, ctx)
        return size


DURATION = Duration()
SIZE = Size()
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


def _limit(ctx: click.Context, param: click.Parameter, value: int) -> int:
    if value < 0:
        raise Invalid(f"--limit {value}: it is 0 (for all) or more")
    return value


limit_option = click.option(
    "--limit",
    type=int,
    default=20,
    show_default=True,
    callback=_limit,
    help="At most this many; 0: all.",
)


def filters(command: F) -> F:
    """Options that choose jobs by what they are."""
    for option in (
        click.option(
            "--error",
            default="",
            metavar="F",
            help="Only jobs whose last failure has this fingerprint (see errors).",
        ),
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


def done_to(app: App, outcomes: Iterable[tuple[str, QueuectlError | None]], done: str) -> None:
    """Print the ids of the jobs that something was done to, and why it could not be to others.

    Raises `PartlyDone` where some could not be, and the last error where none could.
    """
    changed, refused = [], []
    for id, error in outcomes:
        if error is None:
            changed.append(id)
        else:
            refused.append(error)
    if refused and len(refused) + len(changed) == 1:
        raise refused[0]
    for error in refused:
        click.echo(f"queuectl: {printable(str(error))}", err=True)
    if refused and not changed:
        raise refused[-1]
    for id in changed:
        click.echo(id)
    app.say(f"{done} {counted(len(changed), 'job')}")
    if refused:
        left, total = len(refused), len(refused) + len(changed)
        raise PartlyDone(f"{left} of {counted(total, 'job')} could not be {done}")


def newest(
    queue: Any,
    limit: int,
    *,
    states: Collection[str] = (),
    queues: Collection[str] = (),
    tags: Collection[str] = (),
    error: str = "",
) -> tuple[list[Job], str]:
    """The newest `limit` jobs (0: all), newest first, and what to say where there are more."""
    from queuectl.bulk import failing_so

    where = failing_so(queue, error)
    jobs = queue.jobs(states=states, queues=queues, tags=tags, where=where, newest_first=True)
    shown = list(islice(jobs, limit or None))
    if not limit or next(jobs, None) is None:
        return shown, ""
    if queues or tags or error:
        return shown, f"the newest {len(shown)} jobs; --limit 0 shows all"
    counts = queue.known.counts
    total = sum(counts[state] for state in states or counts)
    return shown, f"{len(shown)} of {total} jobs; --limit 0 shows all"
