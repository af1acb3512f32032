"""What leaves the log is missed by nobody: the state is the same without it, whoever folds it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import SteadyHost, Untroubled
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from test_replay import ENDS, IDS, TwoQueuesOnOneLog, figures

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.engines.file.compaction import compact
from queuectl.engines.file.verify import verify
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch, Log
from queuectl.projections.audit import Audit
from queuectl.projections.obsolescence import Obsolescence
from queuectl.projections.state import State


class TwoQueuesOnACompactedLog(TwoQueuesOnOneLog):
    """The same two processes, and a third one that compacts the log while they are at work."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp()
        os.mkdir(f"{self.directory}/log")
        self.originals: list[v.Event] = []
        self.logs: list[FileLog] = []
        self.stopped = 0
        super().__init__()

    def make_host(self) -> SteadyHost:
        return Untroubled()

    def make_logs(self) -> list[Log]:
        return [self.open(), self.open()]

    def open(self) -> FileLog:
        archive = f"{self.directory}/archive"
        log = FileLog(f"{self.directory}/log", self.host, segment_bytes_max=1500, archive=archive)
        self.logs.append(log)
        return log

    @rule(
        who=st.integers(0, 1),
        least_share=st.sampled_from([0.0, 0.0, 0.33, 0.7]),
        back=st.sampled_from([0, 0, 0, 20]),
    )
    def compact(self, who: int, least_share: float, back: int) -> None:
        self.remember()
        state = self.queues[who].state
        log = self.open()
        until = state.offset - back
        for _ in compact(log, Obsolescence(state), until=until, least_share=least_share):
            pass

    @rule(
        who=st.integers(0, 1),
        ids=st.lists(IDS, min_size=1, unique=True),
        ends=st.lists(st.sampled_from(ENDS), min_size=3, max_size=3),
        left=st.integers(0, 2),
    )
    def jobs_come_and_go(self, who: int, ids: list[str], ends: list[str], left: int) -> None:
        for id in ids:
            self.attempt(who, "enqueue", "true", id=id, max_retries=1)
        for _ in range(2):
            self.turn(who, 3, [], False, False)
            self.turn(1 - who, 0, ends, False, True)
        for id in ids[left:]:
            self.ask(who, id, "prune")

    @rule()
    def a_worker_comes_and_goes(self) -> None:
        self.stopped += 1
        worker = f"brief{self.stopped}"
        facts = [
            v.WorkerStarted(worker=worker),
            v.LeaseRenewed(worker=worker),
            v.WorkerStopRequested(worker=worker),
            v.WorkerStopped(worker=worker),
        ]
        for fact in facts:
            self.queues[0].transact(lambda fact=fact: [Batch([fact])])

    def remember(self) -> None:
        """Keep what has not been compacted yet."""
        known = self.originals[-1].offset if self.originals else 0
        for events in self.open().read(known):
            self.originals += events

    def teardown(self) -> None:
        self.compact(0, 0.0, 0)
        self.remember()
        # Later than either has seen: an index is never asked about a time that was before.
        now = instants.later(max(queue.now() for queue in self.queues), 2000)
        original = State()
        original.apply(self.originals)
        replayed = State(log=self.log)
        replayed.begin_anew()
        for events in self.open().read():
            replayed.apply(events)
        expected = figures(original, now)
        for state in (replayed, *(queue.state for queue in self.queues)):
            assert figures(state, now) == expected
        report = verify(self.logs[0], lambda: Audit(self.queues[0].known, self.log.compactions()))
        assert report.missing == []
        assert report.head == original.offset
        for log in self.logs:
            log.close()
        shutil.rmtree(self.directory)


TwoQueuesOnACompactedLog.TestCase.settings = settings(
    max_examples=40, stateful_step_count=50, phases=[Phase.generate]
)
TestTwoQueuesOnACompactedLog = TwoQueuesOnACompactedLog.TestCase


# ---- histories in which it is easy to get wrong


class Site:
    """A queue whose segments hold some ten events, and what is replayed from it."""

    def __init__(self, root: Path) -> None:
        (root / "log").mkdir()
        self.host = Untroubled()
        self.root = root
        self.logs: list[FileLog] = []
        self.queue = self.another()

    def another(self) -> Queue:
        """The queue as another process sees it."""
        archive = str(self.root / "archive")
        log = FileLog(str(self.root / "log"), self.host, segment_bytes_max=2000, archive=archive)
        self.logs.append(log)
        return Queue(self.root, host=self.host, log=log)

    def enqueue(self, *ids: str) -> None:
        self.queue.enqueue_many([{"id": id, "command": "true"} for id in ids])

    def end(self, *ids: str) -> None:
        """Run jobs, and forget them."""
        claims = self.queue.turn([], worker="w", slots=range(1, len(ids) + 1))
        assert [claim.job for claim in claims if isinstance(claim, v.JobClaimed)] == [*ids]
        now = self.queue.now()
        ends = [
            c.Finish(job=id, token=e.offset, now=now) for id, e in zip(ids, claims, strict=True)
        ]
        self.queue.turn(ends, worker="w", slots=[])
        self.queue.prune(*ids)

    def live(self) -> None:
        """More than a segment of jobs that stay."""
        self.queue.enqueue_many([{"command": "true", "delay": "1h"} for _ in range(12)])

    def pass_by(self) -> None:
        """Some segments of jobs that are forgotten."""
        for round in range(4):
            ids = [f"{round}-{n}" for n in range(4)]
            self.enqueue(*ids)
            self.end(*ids)

    def compact(self, least_share: float = 0.0) -> None:
        obsolescence = Obsolescence(self.queue.state)
        done = compact(
            self.logs[0], obsolescence, until=obsolescence.known, least_share=least_share
        )
        assert list(done)

    def figures(self, queue: Queue | None = None) -> dict[str, object]:
        """All that is known by replay, or by that queue."""
        return figures((queue or self.another()).state, instants.later(self.queue.now(), 1000))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    for log in site.logs:
        log.close()


def test_a_job_stays_forgotten_although_its_beginning_cannot_go_yet(site: Site) -> None:
    site.enqueue("x")
    site.live()  # so its first segment is left as it is
    site.end("x")
    site.pass_by()
    before = site.figures()
    site.compact(least_share=0.4)
    assert site.figures() == before


def test_a_worker_stays_gone_although_its_start_cannot_go_yet(site: Site) -> None:
    site.queue.transact(lambda: [Batch([v.WorkerStarted(worker="x")])])
    site.live()
    site.queue.transact(lambda: [Batch([v.WorkerStopped(worker="x")])])
    site.pass_by()
    before = site.figures()
    site.compact(least_share=0.4)
    assert site.figures() == before


def test_who_was_away_for_several_compactions_knows_the_same(site: Site) -> None:
    followers = []
    for id in ("x", "y"):
        site.enqueue(id)
        followers.append(site.another())
        assert followers[-1].state.jobs.get(id)
        site.end(id)
        site.pass_by()
        site.compact()
        for follower in followers:
            assert site.figures(follower) == site.figures()


def test_an_id_that_is_used_again_keeps_only_its_later_life(site: Site) -> None:
    for _ in range(3):
        site.enqueue("x")
        site.end("x")
    site.queue.enqueue("true", id="x", delay="1h")
    site.pass_by()
    before = site.figures()
    site.compact()
    assert site.figures() == before
    events = [event for piece in site.another().log.read() for event in piece]
    assert [type(e) for e in events if getattr(e, "job", "") == "x"] == [v.JobEnqueued]


def test_what_happened_after_the_state_was_known_stays(site: Site) -> None:
    behind = Obsolescence(site.queue.state)
    site.enqueue("x")
    site.live()
    before = site.figures()
    assert not list(compact(site.logs[0], behind, until=1 << 40))
    events = [event for piece in site.queue.log.read() for event in piece]
    assert not any(behind.going(events))
    assert site.figures() == before
