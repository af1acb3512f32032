"""`ship`: the log goes elsewhere: where, how far it has got, and doing it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import click

from queuectl.cli import completion
from queuectl.cli.parameters import DURATION, SIZE, json_option, pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App, DefaultGroup
from queuectl.errors import Altered, Damaged, Disproved, Invalid, PartlyDone, QueuectlError
from queuectl.telling.words import counted, printable

_PROGRESS_S = 0.2
_LOOK_S = 1.0
START, END = "start", "end"


class _ShipGroup(DefaultGroup):
    default = "status"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["list"]:
            args = ["status", *args[1:]]
        return super().parse_args(ctx, args)


class _Offset(click.ParamType[str]):
    """`start`, `end` or the offset of an event."""

    name = "offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in (START, END) and not str(value).isdecimal():
            self.fail(f"{value!r} is neither {START} nor {END} nor an offset", param, ctx)
        return str(value)


@click.group(
    cls=_ShipGroup,
    name="ship",
    epilog="""\b
Examples:
  queuectl ship add audit --to jsonl:/srv/audit
  queuectl ship run
  queuectl ship status                     as ship list, or just ship
  queuectl ship reset audit --to-start""",
)
def ship() -> None:
    """Send all that happens elsewhere as it happens (default: status)."""


@ship.command(
    epilog="""\b
Examples:
  queuectl ship add audit --to jsonl:/srv/audit
  queuectl ship add audit --to jsonl:/srv/audit --file-bytes 256M --from end
  queuectl ship add audit --to jsonl:/srv/audit --max-lag 30d
  queuectl ship add siem --to https://siem.example/in --token-file /run/secrets/siem
  queuectl ship add mine --to 'exec:psql -c "copy events from stdin"'"""
)
@click.argument("name")
@click.option("--to", required=True, metavar="SINK", help="Where to; the kinds are above.")
@click.option(
    "--from",
    "start",
    type=_Offset(),
    default=START,
    show_default=True,
    metavar="start|end|OFFSET",
    help="Ship what comes after that event.",
)
@click.option("--show-env", is_flag=True, default=None, help="Ship values given with --env, too.")
@click.option("--send-events", type=click.IntRange(1), metavar="N", help="Send so many at most.")
@click.option("--send-bytes", type=SIZE, metavar="SIZE", help="Send about so much at most.")
@click.option("--file-events", type=click.IntRange(1), metavar="N", help="So many a file at most.")
@click.option("--file-bytes", type=SIZE, metavar="SIZE", help="So much a file at most.")
@click.option(
    "--timeout",
    "timeout_ms",
    type=DURATION,
    metavar="DURATION",
    help="Wait no longer for an answer.",
)
@click.option("--no-gzip", "gzip", flag_value=False, default=None, help="Send it uncompressed.")
@click.option("--token-file", metavar="FILE", help="Where the bearer token stands.")
@click.option("--token-env", metavar="NAME", help="The variable of ship run that holds the token.")
@click.option(
    "--signal",
    "signals",
    multiple=True,
    type=click.Choice(["traces", "logs"]),
    help="Only this of OpenTelemetry.",
)
@click.option("--subject", metavar="SUBJECT", help="What subjects in NATS begin with.")
@click.option(
    "--max-lag",
    "max_lag_ms",
    type=DURATION,
    metavar="DURATION",
    help="Let compaction go on without it when it lags further behind.",
)
@click.option(
    "--max-held",
    "max_held_bytes",
    type=SIZE,
    metavar="SIZE",
    help="The same when it holds up more of the log.",
)
@pass_app
def add(app: App, /, name: str, to: str, start: str, **given: Any) -> None:
    """Define a sink: a place that the log is shipped to.

    \b
      jsonl:DIRECTORY        files of JSON lines, each event in them exactly once
      parquet:DIRECTORY      the same, each turned into Parquet when it is complete
      http://… or https://…  JSON lines in POST requests, under an Idempotency-Key
      otlp:URL               OpenTelemetry: a job is a trace, a run a span, an event a log record
      nats://… or tls://…    NATS JetStream: a message an event, with a Nats-Msg-Id
      exec:COMMAND           JSON lines as its input; its exit code 0 acknowledges them

    From now on compaction takes nothing out of the log that the sink has not got, however long that
    takes, unless --max-lag or --max-held says otherwise. Nothing is sent before ship run.
    """
    from queuectl.runtime.sinks import Sinks, check_name
    from queuectl.ship.kinds import defined

    check_name(name)
    given["signals"] = given["signals"] or None
    with app.open() as queue:
        head = queue.log.head()
        sink = defined(
            name,
            to,
            given,
            queue.host,
            start=_offset(start, head),
            actor=queue.actor,
            at=queue.now(),
        )
        Sinks(queue.home, queue.host).add(sink)
        app.say(f"sink {name} begins after event {sink.start} of {head}: queuectl ship run {name}")


def _offset(text: str, head: int) -> int:
    offset = {START: 0, END: head}.get(text)
    offset = int(text) if offset is None else offset
    if offset > head:
        raise Invalid(f"event {offset}: there are only {head} yet")
    return offset


@ship.command(
    epilog="""\b
Examples:
  queuectl ship status
  queuectl ship status audit --json | jq '.[].lag_events'"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.sinks)
@json_option
@pass_app
def status(app: App, names: tuple[str, ...], as_json: bool) -> None:
    """Show sinks: how far each lags behind, and what went wrong.

    HELD is what the log has that it lacks, which compaction leaves alone for its sake.
    """
    from queuectl.cli.sinks import sink_document, table
    from queuectl.runtime.sinks import Sinks

    with app.open() as queue:
        sinks = Sinks(queue.home, queue.host)
        documents = [sink_document(queue, sinks, name) for name in names or sinks.names()]
        if as_json:
            from queuectl.cli.documents import emit

            emit(documents)
            return
        if not documents:
            app.say("there is no sink; queuectl ship add makes one")
            return
        click.echo(table(documents))


@ship.command(
    epilog="""\b
Examples:
  queuectl ship run
  queuectl ship run audit
  queuectl ship run --once && rsync -a /srv/audit/ backup:audit/"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.sinks)
@click.option("--once", "--drain", "once", is_flag=True, help="End when all has been shipped.")
@pass_app
def run(app: App, names: tuple[str, ...], once: bool) -> None:
    """Ship to all sinks, or to those named, until Ctrl-C or SIGTERM.

    What fails is tried again, after ever longer, and holds up no other sink. What a sink will never
    take stops that sink alone. It can be killed at any moment: what the sink did not acknowledge is
    sent again. With --once, a sink is given up that fails five times in a row.
    """
    from queuectl.ship.running import run as run_all

    gc.enable()
    with app.open() as queue, Progress(app) as progress:

        def note(text: str) -> None:
            progress.clear()
            app.say(printable(text))

        shippings = _begun(queue, names, note)
        try:
            head = queue.log.head()
            begun = [min(head, one.cursor) for one in shippings]

            def look() -> None:
                done = sum(min(head, one.cursor) for one in shippings) - sum(begun)
                total = head * len(shippings) - sum(begun)
                if done < total:
                    progress(done, total)

            for one in shippings:
                one.until = head if once else None
            run_all(
                shippings,
                queue.home,
                queue.host,
                look=look,
                look_s=_PROGRESS_S if once else _LOOK_S,
                note=note,
            )
        finally:
            for one in shippings:
                one.close()
        _tell_end(app, shippings)


def _begun(queue: Any, names: tuple[str, ...], note: Callable[[str], None]) -> list[Any]:
    """What ships to each of the sinks, to all that there are if none is named."""
    from queuectl.runtime.sinks import Sinks
    from queuectl.ship.kinds import outlet
    from queuectl.ship.shipping import Shipping

    host = queue.host
    names = tuple(dict.fromkeys(names)) or tuple(Sinks(queue.home, host).names())
    if not names:
        raise Invalid("there is no sink to ship to: queuectl ship add defines one")
    begun: list[Shipping] = []
    try:
        for name in names:
            begun.append(Shipping(queue.home, host, name, outlet, note))
    except BaseException:
        for shipping in begun:
            shipping.close()
        raise
    for one in begun:
        if one.error is None:
            note(f"sink {one.sink.name}: shipping to {one.sink.to} after event {one.cursor}")
        elif len(begun) > 1:
            note(str(one.error))
    return begun


def _tell_end(app: App, shippings: list[Any]) -> None:
    for shipping in shippings:
        if shipping.error is None:
            app.say(f"sink {shipping.sink.name}: shipped up to event {shipping.cursor}")
    errors = [shipping.error for shipping in shippings if shipping.error is not None]
    damage = next((error for error in errors if isinstance(error, Damaged)), None)
    if damage is not None:
        raise damage
    if errors and len(errors) == len(shippings) == 1:
        if isinstance(errors[0], Altered | Disproved):
            raise errors[0]
        raise QueuectlError(f"sink {shippings[0].sink.name}: {errors[0]}")
    if errors:
        kind = PartlyDone if len(errors) < len(shippings) else QueuectlError
        raise kind(
            f"shipping to {len(errors)} of {counted(len(shippings), 'sink')} failed: see above"
        )


@ship.command(
    epilog="""\b
Examples:
  queuectl ship reset audit --to-start
  queuectl ship reset audit --to-end
  queuectl ship reset audit --to-offset 5000"""
)
@click.argument("name", shell_complete=completion.sinks)
@click.option("--to-start", "to", flag_value=START, help="Ship everything again.")
@click.option("--to-end", "to", flag_value=END, help="Skip what has not been shipped.")
@click.option("--to-offset", "offset", type=int, metavar="N", help="Go on after event N.")
@pass_app
def reset(app: App, name: str, to: str | None, offset: int | None) -> None:
    """Say where shipping to a sink goes on.

    Files that are there already are compared with the log, and not written twice.
    """
    from queuectl.runtime.sinks import Sinks

    if (to is None) == (offset is None):
        raise Invalid("give one of --to-start, --to-end and --to-offset N")
    with app.open() as queue:
        if offset is not None and offset < 0:
            raise Invalid(f"--to-offset {offset}: offsets begin with 1; 0 is before the first")
        at = _offset(to or str(offset), queue.log.head())
        Sinks(queue.home, queue.host).reset(name, at)
        app.say(f"sink {name} goes on after event {at}")


@ship.command(
    epilog="""\b
Examples:
  queuectl ship remove audit"""
)
@click.argument("name", shell_complete=completion.sinks)
@pass_app
def remove(app: App, name: str) -> None:
    """Forget a sink and how far it has got; what it has stays there."""
    from queuectl.runtime.sinks import Sinks

    with app.open() as queue:
        Sinks(queue.home, queue.host).remove(name)
        app.say(f"sink {name} is forgotten")
