"""`doctor`: is everything as it should be?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from queuectl import instants
from queuectl.cli.documents import emit
from queuectl.cli.parameters import json_option, pass_app
from queuectl.cli.root import App
from queuectl.errors import Altered, Newer, NotFound, QueuectlError
from queuectl.quantities import format_size
from queuectl.telling.words import counted, printable, seconds

_FREE_BYTES_LOW = 256 << 20
_SLOW_SYNC_MS = 50


class Finding(NamedTuple):
    """One thing that was looked at; `level` is `ok`, `warn` or `fail`."""

    level: str
    about: str
    text: str


@click.command(
    epilog="""\b
Examples:
  queuectl doctor
  queuectl doctor --json | jq '.[] | select(.level != "ok")'"""
)
@json_option
@pass_app
def doctor(app: App, as_json: bool) -> int:
    """Check the queue and the machine under it.

    Looked at are permissions, space, clock, disk, log, and whether somebody runs what is due and
    ships what is to be shipped.
    Exits 1 if anything fails; a warning is no failure.
    """
    findings = list(_findings(app))
    if as_json:
        emit([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{finding.level:<5} {finding.about + ':':<12} {printable(finding.text)}")
    return int(any(finding.level == "fail" for finding in findings))


def _findings(app: App) -> Iterator[Finding]:
    with app.open() as queue:
        # Opening refuses what others can write to, and network file systems that were not forced.
        kind = queue.host.file_system(queue.home.root) or "unknown"
        yield Finding("ok", "directory", f"{queue.home.root} is private, on {kind}")
        yield _space(queue)
        yield from _log(queue)
        yield _sync(queue)
        yield _locks(queue)
        yield from _workers(queue)
        yield from _sinks(queue)
        yield from _cursors(queue)


def _space(queue: Any) -> Finding:
    free = queue.host.free_bytes(queue.home.root)
    level = "ok" if free >= _FREE_BYTES_LOW else "warn"
    return Finding(level, "space", f"{format_size(free)} free")


def _log(queue: Any) -> Iterator[Finding]:
    state = queue.state
    if queue.damage is not None:
        yield Finding("fail", "log", str(queue.damage))
        return
    yield Finding("ok", "log", f"{counted(state.offset, 'event')}, all checksums right")
    ahead_ms = instants.between_ms(queue.now(), state.statistics.last_at or queue.now())
    if ahead_ms > 1000:
        text = f"the last event is {seconds(ahead_ms)} in the future: the clock was set back"
        yield Finding("warn", "clock", text)
    else:
        yield Finding("ok", "clock", "not before the last event")


def _sync(queue: Any) -> Finding:
    """How long the disk takes to make a few bytes durable; also shows that the lock can be had."""
    try:
        with queue.log.exclusive():
            took_ms = queue.log.segments.probe_ms()
    except OSError as error:
        return Finding("fail", "disk", f"{error.strerror} ({error.filename})")
    except QueuectlError as error:
        return Finding("fail", "disk", str(error))
    level = "ok" if took_ms < _SLOW_SYNC_MS else "warn"
    return Finding(level, "disk", f"a durable write takes {seconds(took_ms)}")


def _locks(queue: Any) -> Finding:
    """Whether a lock that is held is refused to others here; some file systems only pretend."""
    host = queue.host
    path = os.path.join(queue.home.log, f"doctor-{host.random(6).hex()}")
    held = []
    try:
        held = [fd for fd in (host.hold(path), host.hold(path)) if fd is not None]
        host.unlink(path)
    except OSError as error:
        return Finding("fail", "locks", f"{error.strerror} ({path})")
    finally:
        for fd in held:
            host.close(fd)
    if len(held) != 1:
        text = "a lock that is held here is given to others, too: use another file system"
        return Finding("fail", "locks", text)
    return Finding("ok", "locks", "a lock that is held is refused to others")


def _workers(queue: Any) -> Iterator[Finding]:
    rows = list(queue.known.workers.rows.values())
    dead = [row for row in rows if not queue.is_alive(row.id)]
    alive = len(rows) - len(dead)
    yield Finding("ok", "workers", f"{counted(alive, 'worker')} running")
    if dead:
        text = f"{counted(len(dead), 'worker')} died; the next one to start clears up after them"
        yield Finding("warn", "workers", text)
    due = queue.known.ready.due(queue.now(), 1, None, queue.known.paused)
    if due and not alive:
        text = f"jobs are due, such as {due[0].id}, and nobody runs them: queuectl worker start"
        yield Finding("warn", "jobs", text)
    unserved = _unserved(queue, [row for row in rows if row not in dead])
    if unserved:
        text = f"no worker serves queue {', '.join(unserved)}, where jobs wait"
        yield Finding("warn", "queues", text)


def _sinks(queue: Any) -> Iterator[Finding]:
    """Whether everything that is to be shipped is on its way."""
    from queuectl.cli.sinks import LOST, sink_document
    from queuectl.runtime.sinks import Sinks

    sinks = Sinks(queue.home, queue.host)
    names = sinks.names()
    warnings = []
    for name in names:
        try:
            document = sink_document(queue, sinks, name)
        except (Altered, Newer, NotFound) as error:
            warnings.append(str(error))
            continue
        if document["lost"]:
            warnings.append(f"sink {name}: {LOST}")
        if document["error"]:
            warnings.append(f"sink {name} is {document['state']}: {document['error']}")
        elif document["lag_events"] and document["state"] == "idle":
            waiting = counted(document["lag_events"], "event")
            warnings.append(f"{waiting} to ship to {name}, and nobody does: queuectl ship run")
    if names and not warnings:
        yield Finding("ok", "sinks", f"nothing hinders shipping to {counted(len(names), 'sink')}")
    yield from (Finding("warn", "sinks", text) for text in warnings)


def _cursors(queue: Any) -> Iterator[Finding]:
    """Who else holds compaction up: it may be somebody who has gone."""
    from queuectl.runtime.sinks import Sinks

    head = queue.log.head()
    for name, offset, error in Sinks(queue.home, queue.host).others():
        if error:
            text = f"{error}: until it is written anew, or deleted, compaction takes nothing out"
            yield Finding("warn", "cursors", text)
        elif offset is not None and offset < head:
            text = f"compaction waits for {name}, which is no sink, at event {offset} of {head}"
            yield Finding("ok", "cursors", text)


def _unserved(queue: Any, alive: list[Any]) -> list[str]:
    if not alive or any(row.queues is None for row in alive):
        return []
    served = {name for row in alive for name in row.queues}
    waiting = {job.queue for job in queue.jobs(states=("pending", "failed"))}
    return sorted(waiting - served)
