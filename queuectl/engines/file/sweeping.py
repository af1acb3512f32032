"""Removing what is kept of jobs, once no line of the log or its archive names it any more; knows no
jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from queuectl.engines.file.log import FileLog
from queuectl.engines.file.originals import blocks
from queuectl.engines.file.payloads import named_in
from queuectl.engines.file.segments import counting
from queuectl.events.vocabulary import JobEnqueued


def sweep(log: FileLog) -> list[str]:
    """Remove such payloads, and what somebody was making when they died; returns their paths.

    Nobody else may rewrite the log meanwhile. Raises `Damaged` where not all of it can be read, and
    `LockTimedOut` where somebody keeps one all the time.
    """
    payloads, head = log.payloads, log.head()
    if payloads.is_empty():
        return []
    named: set[str] = set()
    for pieces in _everything(log):
        for block, start, end in blocks(pieces):
            named |= named_in(block[start:end])
    with payloads.holding(log.lock_timeout_s):
        # Whoever has kept one since holds the lock until the event is there that names it.
        for events in log.read(head):
            for event in events:
                if isinstance(event, JobEnqueued) and event.payloads:
                    named |= {name.partition("=")[2] for name in event.payloads}
        gone = sorted(payloads.names() - named)
        payloads.remove(gone)
        payloads.remove_leftovers()
    return list(map(payloads.path, gone))


def _everything(log: FileLog) -> Iterator[Iterable[bytes]]:
    for first in counting(log.segments.headers()):
        yield log.pieces(first)
    for first in log.archive.list():
        yield log.archive.read(first)
