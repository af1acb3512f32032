"""A snapshot is a cache: with it, without it and with a spoiled one, the answers are the same."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest
from hosts import FaultyHost
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import play
from test_replay import figures

from queuectl import Queue, instants, queueview
from queuectl.domain import commands as c
from queuectl.engines.memory import MemoryLog
from queuectl.engines.tables import Spoiled
from queuectl.errors import QueuectlError
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import keeping, snapshot
from queuectl.projections.audit import compare
from queuectl.projections.state import State

NOW = "2030-01-01T00:00:00.000000Z"
IDS = [f"job-{number}" for number in range(12)] + ["job", "0", "z:z"]


def history(seed: int, steps: int = 120) -> list[v.Event]:
    """What happened to a small queue whose few ids are enqueued, run, asked for and forgotten."""
    chance = random.Random(seed)
    queue = Queue("/nowhere", log=MemoryLog())
    running: dict[int, str] = {}
    queue.transact(lambda: [Batch([v.WorkerStarted(worker=name)]) for name in ("w1", "w2")])
    for _ in range(steps):
        id = chance.choice(IDS)
        try:
            match chance.randrange(10):
                case 0 | 1 | 2:
                    fields = {"id": id, "max_retries": chance.randrange(4)}
                    queue.enqueue("true", **fields, priority=chance.randrange(3), tags=["a", id])
                case 3 | 4 | 5 | 6:
                    commands: list[c.JobCommand] = []
                    for token, job in list(running.items())[: chance.randrange(3)]:
                        told = {"job": job, "token": token, "now": queue.now()}
                        commands.append(
                            chance.choice(
                                [
                                    c.Finish(**told, exit_code=0, run_ms=chance.randrange(9000)),
                                    c.Finish(**told, exit_code=0),
                                    c.Finish(**told, reason="exit", error="oops"),
                                    c.Release(**told, reason="stopping"),
                                    c.Expire(**told, reason="its worker died"),
                                ]
                            )
                        )
                        del running[token]
                    worker = chance.choice(["w1", "w2"])
                    slots = list(range(chance.randrange(4)))
                    done = queue.turn(commands, worker=worker, slots=slots, renew=bool(slots))
                    running |= {e.offset: e.job for e in done if isinstance(e, v.JobClaimed)}
                case 7:
                    chance.choice([queue.cancel, queue.retry])(id, reason="why not")
                case 8:
                    queue.prune(id)
                case 9:
                    queue.set("max-retries", str(chance.randrange(5)))
                    chance.choice([queue.pause, queue.resume])("mail")
        except QueuectlError:
            pass
    return list(chain.from_iterable(queue.log.read()))


class Site:
    """A place for snapshots of a log that is kept elsewhere."""

    def __init__(self, root: Path, events: Sequence[v.Event]) -> None:
        os.makedirs(root, exist_ok=True)
        self.home = Home(str(root))
        self.host = Host()
        self.events = events
        self.log = MemoryLog()
        self.log.append([Batch([fact]) for fact in events])

    def load(self) -> State:
        return State(snapshot.load(self.home, self.host), self.log)

    def go_on(self, state: State, offset: int, piece: int = 7) -> None:
        """Fold what lies between what `state` knows and `offset`."""
        left = self.events[state.offset : offset]
        for start in range(0, len(left), piece):
            state.apply(left[start : start + piece])

    def keep(self, state: State) -> bool:
        return keeping.save(state, "somewhere", self.home, self.host)

    def files(self) -> Iterator[Path]:
        for name in sorted(os.listdir(self.home.snapshots)):
            if name != "LOCK":
                yield Path(self.home.snapshots) / name


def whole(events: Sequence[v.Event]) -> State:
    state = State()
    state.apply(events)
    return state


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_snapshots_and_the_tail_are_the_whole(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = history(seed)
    site = Site(tmp_path_factory.mktemp("snapshots"), events)
    cuts = data.draw(st.lists(st.integers(1, len(events)), min_size=1, max_size=6).map(sorted))
    for cut in cuts:
        state = site.load()
        if data.draw(st.booleans(), label="indexes from the start"):
            state.ready  # noqa: B018
        site.go_on(state, cut)
        assert site.keep(state) == (cut > state.since)
        state.close()
    looks = {
        "one job after the other": lambda state: [state.jobs.get(id) for id in IDS],
        "counts first": lambda state: state.counts,
        "all first": lambda state: list(state.jobs.select()),
        "indexes": lambda state: state.ready,
        "nothing": lambda state: None,
    }
    look = looks[data.draw(st.sampled_from(sorted(looks)), label="look")]
    state = site.load()
    state.jobs.is_indexed = data.draw(st.booleans(), label="by state")
    assert state.offset == cuts[-1]
    look(state)
    site.go_on(state, len(events))
    look(state)
    assert figures(state, NOW) == figures(whole(events), NOW)
    state.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_who_lives_on_may_leave_what_is_over_to_a_newer_snapshot(
    seed: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = history(seed)
    site = Site(tmp_path_factory.mktemp("snapshots"), events)
    living = site.load()
    living.ready  # noqa: B018
    for cut in data.draw(st.lists(st.integers(1, len(events)), max_size=5).map(sorted)):
        other = site.load()
        site.go_on(other, cut)
        site.keep(other)
        other.close()
        site.go_on(living, data.draw(st.integers(cut, len(events)), label="the living are ahead"))
        newer = snapshot.load(site.home, site.host)
        assert newer is not None
        if living.since < newer.offset <= living.offset:
            living.evict(newer)
            kept = [job for job in living.jobs.rows.values() if job.offset <= newer.offset]
            assert all(job.live for job in kept)
        else:
            newer.close()
    site.go_on(living, len(events))
    assert figures(living, NOW) == figures(whole(events), NOW)
    living.close()


@pytest.mark.parametrize("indexed", [False, True], ids=["lazily", "with indexes"])
def test_a_spoiled_snapshot_changes_no_answer(tmp_path: Path, indexed: bool) -> None:
    events = history(3, steps=200)
    site = Site(tmp_path, events)
    for cut in (len(events) // 3, len(events) * 2 // 3):
        state = site.load()
        site.go_on(state, cut)
        site.keep(state)
        state.close()
    expected = figures(whole(events), NOW)
    chance = random.Random(1)
    for path in site.files():
        good = path.read_bytes()
        spoilings = [good[:at] for at in (0, 1, len(good) // 2, len(good) - 1)]
        for at in chance.sample(range(len(good)), 40):
            changed = good[at] ^ 1 << chance.randrange(8)
            spoilings.append(good[:at] + bytes([changed]) + good[at + 1 :])
        for spoiled in spoilings:
            path.write_bytes(spoiled)
            state = site.load()
            if indexed:
                state.ready  # noqa: B018
            site.go_on(state, len(events))
            assert figures(state, NOW) == expected
            state.close()
        path.unlink()
        state = site.load()
        site.go_on(state, len(events))
        assert figures(state, NOW) == expected
        state.close()
        path.write_bytes(good)


def test_a_spoiled_snapshot_is_replaced_by_the_next(tmp_path: Path) -> None:
    events = history(5)
    site = Site(tmp_path, events)
    first = site.load()
    site.go_on(first, len(events) // 2)
    site.keep(first)
    first.close()
    table = next(path for path in site.files() if path.name.startswith("live"))
    table.write_bytes(b"x" * table.stat().st_size)
    second = site.load()
    site.go_on(second, len(events))
    list(second.jobs.select())
    assert site.keep(second)
    second.close()
    third = site.load()
    assert third.offset == len(events)
    assert figures(third, NOW) == figures(whole(events), NOW)
    third.close()


def test_of_two_who_made_one_at_a_time_the_second_keeps_nothing(tmp_path: Path) -> None:
    events = history(7)
    site = Site(tmp_path, events)
    one, two = site.load(), site.load()
    site.go_on(one, len(events) // 2)
    site.go_on(two, len(events))
    assert site.keep(one)
    assert not site.keep(two)


def test_nothing_is_left_behind_by_snapshots_that_were_replaced(tmp_path: Path) -> None:
    events = history(11, steps=600)
    site = Site(tmp_path, events)
    for cut in range(20, len(events), 20):
        state = site.load()
        site.go_on(state, cut)
        site.keep(state)
        state.close()
    head = snapshot.load(site.home, site.host)
    assert head is not None
    assert {path.name for path in site.files()} == {"HEAD", head.head.live, *head.head.finished}
    assert len(head.head.finished) <= 5
    head.close()


def test_one_of_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = history(13)
    site = Site(tmp_path, events)
    state = site.load()
    site.go_on(state, len(events))
    site.keep(state)
    assert site.load().offset == len(events)
    monkeypatch.setattr(snapshot, "__version__", "0.0.0")
    assert site.load().offset == 0


def test_an_old_log_put_back_is_noticed(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with Queue(place) as queue:
        queue.enqueue("true", id="a")
        segment = Path(queue.log.segments.path(1))  # type: ignore[attr-defined]
        old = segment.read_bytes()
        queue.enqueue("true", id="b")
        assert queue.keep_snapshot()
        mark = (Path(queue.home.log) / "LOCK").read_bytes()
    segment.write_bytes(old)
    (Path(queue.home.log) / "LOCK").unlink()
    with Queue(place) as restored:
        assert restored.known.offset == 0
        assert [job.id for job in restored.jobs()] == ["a"]
        restored.enqueue("true", id="c")
        restored.enqueue("true", id="d")
    with Queue(place) as again:
        assert again.known.offset == 0
        assert [job.id for job in again.jobs()] == ["a", "c", "d"]
    assert mark


def test_the_snapshot_of_another_log_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with Queue(place) as queue:
        queue.enqueue_all([{"command": "true"}] * 9)
        assert queue.keep_snapshot()
    shutil.rmtree(queue.home.log)
    with Queue(place) as queue:
        queue.enqueue("true", id="new")
        foreign = snapshot.load(queue.home, queue.host)
        assert foreign is not None
        queue.enqueue_all([{"command": "true"}] * 20)
        queue.use_snapshot()
        assert queue.known.jobs.base is None, "whatever its offset is, it is of another log"
        assert queue.keep_snapshot()
        foreign.close()
    with Queue(place) as again:
        assert (again.known.offset, again.get("new").id) == (21, "new")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_one_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path, error: int) -> None:
    events = history(17, steps=200)
    expected = figures(whole(events), NOW)
    before = Site(tmp_path / "before", events)
    first = before.load()
    before.go_on(first, len(events) // 2)
    before.keep(first)
    first.close()
    host = FaultyHost()
    number = 0
    while number <= len(host.calls):
        site = Site(tmp_path / str(number), events)
        shutil.copytree(before.home.root, site.home.root, dirs_exist_ok=True)
        state = site.load()
        site.go_on(state, len(events))
        host.watch(lambda n, _, fails=number: OSError(error, "") if n == fails else None)
        with suppress(OSError, Spoiled):
            keeping.save(state, "somewhere", site.home, host)
        state.close()
        stands = snapshot.load(site.home, site.host)
        assert stands is not None
        names = {"HEAD", stands.head.live, *stands.head.finished}
        if host.calls[number : number + 1] != ["unlink"]:  # that one goes the next time
            assert {path.name for path in site.files()} == names, (number, host.calls)
        stands.close()
        after = site.load()
        site.go_on(after, len(events))
        assert figures(after, NOW) == expected
        after.close()
        number += 1
    assert number > 20


def test_a_command_that_folds_much_leaves_a_snapshot(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with Queue(place) as queue:
        queue.enqueue_all([{"command": "true"}] * 6000)
    assert not os.path.exists(queue.home.snapshots), "who wrote it all has folded nothing"
    with Queue(place) as queue:
        assert queue.state.counts["pending"] == 6000
    with Queue(place) as queue:
        assert queue.known.offset == 6000
        assert queue.state.counts["pending"] == 6000
        assert not queue.state.jobs.rows, "counting loads no job"
        job = queue.enqueue("true", run_at=instants.LATEST, id="mine")
        assert set(queue.known.jobs.rows) == {job.id}, "enqueueing loads no job"


def test_jobs_are_loaded_once_by_who_looks_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Queue(tmp_path) as queue:
        queue.enqueue("true", id="a")
        queue.keep_snapshot()
    loads = []
    live = snapshot.Snapshot.live
    monkeypatch.setattr(snapshot.Snapshot, "live", lambda self: loads.append(1) or live(self))
    with Queue(tmp_path) as queue:
        for _ in range(3):
            assert [job.id for job in queue.jobs()] == ["a"]
        assert queue.state.ready.waits(None, ())
    assert loads == [1]


def test_who_folds_sparingly_leaves_what_is_over_to_snapshots_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data"
    play(place)
    monkeypatch.setattr(queueview, "_ROWS_MAX", 3)
    with Queue(place) as plain, Queue(place) as sparing:
        plain.catch_up()
        assert plain.known.since == 0
        sparing.catch_up(sparing=True)
        assert sparing.known.since > 0
        assert len(sparing.known.jobs.rows) < len(plain.known.jobs.rows)
        assert compare(sparing.known, plain.known) == ""


def test_nothing_is_gone_through_for_a_state_that_no_job_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Queue(tmp_path) as queue:
        queue.enqueue("true", id="a")
        queue.cancel("a")
        queue.keep_snapshot()
    looked = []
    finished = snapshot.Snapshot.finished
    monkeypatch.setattr(
        snapshot.Snapshot, "finished", lambda *a, **kw: looked.append(1) or finished(*a, **kw)
    )
    with Queue(tmp_path) as queue:
        assert not list(queue.jobs(states=["dead", "completed"]))
        assert not looked
        assert [job.id for job in queue.jobs(states=["dead", "cancelled"])] == ["a"]
        assert looked
