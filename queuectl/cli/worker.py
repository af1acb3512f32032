"""`worker`: start one here, ask all to stop, see who there is."""

from __future__ import annotations

import gc
from typing import Any

import click

from queuectl import instants
from queuectl.cli.parameters import DURATION, json_option, pass_app, queues_option
from queuectl.cli.root import App, DefaultGroup
from queuectl.cli.text import columns
from queuectl.errors import Invalid, WaitTimedOut
from queuectl.telling.words import ago, counted, seconds, shorten

_STOP_POLL_S = 0.02
_LIVES = {True: "running", False: "dead", None: "started"}
"""By whether it lives; of one in the past nobody knows."""


class _WorkerGroup(DefaultGroup):
    default = "start"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["--stop"]:
            args = ["stop", *args[1:]]
        return super().parse_args(ctx, args)


@click.group(
    cls=_WorkerGroup,
    name="worker",
    epilog="""\b
Examples:
  queuectl worker -c 4                     as worker start; its --help has the options
  queuectl worker list
  queuectl worker stop                     as worker --stop""",
)
def worker() -> None:
    """Run jobs, and look after the processes that do (default: start)."""


@worker.command(
    epilog="""\b
Examples:
  queuectl worker start                    one job at a time, until Ctrl-C
  queuectl worker start -c 4               four at a time
  queuectl worker start --queue mail --queue import
  queuectl worker start -c 4 --burst       run everything there is, then end""",
)
@click.option("-c", "--count", default=1, show_default=True, help="How many jobs at a time.")
@queues_option
@click.option(
    "-s",
    "--sleep",
    "--poll-interval",
    "poll",
    type=DURATION,
    metavar="DURATION",
    help="How often to look without being woken.",
)
@click.option(
    "-l", "--limit", "--max-jobs", "limit", type=int, metavar="N", help="Stop after N jobs."
)
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="For jobs that were given none themselves."
)
@click.option(
    "--backoff-base",
    type=float,
    metavar="SECONDS",
    help="For jobs that were given none themselves.",
)
@click.option(
    "--burst",
    is_flag=False,
    flag_value="wait",
    type=click.Choice(["wait", "now"]),
    help="End when nothing is left to run; =now does not wait for retries and delayed jobs.",
)
@click.option(
    "--grace", type=DURATION, metavar="DURATION", help="From asking a job to end to making it."
)
@click.option("-v", "--verbose", is_flag=True, help="Say what happens to every job.")
@pass_app
def start(
    app: App,
    count: int,
    queues: tuple[str, ...],
    poll: int | None,
    limit: int | None,
    timeout: int | None,
    backoff_base: float | None,
    burst: str | None,
    grace: int | None,
    verbose: bool,
) -> None:
    """Run jobs here until Ctrl-C, SIGTERM or worker stop.

    A stop lets running jobs finish within the grace period, and hands those back that do not. A
    second signal ends them at once.
    """
    from queuectl.cli.reporter import Reporter
    from queuectl.domain.settings import parse_base
    from queuectl.domain.submission import check_queue
    from queuectl.runtime.worker import Options, Worker

    if not 1 <= count <= 1000:
        raise Invalid(f"--count {count}: a worker has 1 to 1000 slots")
    if limit is not None and limit < 1:
        raise Invalid(f"--limit {limit}: it is at least 1")
    if backoff_base is not None:
        try:
            parse_base(backoff_base)
        except ValueError as error:
            raise Invalid(f"--backoff-base {backoff_base:g}: {error}") from None
    options = Options(
        slots=count,
        queues=frozenset(map(check_queue, queues)) or None,
        poll_ms=poll,
        limit=limit,
        burst=burst or "",
        grace_ms=grace,
        timeout_ms=timeout,
        backoff_base=backoff_base,
    )
    gc.enable()
    with app.open(create=True) as queue:
        reporter = Reporter(app, queue, verbose=verbose)
        running = Worker(queue, options, reporter)
        reason = running.run()
        reporter.close(f"worker {running.id} stopped: {reason}")


@worker.command(
    epilog="""\b
Examples:
  queuectl worker stop
  queuectl worker stop --timeout 30s
  queuectl worker stop --no-wait"""
)
@click.option("--no-wait", is_flag=True, help="Return at once.")
@click.option("--timeout", type=DURATION, metavar="DURATION", help="Wait no longer than this.")
@pass_app
def stop(app: App, no_wait: bool, timeout: int | None) -> None:
    """Ask all workers to stop, and return when they have.

    Only workers that run now are asked: one started later is not. Prints their ids.
    """
    with app.open() as queue:
        asked = queue.stop_workers()
        if not asked:
            app.say("no worker is running")
            return
        started = queue.host.monotonic_s()
        waiting = [] if no_wait else [row.id for row in asked]
        while waiting:
            waiting = [id for id in waiting if queue.is_alive(id)]
            if timeout is not None and queue.host.monotonic_s() - started > timeout / 1000:
                raise WaitTimedOut(f"{counted(len(waiting), 'worker')} still finishing jobs")
            queue.host.sleep(_STOP_POLL_S)
        for row in asked:
            click.echo(row.id)
        verb = "asked to stop" if no_wait else "stopped"
        app.say(f"{counted(len(asked), 'worker')} {verb}")


@worker.command(
    "list",
    epilog="""\b
Examples:
  queuectl worker list
  queuectl worker list --json | jq -r '.[].current_job'""",
)
@json_option
@pass_app
def list_workers(app: App, as_json: bool) -> None:
    """Show the workers that run, and what they are doing."""
    with app.open() as queue:
        rows = list(queue.state.workers.rows.values())
        if as_json:
            from queuectl.cli.documents import emit
            from queuectl.telling.documents import worker_document

            emit([worker_document(row, alive=queue.is_alive(row.id)) for row in rows])
            return
        if not rows:
            app.say("no worker is running")
            return
        click.echo(describe(queue, rows))


def describe(queue: Any, rows: list[Any]) -> str:
    """A table of workers."""
    now = queue.now()
    lines = []
    for row in rows:
        jobs = [
            f"{shorten(job.id, 26)} {shorten(job.spec.command, 30)}"
            f" ({seconds(instants.between_ms(job.started_at, now))})"
            for job in row.holding.values()
        ]
        alive = queue.is_alive(row.id)
        lines.append(
            (
                row.id,
                "stopping" if row.stop_requested and alive is not False else _LIVES[alive],
                f"{len(jobs)}/{row.slots}",
                f"{shorten(row.host, 20)}:{row.pid}",
                ago(instants.between_ms(row.heartbeat_at, now)),
                jobs[0] + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
                if jobs
                else "idle",
            )
        )
    return columns(lines, ("WORKER", "STATE", "BUSY", "HOST", "HEARTBEAT", "JOB"))
