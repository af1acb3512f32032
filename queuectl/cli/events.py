"""Events as JSON lines, some or all of them, as they were and as they come: `log tail`, `watch`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar, get_args

import click

from queuectl.asking import id_of
from queuectl.cli import completion
from queuectl.cli.documents import emit, emit_lines
from queuectl.cli.moments import MOMENT
from queuectl.cli.parameters import json_option, jsonl_option, pass_app
from queuectl.cli.root import App
from queuectl.errors import Invalid
from queuectl.events.vocabulary import AnyEvent, Event, wire_name
from queuectl.projections.past import START, Moment
from queuectl.suggestion import did_you_mean
from queuectl.telling.documents import event_document
from queuectl.telling.moments import Named
from queuectl.telling.story import lost

F = TypeVar("F", bound=Callable[..., Any])
_KINDS: dict[str, type[Event]] = {wire_name(kind): kind for kind in get_args(AnyEvent)}
_LINES = 10


class Kind(click.ParamType[type[Event]]):
    """An event's name in the log."""

    name = "type"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> type[Event]:
        kind = _KINDS.get(value)
        if kind is None:
            hint = did_you_mean(value, _KINDS) or f": there are {', '.join(_KINDS)}"
            self.fail(f"{value!r} is no type of event{hint}", param, ctx)
        return kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        return completion.items(_KINDS, incomplete)


def choosing(command: F) -> F:
    """Options that choose events, and how much of them is shown."""
    for option in (
        click.option("--show-env", is_flag=True, help="Show the values given with --env, too."),
        click.option(
            "--job",
            "name",
            metavar="ID",
            help="Only events about this job.",
            shell_complete=completion.jobs,
        ),
        click.option(
            "--type",
            "kinds",
            multiple=True,
            type=Kind(),
            metavar="TYPE",
            help="Only events of this type, like job.dead. Repeatable.",
        ),
    ):
        command = option(command)
    return command


class Wanted(NamedTuple):
    """Which events."""

    job: str
    """An id; empty for any, and for none."""
    kinds: frozenset[type[Event]]
    """Empty for all."""

    def has(self, event: Event) -> bool:
        return (not self.job or getattr(event, "job", "") == self.job) and (
            not self.kinds or type(event) in self.kinds
        )


@click.command(
    epilog="""\b
Examples:
  queuectl log tail -n 3
  queuectl log tail --since 1h --type job.dead --type job.failed
  queuectl log tail -f --job job1"""
)
@click.option(
    "-n",
    "--lines",
    type=int,
    help=f"The last so many; 0: all. By default {_LINES}, or with --since all.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--since",
    type=MOMENT,
    metavar="TIME|OFFSET",
    help="After then: 2026-11-22T09:00:00Z, 2h for two hours ago, or after an event.",
)
@choosing
@json_option
@jsonl_option
@pass_app
def tail(
    app: App,
    lines: int | None,
    follow: bool,
    since: Named | None,
    kinds: tuple[type[Event], ...],
    name: str | None,
    show_env: bool,
    as_json: bool,
    as_jsonl: bool,
) -> None:
    """Print events as JSON lines.

    Only what is durable is shown, and what compaction took out of the log, too, as long as the
    archive has it.
    """
    lines = lines if lines is not None else 0 if since is not None else _LINES
    if lines < 0:
        raise Invalid(f"--lines {lines}: it is 0 (for all) or more")
    if as_json and follow:
        raise Invalid("--json is one document and --follow never ends: use --jsonl")
    with app.open() as queue:
        wanted = _wanted(queue, name, kinds)
        after = since.begin(queue) if since is not None else START
        head = queue.log.head()
        if lines and wanted == _EVERYTHING:
            after = max(after, Moment(max(0, head - lines)))
        pieces = _until(app, queue, head, after, wanted)
        if lines:
            kept = deque((event for events in pieces for event in events), maxlen=lines)
            pieces = iter([list(kept)])
        if as_json:
            emit([event_document(one, show_env=show_env) for some in pieces for one in some])
            return
        for events in pieces:
            _print(events, show_env)
        if follow:
            _follow(app, queue, head, wanted, show_env)


@click.command(
    epilog="""\b
Examples:
  queuectl watch
  queuectl watch --from 8812 --type job.dead
  queuectl watch --from "$(tail -n 1 seen.jsonl | jq .offset)" >> seen.jsonl"""
)
@click.option(
    "--from",
    "start",
    type=MOMENT,
    metavar="OFFSET|TIME",
    help="Begin after this event; 0 is before the first. By default with what happens from now on.",
)
@choosing
@pass_app
def watch(
    app: App,
    start: Named | None,
    kinds: tuple[type[Event], ...],
    name: str | None,
    show_env: bool,
) -> None:
    """Print events as they happen, as JSON lines, until Ctrl-C.

    Each has its offset: whoever gives the last one that was seen to --from goes on right behind it,
    whatever was compacted meanwhile.
    """
    with app.open() as queue:
        wanted = _wanted(queue, name, kinds)
        head = queue.log.head()
        if start is not None:
            for events in _until(app, queue, head, start.begin(queue), wanted):
                _print(events, show_env)
        _follow(app, queue, head, wanted, show_env)


_EVERYTHING = Wanted("", frozenset())


def _wanted(queue: Any, name: str | None, kinds: tuple[type[Event], ...]) -> Wanted:
    if name is None:
        return Wanted("", frozenset(kinds))
    id = id_of(queue, name)
    if queue.known.jobs.get(id) is None and next(queue.log.read_about(id), None) is None:
        queue.get(name)  # a job that was purged has events, too; this one never was
    return Wanted(id, frozenset(kinds))


def _until(app: App, queue: Any, head: int, after: Moment, wanted: Wanted) -> Iterator[list[Event]]:
    """What is wanted of the events after a moment up to `head`, by the shortest way."""

    def missing(first: int, last: int, why: str) -> None:
        app.say(lost(first, last, why))

    one: Iterable[Event] | None = None
    if wanted.job:
        one = queue.log.read_about(wanted.job, missing, after=queue.offset(after), last=head)
    elif len(wanted.kinds) == 1:
        one = queue.log.read_kind(*wanted.kinds, after=queue.offset(after))
    if one is not None:
        # What is found comes one by one, as soon as it is.
        through = takewhile(lambda event: event.offset <= head, one)
        return ([event] for event in through if wanted.has(event) and not after.has(event))
    pieces = queue.between(after, Moment(head), missing)
    return ([event for event in events if wanted.has(event)] for events in pieces)


def _follow(app: App, queue: Any, seen: int, wanted: Wanted, show_env: bool) -> None:
    while True:
        for events in queue.between(Moment(seen)):
            _print(list(filter(wanted.has, events)), show_env)
            seen = events[-1].offset
        if queue.damage is not None:
            return
        queue.log.wait(math.inf)


def _print(events: Iterable[Event], show_env: bool) -> None:
    emit_lines(event_document(event, show_env=show_env) for event in events)
