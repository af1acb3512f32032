"""The past is what folding the log up to there gives: whatever was compacted and purged since,
whatever snapshots there are, and whatever has become of them."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hosts import FaultyHost, Untroubled
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from playing import work
from test_replay import figures
from test_snapshot import NOW, history, whole

from queuectl import Queue, instants
from queuectl.engines.file import FileLog
from queuectl.errors import Compacted, Damaged, Invalid
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import past
from queuectl.projections.audit import compare
from queuectl.projections.past import Moment, Originals, Past
from queuectl.projections.state import State
from queuectl.runtime.compacting import compact

SPAN = 20


@pytest.fixture(autouse=True)
def dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot after every few events, however many jobs there are."""
    monkeypatch.setattr(past, "_SPAN", SPAN)
    monkeypatch.setattr(past, "_SPAN_LIVE", 0)


class Site:
    """A queue in small files, with all that ever happened in it."""

    def __init__(self, root: Path, seed: int = 1, steps: int = 200, host: Host | None = None):
        self.host = host or Untroubled()
        self.home = Home(str(root))
        for directory in (self.home.root, self.home.log, self.home.run, self.home.output):
            os.makedirs(directory, 0o700, exist_ok=True)
        self.log = FileLog(
            self.home.log, self.host, segment_bytes_max=1500, archive=self.home.archive
        )
        self.events: list[v.Event] = []
        if self.log.head() == 0:
            for event in history(seed, steps):
                fact = replace(event, offset=0, at="", more=False)
                if isinstance(self.host, Untroubled):
                    self.host.advance(1)
                self.events += self.log.append([Batch([fact])])
        self.past = Past(self.log, self.home.past, self.host)

    def compact(self) -> None:
        with Queue(self.home.root, host=self.host) as queue:
            queue.log.segment_bytes_max = 1500  # type: ignore[attr-defined]
            list(compact(queue))

    def expected(self, offset: int) -> dict[str, Any]:
        return figures(whole(self.events[:offset]), NOW)

    def check(self, moments: Sequence[int]) -> None:
        """What is seen at each of these is what folding so many events gives."""
        for offset in moments:
            state, lost = self.past.state(Moment(offset))
            assert lost == 0
            assert figures(state, NOW) == self.expected(offset), offset
            state.close()

    def heads(self) -> list[int]:
        names = os.listdir(self.home.past) if os.path.exists(self.home.past) else []
        return sorted(int(name[5:25]) for name in names if name.startswith("head-"))

    def files(self) -> Iterator[Path]:
        for name in sorted(os.listdir(self.home.past)):
            if name != "LOCK":
                yield Path(self.home.past) / name


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_the_past_is_what_folding_the_log_up_to_there_gives(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = Site(tmp_path_factory.mktemp("past"), seed)
    some = st.lists(st.integers(1, len(site.events)), min_size=1, max_size=4)
    doings = {
        "keep": site.past.keep,
        "compact": site.compact,
        "delete": lambda: shutil.rmtree(site.home.snapshots, ignore_errors=True),
        "look": lambda: None,
    }
    for doing in data.draw(st.lists(st.sampled_from(sorted(doings)), min_size=1, max_size=5)):
        doings[doing]()
        site.check(data.draw(some))


def test_a_moment_by_time_is_the_last_event_that_is_not_later(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.past.keep()
    assert len(site.heads()) > 5
    for event, following in pairwise(site.events):
        for at in (event.at, instants.later(following.at, -1)):
            state, _ = site.past.state(Moment(at=at))
            assert state.offset == event.offset
            state.close()
    assert site.past.state(Moment(at=instants.EARLIEST))[0].offset == 0
    assert site.past.state(Moment())[0].offset == len(site.events)


def test_snapshots_are_kept_along_the_log_and_only_the_tail_is_folded(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.past.keep()
    heads = site.heads()
    assert len(heads) > 5
    assert all(after - before >= SPAN for before, after in pairwise([0, *heads]))
    for offset in range(1, len(site.events) + 1):
        state, _ = site.past.state(Moment(offset))
        assert state.since == max((head for head in heads if head <= offset), default=0)
        state.close()
    # Whoever looks has those kept that are not there yet.
    shutil.rmtree(site.home.snapshots)
    site.past.state(Moment(heads[2] + 1))[0].close()
    assert site.heads() == heads[:3]
    site.past.keep()
    assert site.heads() == heads


def test_keeping_many_takes_no_more_memory_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody collects garbage, as in a command."""
    site = Site(tmp_path)
    states: list[State] = []
    on = Past._on

    def remember(past: Past, *given: Any) -> State:
        states.append(on(past, *given))
        return states[-1]

    monkeypatch.setattr(Past, "_on", remember)
    site.past.keep()
    assert len(states) > 5
    assert not any(state.jobs.rows for state in states[:-1])


def test_there_are_never_many_and_they_do_not_grow_with_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "_SPAN", 1)
    monkeypatch.setattr(past, "_SPAN_SHARE", 4)
    site = Site(tmp_path, steps=400)
    site.past.keep()
    heads = site.heads()
    assert all(after - before >= before // 4 for before, after in pairwise(heads))
    monkeypatch.setattr(past, "_SPAN_LIVE", 4)
    site.past.drop()
    site.past.keep()
    for before, after in pairwise(site.heads()):
        counts = whole(site.events[:before]).counts
        assert after - before >= 4 * sum(counts[s] for s in ("pending", "failed", "processing"))


def test_a_spoiled_snapshot_changes_no_answer_and_is_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path, seed=3)
    site.past.keep()
    heads = site.heads()
    chance = random.Random(1)
    kept = tmp_path / "kept"
    shutil.copytree(site.home.past, kept)
    for path in list(site.files()):
        good = (kept / path.name).read_bytes()
        at = chance.randrange(len(good))
        for spoiled in (
            b"",
            good[: len(good) // 2],
            good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :],
            None,
        ):
            shutil.rmtree(site.home.past)
            shutil.copytree(kept, site.home.past)
            path.unlink()
            if spoiled is not None:
                path.write_bytes(spoiled)
            site.check([heads[-1], heads[2] + 1])
    site.past.state(Moment())[0].close()
    site.past.keep()
    assert site.heads() == heads
    site.check(heads)


def test_those_of_another_log_are_not_believed_and_go(tmp_path: Path) -> None:
    site, other = Site(tmp_path / "a", seed=1), Site(tmp_path / "b", seed=2)
    other.past.keep()
    shutil.copytree(other.home.past, site.home.past)
    site.check([SPAN * 5])
    assert 2 <= len(site.heads()) <= 5
    # Nor those of this one as it went on before an older copy was put back.
    os.remove(site.log.segments.path(site.log.segments.list()[-1]))
    os.remove(site.log.lock_path)
    again = Site(tmp_path / "a", seed=1)
    again.events = [event for events in again.log.read() for event in events]
    again.past.keep()
    assert again.past._newest(Moment()) is not None
    again.check([SPAN, len(again.events)])


def test_one_that_cannot_be_kept_changes_no_answer_and_leaves_little(tmp_path: Path) -> None:
    before = Site(tmp_path / "before", steps=60)
    before.log.close()
    host = FaultyHost()
    number = 0
    while number <= len(host.calls):
        root = tmp_path / str(number)
        shutil.copytree(before.home.root, root)
        site = Site(root, host=host)
        site.events = before.events
        host.watch(lambda n, _, fails=number: OSError(errno.ENOSPC, "") if n == fails else None)
        try:
            site.past.keep()
        except OSError:
            assert host.calls[number] in ("open", "read_at"), host.calls[number]
        host.watch(lambda n, call: None)
        site.check([SPAN + 1, len(site.events)])
        site.past.keep()
        marks = {path.name.partition("-")[2] for path in site.files()}
        assert marks == {p.name.partition("-")[2] for p in site.files() if "head-" in p.name}
        site.log.close()
        number += 1
    assert number > 20


def test_where_somebody_else_is_keeping_them_nobody_waits(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.past.keep()
    site.past.drop()
    lock = site.host.hold(os.path.join(site.home.past, "LOCK"))
    assert lock is not None
    site.check([1, len(site.events)])
    assert site.heads() == []
    site.host.close(lock)
    site.check([len(site.events)])
    assert len(site.heads()) > 5


# ---- where originals are lost


def archives(site: Site) -> list[Path]:
    return sorted(Path(site.home.archive).iterdir())


def test_what_was_compacted_together_counts_once_where_a_part_of_it_is_lost(
    tmp_path: Path,
) -> None:
    with Queue(tmp_path / "data", host=Untroubled()) as queue:
        queue.log.segment_bytes_max = 1500  # type: ignore[attr-defined]
        queue.transact(lambda: [Batch([v.WorkerStarted(worker="w1", slots=9)])])
        for round in range(9):
            names = [f"job{round}-{number}" for number in range(4)]
            queue.enqueue_many([{"id": name, "command": "true"} for name in names])
            work(queue, queue.host, "w1", **dict.fromkeys(names, "c"))
            queue.prune(*names)
        for _ in range(2):
            list(compact(queue))
        kept = sorted(Path(queue.home.archive).iterdir())
        assert len(kept) > len(queue.log.segments.list()) + 2
        for lost in (kept[1], kept[0], *kept[2:]):
            lost.unlink()
            state, _ = queue.past.state(Moment())
            assert compare(state, queue.state) == ""
            state.close()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_lost_takes_whole_jobs_with_it_and_brings_none_to_life(
    tmp_path: Path, seed: int
) -> None:
    site = Site(tmp_path, seed=seed, steps=300)
    site.compact()
    site.past.keep()
    live = whole(site.events)
    for chosen in (slice(0, 1), slice(2, 3), slice(0, 2), slice(None)):
        for path in archives(site)[chosen]:
            path.unlink()
        state, lost = site.past.state(Moment())
        assert lost > 0
        assert compare(state, live) == ""
        state.close()
        for offset in range(1, len(site.events), 7):
            state, lost = site.past.state(Moment(offset))
            true = {job.id: job.state for job in whole(site.events[:offset]).jobs.select()}
            seen = {job.id: job.state for job in state.jobs.select()}
            assert seen.items() <= true.items(), offset
            before = figures(state, NOW)
            state.close()
        shutil.rmtree(site.home.snapshots)
        state, _ = site.past.state(Moment(offset))
        assert figures(state, NOW) == before
        state.close()


def test_snapshots_made_before_originals_were_lost_are_not_used(tmp_path: Path) -> None:
    site = Site(tmp_path, steps=300)
    site.compact()
    site.past.keep()
    heads = site.heads()
    archives(site)[0].unlink()
    state, lost = site.past.state(Moment(heads[0]))
    assert state.since == 0
    assert lost > 0
    site.past.keep()
    assert site.past.state(Moment(heads[-1]))[1] == lost


def test_a_fold_of_originals_begins_anew_where_some_are_lost_in_between(tmp_path: Path) -> None:
    site = Site(tmp_path, steps=300)
    site.compact()
    archives(site)[1].unlink()
    source = Originals(site.log)
    with pytest.raises(Compacted):
        list(source.read())
    lost = source.lost
    assert lost > 0
    again = [event for events in source.read() for event in events]
    kept = [event for events in site.log.read() for event in events]
    assert again == [e for e in kept if e.offset <= lost] + site.events[lost:]


# ---- by way of the queue


def test_a_moment_that_was_not_is_refused(tmp_path: Path) -> None:
    host = Untroubled()
    with Queue(tmp_path / "data", host=host) as queue:
        with pytest.raises(Invalid, match="the log is empty"):
            queue.at(Moment(at=queue.now()))
        host.advance(10)
        queue.enqueue("true", id="a")
        host.advance(10)
        for moment, why in (
            (Moment(0), "nothing had happened by then: the log begins at 2026-01-01T00:00:10"),
            (Moment(2), "has not happened yet: the last event is 1"),
            (Moment(at=instants.later(queue.now(), -11_000)), "nothing had happened"),
            (Moment(at=instants.later(queue.now(), 1)), "in the future: it is 2026-01-01T00:00:20"),
        ):
            with pytest.raises(Invalid, match=why):
                queue.at(moment)
        assert queue.at(Moment(1)).now() == "2026-01-01T00:00:10.000000Z"
        assert queue.at(Moment(at=queue.now())).now() == queue.now()
        # By a clock that was set back, what has happened is no future.
        host.advance(-3600)
        assert queue.at(Moment(at="2026-01-01T00:00:10.000000Z")).get("a").id == "a"


def test_a_batch_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=Untroubled()) as queue:
        queue.transact(lambda: [Batch([v.WorkerStarted(worker="w1", slots=9)])])
        queue.enqueue("true", id="a", max_retries=1)
        work(queue, queue.host, "w1", a="f")
        assert [v.wire_name(event) for event in queue.history("a")][-2:] == [
            "job.failed",
            "job.dead",
        ]
        for offset in (4, 5):
            with closing(queue.at(Moment(offset))) as view:
                assert (view.state.offset, view.get("a").state) == (5, "dead")
        with closing(queue.at(Moment(3))) as view:
            assert view.get("a").state == "processing"


def test_a_job_that_was_purged_since_is_there_with_its_runs(tmp_path: Path) -> None:
    host = Untroubled()
    with Queue(tmp_path / "data", host=host) as queue:
        queue.enqueue("true", id="a")
        queue.transact(lambda: [Batch([v.WorkerStarted(worker="w", host="h", pid=1)])])
        claimed = queue.turn([], worker="w", slots=[1])[0].offset
        view = queue.at(Moment(claimed))
        assert [row.id for row in view.state.workers.rows.values()] == ["w"]
        assert view.is_alive("w") is None
        queue.cancel("a")
        queue.transact(
            lambda: [Batch([v.JobReleased(job="a", worker="w", token=claimed, attempt=1)])]
        )
        queue.prune("a")
        queue.enqueue("false", id="a")
        assert [run.outcome for run in queue.at(Moment(claimed)).runs(view.get("a"))] == ["running"]
        released = queue.at(Moment(claimed + 2))
        assert released.get("a").state == "cancelled"
        assert [run.outcome for run in released.runs(released.get("a"))] == ["cancelled"]
        assert queue.at(Moment(claimed + 3)).state.counts["cancelled"] == 0
        assert [job.spec.command for job in queue.at(Moment(claimed + 4)).jobs()] == ["false"]


def test_a_damaged_log_is_seen_as_far_as_it_goes(tmp_path: Path) -> None:
    site = Site(tmp_path)
    first = site.log.segments.list()[3]
    path = Path(site.log.segments.path(first))
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"job":"', b'"jub":"', 1))
    site.check([first - 1])
    for offset in (first + 40, len(site.events)):
        with pytest.raises(Damaged):
            site.past.state(Moment(offset))


def test_what_happened_between_two_moments(tmp_path: Path) -> None:
    site = Site(tmp_path, steps=60)
    site.compact()
    with Queue(site.home.root, host=site.host) as queue:
        times = [event.at for event in site.events]
        for first in range(0, len(times), 3):
            for last in range(0, len(times), 5):
                expected = site.events[first:last]
                by_time = Moment(at=times[first - 1]) if first else Moment(at=instants.EARLIEST)
                for after in (Moment(first), by_time):
                    until = Moment(at=times[last - 1]) if last else Moment(0)
                    for end in (Moment(last), until):
                        found = [one for some in queue.between(after, end) for one in some]
                        assert found == expected, (first, last)
