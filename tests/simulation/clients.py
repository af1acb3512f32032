"""Those who use queuectl on the simulated machine: each a process that runs the real code."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import executables
from disk import File
from machine import Process
from oracle import Violation

from queuectl.engines.file import FileLog, cursors
from queuectl.engines.file.archive import Archive
from queuectl.engines.file.evidence import Evidence
from queuectl.engines.file.verify import verify
from queuectl.errors import Invalid, LockTimedOut, NoSpace, NotFound, Rejected
from queuectl.events.codec import decode_unverified
from queuectl.events.vocabulary import JobEnqueued
from queuectl.runtime import compacting, redacting
from queuectl.runtime.options import Options
from queuectl.runtime.worker import Worker

if TYPE_CHECKING:
    from world import World

Client = Callable[["World", Process], None]
_SETTINGS = (
    ("lease", "300ms"),
    ("lease", "1s"),
    ("retain-completed", "1s"),
    ("retain-dead-max", "2"),
)
_REFUSALS = (Rejected, NotFound, Invalid)
_FIELDS = (["command"], ["error"], ["reason", "actor"], ["command", "error"])


def worker(world: World, process: Process) -> None:
    """Runs jobs until nothing is left to run."""
    queue = world.open(process)
    chance = world.chance
    options = Options(
        slots=chance.randrange(1, 4),
        burst=chance.choice(("wait", "now")) if world.machine.trouble else "wait",
        grace_ms=50,
        backoff_base=0.02,
    )
    Worker(queue, options).run()
    queue.close()


def enqueuer(world: World, process: Process) -> None:
    """Enqueues jobs, one or several at a time."""
    queue = world.open(process)
    chance = world.chance
    for _ in range(chance.randrange(1, 4)):
        jobs = [_job(world) for _ in range(chance.choice((1, 1, 1, 3)))]
        given = [fields["id"] for fields in jobs if "id" in fields]
        try:
            accepted = queue.enqueue_many(jobs)
        except Rejected:
            continue
        except NoSpace:
            # Told that nothing was written.
            world.oracle.refused.update(id for id in given if id not in queue.known.jobs.rows)
            raise
        world.oracle.acknowledged += len(accepted)
        queue.host.sleep(chance.random() / 10)
    queue.close()


def _job(world: World) -> dict[str, object]:
    chance = world.chance
    fields: dict[str, object] = {
        "command": executables.command(chance),
        "max_retries": chance.choice((1, 3)),
        "priority": chance.choice((0, 0, 5)),
        "queue": chance.choice(("default", "other")),
    }
    if chance.random() < 0.4:
        fields["id"] = f"job{chance.randrange(1 << 40)}"
    if chance.random() < 0.1:
        fields["delay"] = "300ms"
    if chance.random() < 0.1:
        fields["timeout"] = "20ms"
    return fields


def operator(world: World, process: Process) -> None:
    """Cancels, retries, prunes, pauses and sets, as people do."""
    queue = world.open(process)
    chance = world.chance
    for _ in range(chance.randrange(1, 5)):
        queue.catch_up()
        ids = list(queue.known.jobs.rows)
        some = chance.sample(ids, min(len(ids), chance.choice((1, 1, 2))))
        try:
            match chance.randrange(6):
                case 0:
                    events = queue.cancel(*some)
                case 1:
                    events = queue.retry(*some)
                case 2:
                    ended = [job.id for job in queue.known.jobs.rows.values() if not job.live]
                    events = queue.prune(*ended[:3])
                case 3:
                    key, value = chance.choice(_SETTINGS)
                    queue.set(key, value)
                    events = []
                case 4:
                    queue.pause("other")
                    events = []
                case _:
                    queue.resume("other")
                    events = []
        except _REFUSALS:
            continue
        world.oracle.acknowledged += len(events)
        queue.host.sleep(chance.random() / 5)
    queue.close()


def reader(world: World, process: Process) -> None:
    """Follows the log, and looks single jobs up."""
    queue = world.open(process)
    chance = world.chance
    for _ in range(chance.randrange(1, 6)):
        queue.catch_up()
        if chance.random() < 0.3:
            world.oracle.asked(queue.known)
        for id in list(queue.known.jobs.rows)[-2:]:
            world.oracle.recalled(id, queue.history(id))
        queue.host.sleep(chance.random() / 10)
    queue.close()


def compactor(world: World, process: Process) -> None:
    """Takes out of the log what nobody needs any more."""
    queue = world.open(process)
    try:
        for _ in compacting.compact(queue, thrifty=world.chance.random() < 0.3):
            pass
    except LockTimedOut:
        pass  # somebody else is at it
    queue.host.sleep(world.chance.random() / 5)
    queue.close()


def redactor(world: World, process: Process) -> None:
    """Takes values out of the log that should not have come there."""
    queue = world.open(process)
    chance = world.chance
    for _ in range(chance.randrange(1, 3)):
        queue.catch_up()
        ids = [*world.oracle.known][-8:]
        try:
            if ids:
                redacting.redact(queue, chance.choice(ids), chance.choice(_FIELDS))
        except (*_REFUSALS, LockTimedOut):
            pass
        queue.host.sleep(chance.random() / 5)
    queue.close()


def keeper(world: World, process: Process) -> None:
    """Keeps snapshots."""
    queue = world.open(process)
    for _ in range(world.chance.randrange(1, 4)):
        queue.catch_up()
        queue.keep_snapshot()
        queue.host.sleep(world.chance.random() / 5)
    queue.close()


def shipper(world: World, process: Process) -> None:
    """Reads the log from its beginning and notes how far it has got: nothing past that may go."""
    queue = world.open(process)
    offset = cursors.read(queue.home.cursors, "shipper", queue.host)
    assert offset is not None
    for events in queue.log.read(offset):
        offset = events[-1].offset
        # A crash may take the newer one back.
        cursors.move(queue.home.cursors, "shipper", offset, queue.host)
        world.oracle.cursor = offset
        queue.host.sleep(world.chance.random() / 10)
    queue.close()


def vandal(world: World, process: Process) -> None:
    """Spoils what is only a cache."""
    queue = world.open(process)
    chance, disk = world.chance, world.machine.disk
    names = queue.host.names(queue.home.snapshots)
    for name in chance.sample(sorted(names), min(len(names), 2)):
        path = os.path.join(queue.home.snapshots, name)
        if chance.random() < 0.5:
            queue.host.remove_tree(path)
        elif path in disk.entries:
            disk.find(path).spoil(chance)
    queue.host.sleep(chance.random() / 5)
    queue.close()


CLIENTS: tuple[Client, ...] = (
    *(worker, worker, enqueuer, enqueuer, operator, operator),
    *(reader, compactor, keeper, shipper, vandal, redactor),
)


def resumer(world: World, process: Process) -> None:
    """Lets everything run again that somebody paused."""
    queue = world.open(process)
    queue.resume("other")
    queue.close()


def finisher(world: World, process: Process) -> None:
    """Finishes every redaction that was asked for."""
    queue = world.open(process)
    queue.catch_up()
    redacting.finish(queue)
    queue.close()


def audit(world: World, process: Process) -> None:
    """When all is over: everything that anybody ever saw is there, and adds up."""
    queue = world.open(process)
    oracle = world.oracle
    queue.catch_up()
    log = queue.log
    assert isinstance(log, FileLog)
    asked = queue.known.redactions
    report = verify(log, evidence=lambda: Evidence(asked=asked))
    if report.evidence.redactions.unfinished or queue.known.redacting:
        raise Violation("what was to be taken out is there yet")
    if report.head != len(oracle.history):
        raise Violation(f"the log ends at {report.head}; seen were {len(oracle.history)} events")
    oracle.asked(queue.known)
    archive = Archive(queue.home.archive, queue.host)
    lines = [
        line + b"\n"
        for first in archive.list()
        for line in b"".join(archive.read(first)).split(b"\n")[1:-1]
    ]
    logged = [*chain.from_iterable(log.read())]
    oracle.found(decode_unverified(b"".join(lines)), logged)
    _check_files(world)
    for event in logged:
        if isinstance(event, JobEnqueued):
            queue.whole(event)  # raises where something is gone that was too long for a line
    queue.close()


def _check_files(world: World) -> None:
    """No file holds what was to be taken out, but for what was kept aside."""
    words = [word.encode() for word in world.oracle.redacted_words()]
    for path, entry in world.machine.disk.entries.items():
        if not isinstance(entry, File) or os.path.basename(path).startswith("cut-"):
            continue
        data = bytes(entry.content)
        if path.endswith(".gz"):
            data = gzip.decompress(data)
        for word in words:
            if word in data:
                raise Violation(f"{word.decode()} was to be taken out, and is in {path}")
