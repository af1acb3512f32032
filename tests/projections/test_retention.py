"""What leaves the log is missed by nobody: the state is the same without it, whoever folds it."""

from __future__ import annotations

import os
import shutil
import tempfile

from hosts import SteadyHost, Untroubled
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from test_replay import TwoQueuesOnOneLog, figures

from queuectl import instants
from queuectl.engines.file import FileLog
from queuectl.engines.file.archive import Archive
from queuectl.engines.file.compaction import compact
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch, Log
from queuectl.projections.retention import Retention
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
        log = FileLog(f"{self.directory}/log", self.host, segment_bytes_max=1500)
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
        archive = Archive(f"{self.directory}/archive", self.host)
        log = self.open()
        until = state.offset - back
        for _ in compact(log, archive, Retention(state), until=until, least_share=least_share):
            pass

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
        now = instants.later(self.queues[0].now(), 2000)
        original = State()
        original.apply(self.originals)
        replayed = State(log=self.log)
        replayed.begin_anew()
        for events in self.open().read():
            replayed.apply(events)
        # When a worker was last heard is not kept: what it wrote then may have gone.
        expected = {**figures(original, now), "heard": None}
        for state in (replayed, *(queue.state for queue in self.queues)):
            assert {**figures(state, now), "heard": None} == expected
        for log in self.logs:
            log.close()
        shutil.rmtree(self.directory)


TwoQueuesOnACompactedLog.TestCase.settings = settings(
    max_examples=40, stateful_step_count=50, phases=[Phase.generate]
)
TestTwoQueuesOnACompactedLog = TwoQueuesOnACompactedLog.TestCase
