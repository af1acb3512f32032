"""Those who use queuectl on the simulated machine: each a process that runs the real code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import executables
from machine import Process
from oracle import Violation

from queuectl.engines.file import FileLog
from queuectl.engines.file.verify import verify
from queuectl.errors import Invalid, NoSpace, NotFound, Rejected
from queuectl.jobqueue import Queue
from queuectl.projections.state import State
from queuectl.runtime.options import Options
from queuectl.runtime.worker import Worker

if TYPE_CHECKING:
    from world import World

Client = Callable[["World", Process], None]
_REFUSALS = (Rejected, NotFound, Invalid)


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
                    events = queue.prune(*some)
                case 3:
                    queue.set("lease", chance.choice(("300ms", "1s")))
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
        for id in list(queue.known.jobs.rows)[-2:]:
            world.oracle.recalled(id, queue.history(id))
        queue.host.sleep(chance.random() / 10)
    queue.close()


CLIENTS: tuple[Client, ...] = (worker, worker, enqueuer, enqueuer, operator, reader)


def resumer(world: World, process: Process) -> None:
    """Lets everything run again that somebody paused."""
    queue = world.open(process)
    queue.resume("other")
    queue.close()


def audit(world: World, process: Process) -> None:
    """When all is over: everything that anybody ever saw is there, and adds up."""
    queue: Queue = world.open(process)
    history = world.oracle.history
    queue.catch_up()
    log = queue.log
    assert isinstance(log, FileLog)
    report = verify(log)
    if report.head != len(history):
        raise Violation(f"the log ends at {report.head}; seen were {len(history)} events")
    replayed = State()
    replayed.apply(history)
    live = queue.known
    if replayed.jobs.rows != live.jobs.rows or replayed.counts != live.counts:
        raise Violation("replayed, the history makes another table of jobs")
    queue.close()
