"""`log redact`: taking secrets out of what happened to a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from queuectl.asking import id_of
from queuectl.cli import completion
from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.domain.redaction import ALIASES, FIELDS
from queuectl.errors import Rejected
from queuectl.events.vocabulary import wire_name
from queuectl.telling.words import counted, printable

_ASIDE = "it was kept aside as it was; look, then remove it"
_SHARED = "another job has the same text"


@click.command(
    epilog="""\b
Examples:
  queuectl log redact job1 --field env --dry-run
  queuectl log redact job1 --field command --field error --reason "token in the URL"
  queuectl log redact job1 --field env --output"""
)
@click.argument("name", metavar="ID", shell_complete=completion.jobs)
@click.option(
    "--field",
    "fields",
    multiple=True,
    required=True,
    type=click.Choice([*FIELDS, *ALIASES]),
    help="What is to go, in all events of the job so far. Repeatable.",
)
@click.option("--output", "with_output", is_flag=True, help="Remove what the job has printed, too.")
@click.option("--reason", default="", help="Why, for the history.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def redact(
    app: App,
    name: str,
    fields: tuple[str, ...],
    with_output: bool,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Take secrets out of the log and its archive, for good.

    Every value of these fields in the events of the job becomes [redacted]: in the log, the archive
    and the snapshots. The log goes on to verify, and says itself what was redacted, when, by whom
    and why. Of what is gone a hash is kept, by which somebody who guesses the value can tell that
    it was that: change the secret as well. Workers may go on meanwhile. What was interrupted is
    finished by asking again, by log compact, or by a worker.

    A job that is not over keeps what it has to be run with. Not reached are copies made elsewhere.
    """
    from queuectl.runtime import redacting

    wanted = {ALIASES.get(field, field) for field in fields}
    with app.open() as queue:
        id = id_of(queue, name)
        found = redacting.find(queue, id, wanted)
        printed = redacting.outputs(queue, id)
        if with_output:
            _refuse_running(queue, id)
        changed = None
        if not dry_run and (not found or yes or _agree(id, found, as_json)):
            changed = redacting.redact(queue, id, wanted, reason=reason)
            if with_output:
                redacting.remove(queue, printed)
        left = dict.fromkeys(redacting.asides(queue), _ASIDE)
        if changed is not None:
            left |= dict.fromkeys(redacting.shared(queue, found), _SHARED)
    if as_json:
        events = [
            {"offset": one.event.offset, "type": wire_name(one.event), "fields": one.names}
            for one in found
        ]
        paths = {"files": changed or [], "output": printed, "left": list(left)}
        emit({"job": id, "redacted": changed is not None, "events": events, **paths})
        return
    for one in found:
        fields_gone = ", ".join(one.names)
        click.echo(f"event {one.event.offset}  {wire_name(one.event)}: {fields_gone}")
    for sentence in _sentences(id, found, changed, printed, left, with_output):
        app.say(printable(sentence))


def _refuse_running(queue: Any, id: str) -> None:
    job = queue.known.jobs.get(id)
    if job is not None and job.held:
        raise Rejected(f"job {id} is running and prints: remove its output when it is over")


def _agree(id: str, found: list[Any], as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        return True
    return click.confirm(f"redact {counted(len(found), 'event')} of job {id} for good?", err=True)


def _sentences(
    id: str,
    found: list[Any],
    changed: list[str] | None,
    printed: list[str],
    left: dict[str, str],
    with_output: bool,
) -> Iterator[str]:
    if not found:
        yield f"no event of job {id} has such a value"
    if changed is None:
        yield "nothing was changed"
        return
    if changed:
        yield f"redacted job {id}; {counted(len(changed), 'file')} made anew"
    if printed and with_output:
        yield f"removed {counted(len(printed), 'file')} with what it has printed"
    elif printed:
        files = counted(len(printed), "file")
        yield f"what it has printed, in {files}, may have the values, too: --output removes that"
    for path, why in left.items():
        yield f"{path} stays, and may have them, too: {why}"
