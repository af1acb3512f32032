"""The root of the command tree: global options, and which module each command lives in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from queuectl import __version__
from queuectl.cli.text import wants_colour
from queuectl.errors import Invalid, NotFound, Rejected
from queuectl.suggestion import did_you_mean

COMMANDS = {
    "enqueue": "enqueue:enqueue",
    "worker": "worker:worker",
    "status": "status:status",
    "list": "jobs:list_jobs",
    "show": "jobs:show",
    "logs": "logs:logs",
    "history": "jobs:history",
    "why": "why:why",
    "diff": "diff:diff",
    "proof": "proof:proof",
    "watch": "events:watch",
    "wait": "wait:wait",
    "cancel": "verbs:cancel",
    "retry": "verbs:retry",
    "dlq": "dlq:dlq",
    "queue": "queues:queue",
    "config": "config:config",
    "stats": "stats:stats",
    "errors": "errors:errors",
    "simulate": "simulate:simulate",
    "sql": "sql:sql",
    "report": "report:report",
    "log": "log:log",
    "export": "export:export",
    "import": "importing:import_queue",
    "schema": "schema:schema",
    "ship": "ship:ship",
    "web": "web:web",
    "doctor": "doctor:doctor",
}
ALIASES = {"metrics": "stats", "ls": "list"}


class App:
    """What the global options said."""

    def __init__(self, data: str, quiet: bool, colour: bool) -> None:
        self.data = data
        self.quiet = quiet
        self.colour = colour
        self._queue: Any = None

    @contextmanager
    def open(self, *, create: bool | None = False) -> Iterator[Any]:
        """The queue; `create` makes one where there is none, None only once something is accepted.

        From a damaged log comes what stands before the damage, and then the error.
        """
        from queuectl.jobqueue import Queue

        with Queue(self.data, create=create, salvage=True) as queue:
            self._queue = queue
            try:
                yield queue
            except (NotFound, Rejected):
                # That is not known of a queue of which only a part could be read.
                if queue.damage is None:
                    raise
            if queue.damage is not None:
                raise queue.damage

    def say(self, text: str) -> None:
        """A sentence for people, beside the answer; none about a log of which only a part could be
        read."""
        damaged = self._queue is not None and self._queue.damage is not None
        if not (self.quiet or damaged):
            click.echo(text, err=True)


class LazyGroup(click.Group):
    """Imports a command only when it is called or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        target = COMMANDS.get(ALIASES.get(name, name))
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command = getattr(import_module(f"queuectl.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        name_variables(command, f"QUEUECTL_{command.name}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            hint = did_you_mean(args[0], [*COMMANDS, *ALIASES])
            raise click.UsageError(f"no such command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])


class DefaultGroup(click.Group):
    """A group that means one of its commands when none is named."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            if args and not args[0].startswith("-"):
                hint = did_you_mean(args[0], self.commands)
                raise click.UsageError(f"no such command {args[0]!r}{hint}", ctx)
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def name_variables(command: click.Command, prefix: str) -> None:
    """Let every option, in each of its long spellings, be given by a variable as well."""
    for option in command.params:
        # What only prints and leaves, like --version, is not for the environment.
        if isinstance(option, click.Option) and option.expose_value:
            names = [name[2:] for name in option.opts if name.startswith("--")]
            option.envvar = [f"{prefix}_{name}".upper().replace("-", "_") for name in names]
    for name, below in getattr(command, "commands", {}).items():
        name_variables(below, f"{prefix}_{name}")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  queuectl enqueue "convert a.png a.webp"
  queuectl enqueue '{"id": "job1", "command": "sleep 2", "priority": 5}'
  queuectl worker start -c 4
  queuectl status""",
)
@click.option(
    "--data",
    metavar="PLACE",
    default="./data",
    show_default=True,
    help="The directory that the queue lives in.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print the answer and nothing else.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour on terminals; NO_COLOR and TERM=dumb are heeded.",
)
@click.version_option(__version__, prog_name="queuectl", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, data: str, quiet: bool, color: str) -> None:
    """A background job queue for shell commands, on an append-only log you can trust.

    Every option can be given by an environment variable, too: QUEUECTL_DATA,
    QUEUECTL_ENQUEUE_PRIORITY, QUEUECTL_WORKER_START_COUNT.
    """
    if not data:
        raise Invalid("--data: it is empty; name the directory that the queue lives in")
    if "://" in data:
        raise Invalid(f"--data {data}: no log engine for such a URL is known; name a directory")
    colour = wants_colour(color, sys.stdout)
    ctx.color = colour
    ctx.obj = App(data, quiet, colour)


name_variables(cli, "QUEUECTL")
