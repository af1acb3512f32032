"""The queue as a whole: what is asked, what happens, and what is refused, on every engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hosts import SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.memory import MemoryLog
from queuectl.errors import Invalid, NotFound, QueuectlError, Rejected
from queuectl.events import vocabulary as v
from queuectl.host import Host

Open = Callable[[], Queue]


@pytest.fixture(params=["memory", "file"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, host: SteadyHost) -> Iterator[Open]:
    log = MemoryLog(host) if request.param == "memory" else None
    queues: list[Queue] = []

    def open_queue() -> Queue:
        queues.append(Queue(tmp_path / "data", host=host, log=log))
        return queues[-1]

    yield open_queue
    for queue in queues:
        queue.close()


@pytest.fixture
def queue(opened: Open) -> Queue:
    return opened()


def claims(events: list[v.Event]) -> list[str]:
    return [event.job for event in events if isinstance(event, v.JobClaimed)]


def turn(queue: Queue, *slots: int, ended: tuple[c.JobCommand, ...] = ()) -> list[v.Event]:
    return queue.turn(ended, worker="w", slots=slots)


# ---- enqueueing


def test_an_enqueued_job_is_there_for_everybody(opened: Open) -> None:
    job = opened().enqueue("echo hi", priority=5, tags=["a"])
    found = opened().get(job.id)
    assert found == job
    assert (found.state, found.spec.priority, found.spec.tags) == ("pending", 5, ["a"])
    assert [event.offset for event in opened().history(job.id)] == [job.offset]


@pytest.mark.parametrize(
    "bad", [{"command": ""}, {"command": "true", "x": 1}, {"id": "a", "command": "again"}]
)
def test_many_jobs_are_accepted_all_or_none(queue: Queue, bad: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        queue.enqueue_many([{"id": "a", "command": "true"}, bad, {"command": "true"}])
    assert list(queue.jobs()) == []
    assert queue.log.head() == 0


def test_an_error_among_many_says_where(queue: Queue) -> None:
    jobs = [{"command": "true"}, {"command": ""}]
    with pytest.raises(Invalid, match=r"^line 2: command"):
        queue.enqueue_all(jobs, where=lambda index: f"line {index + 1}: ")


def test_a_taken_id_is_refused_and_nothing_else_of_the_batch_is_kept(opened: Open) -> None:
    opened().enqueue("true", id="a")
    with pytest.raises(Rejected, match="a job a exists already"):
        opened().enqueue_many([{"command": "true", "id": "b"}, {"command": "true", "id": "a"}])
    assert [job.id for job in opened().jobs()] == ["a"]


def test_an_id_is_free_again_once_its_job_was_purged(opened: Open) -> None:
    queue = opened()
    queue.enqueue("true", id="a")
    queue.cancel("a")
    queue.prune("a")
    assert queue.enqueue("false", id="a").spec.command == "false"
    assert [type(event) for event in opened().history("a")] == [
        *[v.JobEnqueued, v.JobCancelled, v.JobPruned, v.JobEnqueued]
    ]


def test_jobs_of_one_batch_stand_in_the_order_they_were_given(queue: Queue) -> None:
    jobs = queue.enqueue_many([{"command": str(number)} for number in range(50)])
    assert [job.spec.command for job in queue.jobs()] == [str(number) for number in range(50)]
    assert [job.id for job in jobs] == sorted(job.id for job in jobs)


def test_what_is_stored_has_not_failed_because_nobody_can_be_woken(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(path: str) -> list[str]:
        raise OSError(24, "Too many open files")

    queue.enqueue("true")
    monkeypatch.setattr(queue.host, "names", names)
    assert queue.enqueue("true", id="a").id == "a"


# ---- finding


def test_a_job_is_named_by_as_much_of_its_id_as_is_its_own(queue: Queue) -> None:
    for id in ("alpha", "alps", "beta", "al"):
        queue.enqueue("true", id=id)
    assert queue.get("b").id == "beta"
    assert queue.get("alph").id == "alpha"
    assert queue.get("al").id == "al", "an id in full comes before longer ones"
    with pytest.raises(Invalid, match=r"jobs start with 'a'.*write more"):
        queue.get("a")
    for missing in ("gamma", "", "alphaa"):
        with pytest.raises(NotFound):
            queue.get(missing)
    with pytest.raises(NotFound, match="did you mean 'alpha'"):
        queue.get("alhpa")


def test_jobs_are_selected_by_state_queue_and_tags(queue: Queue) -> None:
    queue.enqueue("true", id="a", queue="x", tags=["red", "big"])
    queue.enqueue("true", id="b", queue="y", tags=["red"])
    queue.cancel("b")

    def selected(**filters: object) -> list[str]:
        return [job.id for job in queue.jobs(**filters)]  # type: ignore[arg-type]

    assert selected() == ["a", "b"]
    assert selected(states=["cancelled"]) == ["b"]
    assert selected(states=["pending", "cancelled"], queues=["x"]) == ["a"]
    assert selected(tags=["red"]) == ["a", "b"]
    assert selected(tags=["red", "big"]) == ["a"]


# ---- cancelling, retrying, purging


def test_a_job_named_twice_is_named_once(opened: Open) -> None:
    queue = opened()
    queue.enqueue("true", id="a")
    (claim,) = turn(queue, 1)
    assert len(queue.cancel("a", "a")) == 1
    assert queue.get("a").held, "its worker has not yet said that it ended"
    with pytest.raises(Rejected, match="still running"):
        queue.retry("a", "a")
    turn(queue, ended=(c.Finish(job="a", token=claim.offset, now=queue.now()),))
    assert len(queue.retry("a", "a")) == 1
    queue.cancel("a")
    assert len(queue.prune("a", "a")) == 1


# ---- settings and pausing


def test_a_setting_counts_for_jobs_enqueued_from_now_on(opened: Open) -> None:
    queue, other = opened(), opened()
    before = queue.enqueue("true")
    other.set("max_retries", "7")
    other.set("delay-base", "1500")
    after = queue.enqueue("true")
    assert (before.spec.max_retries, after.spec.max_retries) == (3, 7)
    assert after.spec.backoff_base == 1.5
    assert queue.get(before.id).spec.max_retries == 3


def test_setting_what_is_set_is_no_event(queue: Queue) -> None:
    queue.set("timeout", "5m")
    assert queue.log.head() == 0
    with pytest.raises(Invalid):
        queue.set("timeout", "soon")
    assert queue.log.head() == 0


def test_a_paused_queue_is_not_claimed_from(opened: Open) -> None:
    queue = opened()
    queue.enqueue("true", id="a")
    queue.enqueue("true", id="b", queue="mail")
    opened().pause("default", reason="lunch")
    head = queue.log.head()
    queue.pause("default")
    assert queue.log.head() == head, "it is paused already"
    assert claims(turn(queue, 1, 2)) == ["b"]
    opened().resume("default")
    assert claims(turn(queue, 1, 2)) == ["a"]
    with pytest.raises(Invalid):
        queue.pause("no such name!")


# ---- a worker's turn


def test_a_turn_claims_the_best_jobs_in_order_with_one_append(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 9)):
        queue.enqueue("true", id=id, priority=priority)
    appends = []
    append = queue.log.append
    monkeypatch.setattr(
        queue.log, "append", lambda batches: appends.append(batches) or append(batches)
    )
    first = turn(queue, 1, 2)
    assert claims(first) == ["d", "b"]
    assert [event.slot for event in first if isinstance(event, v.JobClaimed)] == [1, 2]
    done = c.Finish(job="d", token=first[0].offset, exit_code=0, now=queue.now())
    lost = c.Finish(job="b", token=1, reason="exit", now=queue.now())
    second = queue.turn([done, lost], worker="w", slots=[1], renew=True)
    assert [type(event) for event in second] == [v.JobCompleted, v.LeaseRenewed, v.JobClaimed]
    assert claims(second) == ["a"]
    assert len(appends) == 2


def test_two_workers_never_claim_the_same_job(opened: Open) -> None:
    one, two = opened(), opened()
    one.enqueue_many([{"command": "true"}] * 20)
    claimed = []
    for _ in range(10):
        claimed += claims(turn(one, 1, 2)) + claims(turn(two, 1, 2))
    assert len(claimed) == len(set(claimed)) == 20


def test_a_job_handed_back_is_claimed_once_however_many_slots_are_free(opened: Open) -> None:
    one, two = opened(), opened()
    one.enqueue("true", id="a")
    assert two.state.ready.due(two.now(), 5, None, ())
    (claim,) = turn(one, 1)
    turn(one, ended=(c.Release(job="a", token=claim.offset, reason="stopping", now=one.now()),))
    assert claims(turn(two, 1, 2, 3)) == ["a"]


def test_a_clock_that_was_set_back_keeps_no_job_waiting(opened: Open, host: SteadyHost) -> None:
    host.advance(86_400)
    queue = opened()
    queue.set("timeout", "1s")
    host.advance(-86_400)
    queue.enqueue("true", id="a")
    assert claims(turn(opened(), 1)) == ["a"]


def test_an_end_that_came_too_late_writes_nothing(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    token = turn(queue, 1)[0].offset
    head = queue.log.head()
    stale = c.Finish(job="a", token=token - 1, exit_code=0, now=queue.now())
    gone = c.Finish(job="gone", token=token, exit_code=0, now=queue.now())
    assert turn(queue, ended=(stale, gone)) == []
    assert queue.log.head() == head


def test_one_refused_command_refuses_all(queue: Queue) -> None:
    queue.enqueue("true", id="a")
    head = queue.log.head()
    with pytest.raises(NotFound):
        queue.cancel("a", "b")
    assert queue.log.head() == head
    assert queue.get("a").state == "pending"


# ---- where a queue may be


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="enqueue a job to make one") as raised:
        Queue(tmp_path / "data", create=False)
    assert raised.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_a_new_data_directory_is_private(tmp_path: Path) -> None:
    with Queue(tmp_path / "data") as queue:
        queue.enqueue("true")
    directories = [path for path in (tmp_path / "data").rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    with pytest.raises(QueuectlError, match="chmod 700"):
        Queue(tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    Queue(tmp_path / "data").close()


class Remote(SteadyHost):
    allowed: Mapping[str, str] = {}

    def file_system(self, path: str) -> str:
        return "nfs4"

    def environment(self) -> Mapping[str, str]:
        return self.allowed


def test_a_network_file_system_is_refused_unless_forced(tmp_path: Path) -> None:
    host = Remote()
    with pytest.raises(QueuectlError, match="network file system"):
        Queue(tmp_path / "data", host=host)
    host.allowed = {"QUEUECTL_ALLOW_NETWORK_FS": "1"}
    with Queue(tmp_path / "data", host=host) as queue:
        queue.enqueue("true")


def test_a_queue_is_of_no_use_after_a_fork(tmp_path: Path) -> None:
    class Forked(SteadyHost):
        child = False

        def pid(self) -> int:
            return super().pid() + self.child

    host = Forked()
    with Queue(tmp_path / "data", host=host) as queue:
        queue.enqueue("true")
        host.child = True
        with pytest.raises(QueuectlError, match="open another in the child"):
            queue.enqueue("true")
        assert queue.log.head() == 1


class _DiesBeforeTheMark(Host):
    """Loses its process between the sync of an append and the moving of the mark."""

    dying = False

    def write_at(self, fd: int, data: bytes, position: int) -> int:  # type: ignore[override]
        if self.dying:
            raise KeyboardInterrupt
        return os.pwrite(fd, data, position)


def test_what_a_dead_process_wrote_is_seen_by_whoever_mends_the_log(tmp_path: Path) -> None:
    place = tmp_path / "data"
    survivor = Queue(place)
    survivor.enqueue("true", id="first")
    host = _DiesBeforeTheMark()
    victim = Queue(place, host=host)
    victim.catch_up()
    host.dying = True
    with pytest.raises(KeyboardInterrupt):
        victim.enqueue("true", id="ghost")
    survivor.enqueue("true", id="second")
    assert list(survivor.known.jobs.rows) == ["first", "ghost", "second"]
    assert [event.job for event in survivor.turn([], worker="w", slots=[1, 2, 3])] == [
        "first",
        "ghost",
        "second",
    ]
    with Queue(place) as fresh:
        assert fresh.state.jobs.rows == survivor.state.jobs.rows
