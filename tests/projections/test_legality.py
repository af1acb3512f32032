"""What nobody can have decided is found in a log, and everything that can happen is legal."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from test_replay import TwoQueuesOnOneLog

from queuectl.errors import Illegal
from queuectl.events import vocabulary as v
from queuectl.projections.legality import Legality

RUN = {"worker": "w", "token": 2, "attempt": 1}
ENQUEUED = v.JobEnqueued(max_retries=2)
CLAIMED = v.JobClaimed(worker="w", attempt=1, until="2026-01-01T01:00:00.000000Z")
FAILED = v.JobFailed(**RUN, reason="exit", more=True)
RETRIED = v.JobRetried(attempt=1, run_at="2026-01-01T00:30:00.000000Z")
AGAIN = [ENQUEUED, CLAIMED, FAILED, RETRIED]
CLAIMED_AGAIN = v.JobClaimed(worker="w", attempt=2)
LAST = {"worker": "w", "token": 5, "attempt": 2}
COMPLETED = v.JobCompleted(**RUN)
CANCELLED = v.JobCancelled(attempt=1)


def log(*events: v.Event) -> list[v.Event]:
    """Events about job a, as a log has them: with offsets from 1, and a second apart."""
    return [_placed(event, offset) for offset, event in enumerate(events, 1)]


def _placed(event: v.Event, offset: int) -> v.Event:
    fields: dict[str, Any] = {"offset": offset, "at": f"2026-01-01T00:00:{offset:02}.000000Z"}
    if isinstance(event, v.JobEvent) and not event.job:
        fields["job"] = "a"
    return replace(event, **fields)


def check(events: list[v.Event], *, compacted: bool = False) -> None:
    legality = Legality(compacted=compacted)
    for event in events:
        legality.check([event])
    legality.finish()


LEGAL = {
    "completed": [ENQUEUED, CLAIMED, COMPLETED, v.JobPruned(attempt=1), ENQUEUED],
    "failed and dead": [
        *AGAIN,
        CLAIMED_AGAIN,
        v.JobFailed(**LAST, more=True),
        v.JobDead(attempt=2),
        v.JobRequeued(attempt=0),
        CLAIMED,
    ],
    "released": [ENQUEUED, CLAIMED, v.JobReleased(**RUN), CLAIMED],
    "lost": [ENQUEUED, CLAIMED, v.LeaseExpired(**RUN), CLAIMED_AGAIN],
    "lost and dead": [
        *AGAIN,
        CLAIMED_AGAIN,
        v.LeaseExpired(**LAST, more=True),
        v.JobDead(attempt=2),
    ],
    "cancelled while it waits": [ENQUEUED, v.JobCancelled(attempt=0), v.JobPruned(attempt=0)],
    "cancelled while it runs": [ENQUEUED, CLAIMED, CANCELLED, v.JobReleased(**RUN)],
    "cancelled, then lost": [ENQUEUED, CLAIMED, CANCELLED, v.LeaseExpired(**RUN)],
    "run at once": [*AGAIN, v.JobRequeued(attempt=0), CLAIMED],
    "others between": [ENQUEUED, CLAIMED, v.JobEnqueued(job="b"), v.QueuePaused(), COMPLETED],
}


@pytest.mark.parametrize("events", LEGAL.values(), ids=LEGAL.keys())
def test_what_can_happen_is_legal(events: list[v.Event]) -> None:
    check(log(*events))


ILLEGAL: dict[str, tuple[list[v.Event], int, str]] = {
    "enqueued twice": ([ENQUEUED, ENQUEUED], 2, "exists already"),
    "nobody's event": ([CLAIMED], 1, "no such job"),
    "claimed while it runs": ([ENQUEUED, CLAIMED, CLAIMED_AGAIN], 3, "worker w holds it"),
    "claimed after its end": ([ENQUEUED, CLAIMED, COMPLETED, CLAIMED_AGAIN], 4, "it is completed"),
    "claimed while its end is awaited": (
        [ENQUEUED, CLAIMED, CANCELLED, CLAIMED_AGAIN],
        4,
        "worker w holds it",
    ),
    "a run left out": ([ENQUEUED, CLAIMED_AGAIN], 2, "number 1"),
    "claimed before it was due": (
        [ENQUEUED, CLAIMED, FAILED, RETRIED, v.JobClaimed(attempt=2, until="2026-01-01T00:29")],
        5,
        "not due",
    ),
    "completed without a run": ([ENQUEUED, COMPLETED], 2, "it is pending"),
    "a stale token": ([ENQUEUED, CLAIMED, v.JobCompleted(worker="w", token=1, attempt=1)], 3, "2"),
    "another's token": (
        [ENQUEUED, CLAIMED, v.JobCompleted(worker="x", token=2, attempt=1)],
        3,
        "w",
    ),
    "another run": ([ENQUEUED, CLAIMED, v.JobCompleted(worker="w", token=2, attempt=2)], 3, "1"),
    "two ends": ([ENQUEUED, CLAIMED, COMPLETED, COMPLETED], 4, "it is completed"),
    "a late result of a lost lease": (
        [ENQUEUED, CLAIMED, v.LeaseExpired(**RUN), COMPLETED],
        4,
        "it is pending",
    ),
    "completed though cancelled": ([ENQUEUED, CLAIMED, CANCELLED, COMPLETED], 4, "it is cancelled"),
    "released by nobody": ([ENQUEUED, v.JobReleased(**RUN)], 2, "nobody holds it"),
    "lost by nobody": ([ENQUEUED, v.LeaseExpired(**RUN)], 2, "nobody holds it"),
    "failed, and nothing follows": ([ENQUEUED, CLAIMED, FAILED], 3, "does not follow"),
    "failed, and something else follows": (
        [ENQUEUED, CLAIMED, FAILED, v.QueuePaused(), RETRIED],
        3,
        "does not follow",
    ),
    "failed, and another job is retried": (
        [ENQUEUED, CLAIMED, FAILED, v.JobRetried(job="b", attempt=1)],
        3,
        "does not follow",
    ),
    "failed, and what follows is another batch": (
        [ENQUEUED, CLAIMED, v.JobFailed(**RUN), RETRIED],
        3,
        "does not follow",
    ),
    "retried out of nothing": ([ENQUEUED, RETRIED], 2, "has just ended"),
    "dead out of nothing": ([ENQUEUED, v.JobDead(attempt=0)], 2, "has just ended"),
    "dead too early": ([ENQUEUED, CLAIMED, FAILED, v.JobDead(attempt=1)], 4, "runs left"),
    "retried once too often": (
        [*AGAIN, CLAIMED_AGAIN, v.JobFailed(**LAST, more=True), v.JobRetried(attempt=2)],
        7,
        "no run left",
    ),
    "lost for the last time, and not dead": (
        [*AGAIN, CLAIMED_AGAIN, v.LeaseExpired(**LAST)],
        6,
        "does not follow",
    ),
    "lost, and retried with a delay": (
        [*AGAIN, CLAIMED_AGAIN, v.LeaseExpired(**LAST, more=True), v.JobRetried(attempt=2)],
        7,
        "no run left",
    ),
    "cancelled after its end": ([ENQUEUED, CLAIMED, COMPLETED, CANCELLED], 4, "it is completed"),
    "requeued while it runs": ([ENQUEUED, CLAIMED, v.JobRequeued(attempt=0)], 3, "holds it"),
    "pruned while it waits": ([ENQUEUED, v.JobPruned(attempt=0)], 2, "it is pending"),
    "pruned while it ends": (
        [ENQUEUED, CLAIMED, CANCELLED, v.JobPruned(attempt=1)],
        4,
        "it is cancelled",
    ),
    "after it was pruned": (
        [ENQUEUED, CLAIMED, COMPLETED, v.JobPruned(attempt=1), CANCELLED],
        5,
        "no such job",
    ),
}


@pytest.mark.parametrize("events, offset, why", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_what_nobody_can_have_decided_is_found(
    events: list[v.Event], offset: int, why: str
) -> None:
    with pytest.raises(Illegal, match=why) as raised:
        check(log(*events))
    assert raised.value.offset == offset
    # In one piece as well.
    with pytest.raises(Illegal):
        legality = Legality(compacted=False)
        legality.check(log(*events))
        legality.finish()


REST = [COMPLETED, v.JobPruned(attempt=1)]


def test_a_compacted_log_may_have_the_end_of_what_was_forgotten() -> None:
    for number in range(1, 4):
        check(log(*[CLAIMED, *REST][-number:], ENQUEUED), compacted=True)
        with pytest.raises(Illegal, match="no such job"):
            check(log(*[CLAIMED, *REST][-number:], ENQUEUED))


def test_a_compacted_log_has_no_end_missing() -> None:
    with pytest.raises(Illegal, match="never enqueued") as raised:
        check(log(CLAIMED, COMPLETED), compacted=True)
    assert raised.value.offset == 1
    with pytest.raises(Illegal, match="not been forgotten yet"):
        check(log(COMPLETED, ENQUEUED), compacted=True)
    with pytest.raises(Illegal, match="exists already"):
        check(log(ENQUEUED, CLAIMED, ENQUEUED), compacted=True)


class EverythingThatHappensIsLegal(TwoQueuesOnOneLog):
    def teardown(self) -> None:
        legality = Legality(compacted=False)
        for events in self.log.read():
            legality.check(events)
        legality.finish()


EverythingThatHappensIsLegal.TestCase.settings = TwoQueuesOnOneLog.TestCase.settings
TestEverythingThatHappensIsLegal = EverythingThatHappensIsLegal.TestCase
