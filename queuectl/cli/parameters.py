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
from queuectl.errors import Invalid, NotFound, PartlyDone, QueuectlError, Rejected
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
    error: str,
) -> list[str]:
    """The ids that arguments and filters name. Raises `Invalid` where they name nothing, and
    `Damaged` where only a part of the log could be read: of that nothing is chosen."""
    if names and (every or queues or tags or error):
        raise Invalid("name jobs, or choose them by --all, --queue, --tag and --error: not both")
    if names:
        ids = list(dict.fromkeys(queue.get(name).id for name in names))
    elif every or queues or tags or error:
        where = _failing_so(queue, error)
        found = queue.jobs(states=states, queues=queues, tags=tags, where=where)
        ids = [job.id for job in found]
    else:
        raise Invalid("name at least one job, or choose them by --queue, --tag, --error or --all")
    if queue.damage is not None:
        raise queue.damage
    return ids


def _failing_so(queue: Any, error: str) -> Callable[[Job], bool] | None:
    """Whether the last failure of a job has the fingerprint that starts with `error`; None where
    that is empty.

    Raises `NotFound` where there is no such job, and `Invalid` where several fingerprints start so.
    """
    if not error:
        return None
    from queuectl.domain.fingerprint import of_job

    ids = {of_job(job).id for job in queue.jobs(where=lambda job: job.error)}
    id = one_of(error, ids, "no job's last failure")
    return lambda job: bool(job.error) and of_job(job).id == id


def one_of(start: str, ids: Iterable[str], what: str) -> str:
    """The one of the fingerprints `ids` that starts so.

    Raises `NotFound`, beginning with `what`, or `Invalid` where several start so.
    """
    matches = sorted(id for id in ids if id.startswith(start))
    if not matches:
        raise NotFound(f"{what} has the fingerprint {start!r}: queuectl errors lists them")
    if len(matches) > 1:
        raise Invalid(
            f"{len(matches)} fingerprints start with {start!r}, such as {matches[0]} and"
            f" {matches[1]}: write more of it"
        )
    return matches[0]


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
    error: str = "",
) -> tuple[list[Job], str]:
    """The newest `limit` jobs (0: all), newest first, and what to say where there are more."""
    where = _failing_so(queue, error)
    jobs = queue.jobs(states=states, queues=queues, tags=tags, where=where, newest_first=True)
    shown = list(islice(jobs, limit or None))
    if not limit or next(jobs, None) is None:
        return shown, ""
    if queues or tags or error:
        return shown, f"the newest {len(shown)} jobs; --limit 0 shows all"
    counts = queue.known.counts
    total = sum(counts[state] for state in states or counts)
    return shown, f"{len(shown)} of {total} jobs; --limit 0 shows all"
