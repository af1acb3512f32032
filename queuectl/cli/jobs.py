"""`list`, `show`, `history`: what there is to know about jobs."""

from __future__ import annotations

import sys

import click

from queuectl import instants
from queuectl.asking import id_of, whole
from queuectl.cli import completion
from queuectl.cli.documents import emit, emit_lines
from queuectl.cli.moments import at_option, look
from queuectl.cli.parameters import (
    STATE,
    filters,
    json_option,
    jsonl_option,
    limit_option,
    newest,
    pass_app,
)
from queuectl.cli.root import App
from queuectl.cli.text import columns, state_name
from queuectl.domain import payloads
from queuectl.domain.job import Job
from queuectl.events.vocabulary import JobClaimed, JobEnqueued
from queuectl.projections import timeline
from queuectl.projections.runs import Run
from queuectl.quantities import format_duration
from queuectl.telling.documents import attempt_document, event_document, job_document
from queuectl.telling.moments import Named
from queuectl.telling.story import line, lost, phases
from queuectl.telling.words import ago, printable, seconds, shorten


@click.command(
    "list",
    epilog="""\b
Examples:
  queuectl list --state failed --state dead
  queuectl list -s running
  queuectl list --at 2026-11-22T09:00:00Z
  queuectl list --queue import --limit 0 --json | jq -r '.[].id'""",
)
@click.option("-s", "--state", "states", multiple=True, type=STATE, help="Only jobs in this state.")
@filters
@limit_option
@at_option
@json_option
@jsonl_option
@pass_app
def list_jobs(
    app: App,
    states: tuple[str, ...],
    queues: tuple[str, ...],
    tags: tuple[str, ...],
    error: str,
    limit: int,
    at: Named | None,
    as_json: bool,
    as_jsonl: bool,
) -> None:
    """List jobs, the newest first.

    States: pending, processing (running, active), completed (done, succeeded), failed (waits for
    its retry), dead (dlq), cancelled.
    """
    with look(app, at) as queue:
        shown, more = newest(queue, limit, states=states, queues=queues, tags=tags, error=error)
        if as_json:
            emit([job_document(job) for job in shown])
            return
        if as_jsonl:
            emit_lines(map(job_document, shown))
            return
        if shown:
            click.echo(job_table(app, shown, queue.now()), color=app.colour)
        else:
            app.say("no such job" if (states or queues or tags) else "the queue is empty")
        if more:
            app.say(more)


def job_table(app: App, jobs: list[Job], now: instants.Instant) -> str:
    """Jobs, one a line; in a pipe nothing is cut off that the log has."""
    width = 50 if sys.stdout.isatty() else None
    rows = [
        (
            job.id,
            state_name(job.state, app.colour),
            f"{job.attempts}/{job.runs_max}",
            str(job.spec.priority),
            job.queue,
            _when(job, now),
            shorten(payloads.shown(job.spec), width)
            + (f"  [{shorten(job.error, width)}]" if job.error else ""),
        )
        for job in jobs
    ]
    titles = ("ID", "STATE", "RUNS", "PRIO", "QUEUE", "UPDATED", "COMMAND")
    return columns(rows, titles)


def _when(job: Job, now: instants.Instant) -> str:
    if job.state in ("pending", "failed") and job.runnable_at > now:
        return f"due in {seconds(instants.between_ms(now, job.runnable_at))}"
    return ago(instants.between_ms(job.updated_at, now))


@click.command(
    epilog="""\b
Examples:
  queuectl show job1
  queuectl show job1 --at 8812
  queuectl show 01k9 --json | jq .attempts_made"""
)
@click.argument("name", metavar="ID", shell_complete=completion.jobs)
@click.option("--show-env", is_flag=True, help="Show the values given with --env, too.")
@at_option
@json_option
@pass_app
def show(app: App, name: str, show_env: bool, at: Named | None, as_json: bool) -> None:
    """Show one job and its runs. The start of an id is enough."""
    with look(app, at) as queue:
        job = queue.get(name)
        runs = queue.runs(job)
        job, why = whole(queue, job)
        if why:
            app.say(f"only the beginning of it is here: {printable(why)}")
        document = job_document(job, show_env=show_env)
        if as_json:
            emit({**document, "attempts_made": [attempt_document(run) for run in runs]})
            return
        for key, value in document.items():
            if value in (None, [], ""):
                continue
            if key == "state":
                shown = state_name(job.state, app.colour)
            elif key == "timeout":
                shown = format_duration(job.spec.timeout_ms) if value else "none"
            else:
                shown = printable(" ".join(value) if isinstance(value, list) else str(value))
            click.echo(f"{key + ':':<15}{shown}", color=app.colour)
        if runs:
            click.echo("\nruns:")
            click.echo(_attempt_table(runs))


def _attempt_table(runs: list[Run]) -> str:
    return columns(
        [
            (
                str(run.attempt),
                run.outcome,
                run.claimed_at or "",
                "" if run.run_ms is None else seconds(run.run_ms),
                "" if run.wait_ms is None else seconds(run.wait_ms),
                "" if run.exit_code is None else str(run.exit_code),
                str(run.token),
                shorten(run.error or run.reason or "", 60),
            )
            for run in runs
        ],
        ("RUN", "OUTCOME", "STARTED", "TOOK", "WAITED", "EXIT", "TOKEN", "ERROR"),
    )


@click.command(
    epilog="""\b
Examples:
  queuectl history job1
  queuectl history job1 --json | jq -r '.[].type'"""
)
@click.argument("name", metavar="ID", shell_complete=completion.jobs)
@click.option("--show-env", is_flag=True, help="Show the values given with --env, too.")
@json_option
@jsonl_option
@pass_app
def history(app: App, name: str, show_env: bool, as_json: bool, as_jsonl: bool) -> None:
    """Show all that ever happened to a job, oldest first.

    What changed, who did it and why, how long it waited and ran, and at the end how it spent its
    time. A purged job has its history, too. Each event is checked against the line before it;
    whether one is missing in between is for log verify to tell.
    """
    with app.open() as queue:
        id = id_of(queue, name)
        gaps: list[tuple[int, int, str]] = []
        events = queue.history(id, lambda *gap: gaps.append(gap))
        # Where the beginning is there, nothing is missing.
        if not events or not isinstance(events[0], JobEnqueued):
            for gap in dict.fromkeys(gaps):
                app.say(lost(*gap))
        if not events:
            queue.get(name)
        if as_json:
            emit([event_document(event, show_env=show_env) for event in events])
            return
        if as_jsonl:
            emit_lines(event_document(event, show_env=show_env) for event in events)
            return
        steps = list(timeline.of(events))
        for step in steps:
            click.echo(line(step, show_env=show_env))
        took = [step.took for step in steps]
        job = queue.known.jobs.get(id)
        if job is not None and job.live:
            took.append(timeline.spent(job, queue.now()))
        told = phases(took, sum(isinstance(event, JobClaimed) for event in events))
        if told:
            app.say(told)
