"""Proving what happened to a job, for somebody who has nothing of the log; knows no formats."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from queuectl.engines.file import anchors
from queuectl.engines.file.anchors import Anchor
from queuectl.engines.file.evidence import Evidence, Root
from queuectl.engines.file.verify import Unaudited, verify
from queuectl.errors import NotFound, QueuectlError
from queuectl.events.vocabulary import Event
from queuectl.jobqueue import Queue
from queuectl.projections import proof
from queuectl.projections.proof import Proof
from queuectl.runtime.compacting import files


def prove(
    queue: Queue,
    job: str,
    anchor: Anchor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Proof:
    """What ties the events about a job to the log, as far back as their originals are there.

    With `anchor` up to its event, otherwise up to the last. All of the log is read, and verified on
    the way. Raises `NotFound`, `Damaged`, `Disproved` where the log is not that of the anchor, and
    `QueuectlError` where nothing can be proved any more.
    """
    log = files(queue)
    until = anchor.head if anchor is not None else inf

    def about(event: Event) -> bool:
        return getattr(event, "job", "") == job

    asked = queue.state.redactions
    report = verify(log, Unaudited, progress, lambda: Evidence(about, until=until, asked=asked))
    evidence = report.evidence
    root = evidence.root()
    if anchor is None:
        anchor = Anchor(report.head, report.crc, report.sha256, root)
    else:
        anchors.prove(log, anchor, root)
        _check_root(anchor, root)
    if not evidence.traced:
        raise _nothing(queue, job, anchor, evidence.first)
    return proof.made(job, report.log, anchor, evidence.traced, log.kept)


def _check_root(anchor: Anchor, root: Root | None) -> None:
    if anchor.root is None:
        raise QueuectlError(
            f"the anchor of event {anchor.head} has no root, so nothing can be tied to it: take"
            " another, or none"
        )
    if anchor.root != root:
        raise QueuectlError(
            f"the root in the anchor of event {anchor.head} is over events from"
            f" {anchor.root.first} on, and not all of their originals are in the archive any more:"
            " take another anchor, or none"
        )


def _nothing(queue: Queue, job: str, anchor: Anchor, first: int) -> QueuectlError:
    events = queue.history(job)
    if not events:
        return NotFound(f"there is no job {job}")
    if events[0].offset > anchor.head:
        return NotFound(f"there was no job {job} up to event {anchor.head}")
    return QueuectlError(
        f"of job {job} nothing can be proved any more: originals of events before {first} are not"
        " in the archive any more"
    )
