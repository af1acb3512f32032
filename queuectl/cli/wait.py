"""`wait`: until jobs have ended."""

from __future__ import annotations

import math

import click

from queuectl.cli import completion
from queuectl.cli.parameters import DURATION, json_option, pass_app
from queuectl.cli.root import App
from queuectl.domain.job import COMPLETED, FINISHED
from queuectl.errors import Invalid, WaitTimedOut
from queuectl.telling.words import counted


@click.command(
    epilog="""\b
Examples:
  queuectl wait job1 job2
  queuectl wait job1 --json | jq -r '.[].run_seconds'
  queuectl wait --timeout 5m --exit-code "$(queuectl -q enqueue 'make test')\""""
)
@click.argument("names", nargs=-1, required=True, metavar="ID...", shell_complete=completion.jobs)
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="Give up after this; exit code 5."
)
@click.option("--exit-code", is_flag=True, help="Exit with the job's own exit code.")
@json_option
@pass_app
def wait(
    app: App, names: tuple[str, ...], timeout: int | None, exit_code: bool, as_json: bool
) -> int:
    """Return when the jobs have ended: completed, dead or cancelled.

    Exits 0 if all have completed, 1 if not. Prints each id with its state as soon as it has ended;
    with --json the jobs, once all have.
    """
    with app.open() as queue:
        ids = list(dict.fromkeys(queue.get(name).id for name in names))
        if exit_code and len(ids) > 1:
            raise Invalid("--exit-code passes on the exit code of one job: name one")
        until = queue.host.monotonic_s() + timeout / 1000 if timeout is not None else None
        waiting = list(ids)
        failed = 0
        while True:
            table = queue.state.jobs
            if queue.damage is not None:
                raise queue.damage
            for id in list(waiting):
                job = table.get(id)
                if job is None or (job.state in FINISHED and not job.held):
                    waiting.remove(id)
                    state = job.state if job else "purged"
                    failed += state != COMPLETED
                    if not as_json:
                        click.echo(f"{id} {state}")
            if not waiting:
                break
            left_s = until - queue.host.monotonic_s() if until is not None else math.inf
            if left_s <= 0:
                raise WaitTimedOut(f"{counted(len(waiting), 'job')} not ended yet: {waiting[0]}")
            queue.log.wait(left_s)
        if as_json:
            from queuectl.cli.documents import emit
            from queuectl.telling.documents import job_document

            emit([job_document(job) for id in ids if (job := table.get(id))])
        if exit_code:
            job = queue.known.jobs.get(ids[0])
            code = job.exit_code if job else None
            return code if code is not None else int(failed > 0)
        return int(failed > 0)
