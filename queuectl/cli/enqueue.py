"""`enqueue`: jobs from words, from JSON, from a file or a pipe."""

from __future__ import annotations

from typing import Any

import click

from queuectl.cli import completion
from queuectl.cli.files import content
from queuectl.cli.parameters import pass_app
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.domain.submission import listed
from queuectl.errors import Invalid
from queuectl.telling.words import counted, shorten

LINE_BYTES_MAX = 1 << 20


class _Enqueue(click.Command):
    """Remembers whether the words came behind `--`: then they are a program and its arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["queuectl.argv"] = "--" in args
        words_first = bool(args) and not args[0].startswith("-")
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not words_first:
                raise
            # It is an option of the program that the words name.
            raise click.UsageError(
                f"no such option {error.option_name!r}: put a command in quotes, or its words"
                " behind --",
                ctx,
            ) from None


@click.command(
    cls=_Enqueue,
    epilog="""\b
Examples:
  queuectl enqueue "gzip -k big.log"                 through /bin/sh
  queuectl enqueue -- gzip -k "name with blanks"     without a shell
  queuectl enqueue '{"id":"job1","command":"sleep 2","max_retries":5}'
  queuectl enqueue -c "make report" --delay 10m --priority 5 --tag nightly
  find . -name '*.log' -printf 'gzip "%p"\\n' | queuectl enqueue -
  queuectl enqueue -f jobs.jsonl --queue import      all of them, or none""",
)
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, metavar="[JSON | COMMAND | - | -- ARGV...]"
)
@click.option("-c", "--command", help="A command line for /bin/sh.")
@click.option("-f", "--file", metavar="F", help="JSON lines or one command a line; - for a pipe.")
@click.option("--id", help="Its name; made up if not given.")
@click.option(
    "--max-retries",
    "--max-attempts",
    "max_retries",
    metavar="N",
    help="How many runs it has in all (3: at most three; 0 and 1: once).",
)
@click.option("--priority", metavar="N", help="Higher runs sooner; any whole number.")
@click.option(
    "--run-at", "--run-after", "run_at", metavar="TIME", help="Not before this time (RFC 3339)."
)
@click.option("--delay", metavar="DURATION", help="Not before this long from now.")
@click.option("--timeout", metavar="DURATION", help="How long one run may take; 0 for any time.")
@click.option(
    "--backoff", metavar="SHAPE", help="exponential, linear, fixed, doubling, or 5s,30s,5m."
)
@click.option("--backoff-base", metavar="SECONDS", help="The base of the retry delay.")
@click.option(
    "--queue",
    metavar="NAME",
    help="The queue it goes to.  [default: default]",
    shell_complete=completion.queues,
)
@click.option("--cwd", metavar="DIR", help="Where it runs.  [default: here]")
@click.option("--env", multiple=True, metavar="K=V", help="A variable for it; stands in the log.")
@click.option(
    "--secret-env", multiple=True, metavar="NAME", help="A variable the worker must give it."
)
@click.option(
    "--tag", "--tags", "tags", multiple=True, metavar="TAG", help="A label to find it by."
)
@pass_app
@click.pass_context
def enqueue(
    ctx: click.Context,
    app: App,
    /,
    words: tuple[str, ...],
    command: str | None,
    file: str | None,
    **options: Any,
) -> None:
    """Accept jobs, and print their ids once they are durable.

    A job is a command line, or, where it begins with { or [, a JSON object with the fields id,
    command (or argv), max_retries, priority, run_at, delay, timeout, backoff, backoff_base, queue,
    cwd, env, secret_env and tags, or an array of such. Many jobs are accepted all or none. A job
    runs in the directory it was enqueued from, with the environment of the worker and what --env
    adds.
    """
    shared = _fields(options)
    sources = [source for source in (words or None, command, file) if source is not None]
    if len(sources) != 1:
        raise click.UsageError(
            "nothing to enqueue" if not sources else "a job is given in one way only", ctx
        )
    origins: list[str] = []
    if file is not None or words == ("-",):
        jobs = _read(file if file is not None else "-", origins)
    elif command is not None:
        jobs = [{"command": command}]
    else:
        jobs = _from_words(words, origins, is_argv=ctx.meta["queuectl.argv"])
    for index, job in enumerate(jobs):
        if shared:
            jobs[index] = _merged(shared, job, origins[index] if origins else "")
    _accept(app, jobs, origins)


def _accept(app: App, jobs: list[dict[str, Any]], origins: list[str]) -> None:
    with app.open(create=None) as queue:
        with Progress(app) as progress:
            ids = queue.enqueue_all(
                jobs,
                where=lambda index: origins[index] if origins else "",
                progress=lambda count: progress(count, len(jobs)),
            )
        click.echo("\n".join(ids))
        if app.quiet:
            return
        if len(jobs) == 1:
            job = queue.known.jobs.rows[ids[0]]
            when = f", to run at {job.runnable_at}" if job.runnable_at > job.spec.at else ""
            app.say(f"enqueued {job.id}: {shorten(job.spec.command, 60)}{when}")
        else:
            app.say(f"enqueued {counted(len(ids), 'job')}")
        if not any(queue.is_alive(worker) for worker in queue.known.workers.rows):
            app.say("no worker is running; start one with: queuectl worker start")


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as fields of a job."""
    fields = {name: value for name, value in options.items() if value not in (None, ())}
    if "cwd" in fields:
        import os

        fields["cwd"] = os.path.abspath(fields["cwd"])
    for name in ("env", "secret_env", "tags"):
        if name in fields:
            fields[name] = list(fields[name])
    return fields


def _merged(shared: dict[str, Any], job: dict[str, Any], where: str) -> dict[str, Any]:
    twice = shared.keys() & job.keys()
    if twice:
        raise Invalid(f"{where}{min(twice)}: it is given both as an option and in the job")
    return {**shared, **job}


def _from_words(
    words: tuple[str, ...], origins: list[str], *, is_argv: bool
) -> list[dict[str, Any]]:
    if is_argv:
        return [{"argv": list(words)}]
    text = words[0].lstrip()
    if text.startswith(("{", "[")) and len(words) == 1:
        # A plain command is read without it, and importing it takes 3 ms.
        from queuectl import strictjson

        try:
            jobs = listed(strictjson.parse(text))
        except Invalid as error:
            raise Invalid(
                f"{error}; a command that begins with {text[0]} is given with -c"
            ) from None
        if len(jobs) > 1:
            origins.extend(f"job {number}: " for number in range(1, len(jobs) + 1))
        return jobs
    if len(words) > 1:
        return [{"argv": list(words)}]
    return [{"command": words[0]}]


def _read(file: str, origins: list[str]) -> list[dict[str, Any]]:
    """The jobs in a file or pipe; `origins` gets where each of them stood."""
    from queuectl import strictjson

    name = "standard input" if file == "-" else file
    data = content(file)
    if data.lstrip()[:1] == b"[":
        where = f"{name}: "
        jobs = listed(strictjson.parse(strictjson.decoded(data, where), where), where)
        origins.extend(f"{name}, job {number}: " for number in range(1, len(jobs) + 1))
        return jobs
    jobs = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.strip()
        if not line:
            continue
        where = f"{name}, line {number}: "
        if len(line) > LINE_BYTES_MAX:
            raise Invalid(f"{where}{len(line)} bytes are too long, the limit is {LINE_BYTES_MAX}")
        text = strictjson.decoded(line, where)
        if text.startswith("{"):
            jobs.extend(listed(strictjson.parse(text, where), where))
        else:
            jobs.append({"command": text})
        origins.append(where)
    if not jobs:
        raise Invalid(f"{name}: it holds no job")
    return jobs
