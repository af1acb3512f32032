"""A queue made of an exported log, in a directory where nothing is: all of it, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec.structs import replace

from queuectl.domain import commands as c
from queuectl.domain import payloads
from queuectl.engines.file import FileLog
from queuectl.engines.file.founding import found
from queuectl.engines.file.payloads import Payloads
from queuectl.errors import Altered, Illegal, Rejected
from queuectl.events import codec, exchange
from queuectl.events import vocabulary as v
from queuectl.events.exchange import Line
from queuectl.events.log import Batch
from queuectl.home import Home, check_directory_of
from queuectl.host import Host
from queuectl.jobqueue import Queue
from queuectl.projections.legality import Legality

_APART = "it belongs to the queue that was exported"


def make(place: str, readline: Callable[[int], bytes], name: str, host: Host) -> int:
    """Make a queue at `place` of the lines that `readline(limit)` gives; returns its last offset.

    Jobs, history, offsets and times are what they were. What was running then is handed back, and
    its workers count as stopped. The log has an identity of its own, because from here on it goes
    another way. `name` is what errors call the lines. Raises
    `Rejected` where something is at `place`, `NotFound` where its directory is not, and what
    `exchange.read` and `found` do.
    """
    home = Home(place)
    check_directory_of(home.root, host)
    is_new = host.make_directory(home.root)
    staging = os.path.join(home.root, f"import-{host.random(4).hex()}")
    others = [] if is_new else host.names(home.root)
    if others:
        raise Rejected(
            f"{home.root} is not empty, there is {min(others)}: a queue is imported where none is;"
            " name another place with --data"
        )
    try:
        home.check(host)
        host.make_directory(staging)
        _found(staging, readline, name, host, Payloads(home.payloads, host))
        head = _take_leave(home.root, staging, host)
        for directory in (home.run, home.output):
            host.make_directory(directory)
        host.rename(staging, home.log)
        host.sync_directory(home.root)
        if is_new:
            host.sync_directory(os.path.dirname(home.root))
    except BaseException:
        parts = (staging, home.log, home.run, home.output, home.payloads)
        for made in (*parts, *([home.root] if is_new else [])):
            host.remove_tree(made)
        raise
    return head


def _found(
    directory: str, readline: Callable[[int], bytes], name: str, host: Host, kept: Payloads
) -> None:
    # What compaction took out may be missing in what was exported, too.
    legality = Legality(compacted=True)
    lines = exchange.read(readline, name, lambda event: legality.check([event]))
    found(directory, (_parted(line, kept) for line in lines), host)
    try:
        legality.finish()
    except Illegal as illegal:
        raise Altered(f"{name}, event {illegal.offset}: {illegal.why}") from None


def _parted(line: Line, kept: Payloads) -> Line:
    """The same, and elsewhere what of it is too long."""
    event = line.event
    if not isinstance(event, v.JobEnqueued) or payloads.is_short(event):
        return line
    spec, contents = payloads.parted(event)
    if not contents:
        return line
    with kept.keeping(contents.values(), timeout_s=0):
        fact = replace(spec, offset=0, at="", more=False)
    body = codec.body(fact, event.offset, event.at, event.more)
    return Line(body, spec, payloads.FORMAT)


def _take_leave(root: str, directory: str, host: Host) -> int:
    """Part with the workers of the queue that was exported; returns the last offset.

    They may live on this machine: a worker of this queue would take them for dead, and end what
    they run.
    """
    with Queue(root, host=host, log=FileLog(directory, host)) as queue:
        workers = list(queue.state.workers.rows.values())
        held = [job for row in workers for job in row.holding.values()]
        now = queue.now()
        queue.submit(
            [c.Release(job=job.id, token=job.token, now=now, reason=_APART) for job in held]
        )
        gone = [Batch([v.WorkerStopped(worker=row.id, reason=_APART)]) for row in workers]
        queue.transact(lambda: gone)
        return queue.log.head()
