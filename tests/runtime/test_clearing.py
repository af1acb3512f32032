"""What a job has printed goes with it, and never before it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hosts import FaultyHost, Killed, SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.runtime.clearing import Cleared, clear
from queuectl.runtime.output import Output
from queuectl.runtime.tidying import tidy

DAY_S = 86_400


def begin(queue: Queue, id: str) -> int:
    """Enqueue a job under that id where there is none, and claim it; returns the token."""
    if not queue.known.jobs.get(id):
        queue.enqueue("true", id=id, max_retries=9, backoff_base=0)
    (claim,) = queue.turn([], worker="w", slots=[1])
    assert isinstance(claim, v.JobClaimed)
    assert claim.job == id
    return claim.offset


def write(queue: Queue, id: str, token: int) -> list[str]:
    """Make the output of a run; returns where it is."""
    output = Output(queue.home, queue.host, id, token)
    os.write(output.out, b"12345")
    output.close()
    return [queue.home.output_file(id, token, stream) for stream in ("out", "err")]


def end(queue: Queue, id: str, token: int, *, reason: str = "") -> None:
    queue.submit([c.Finish(job=id, token=token, now=queue.now(), reason=reason, exit_code=0)])


def run(queue: Queue, id: str, *, reason: str = "") -> list[str]:
    """Let a job run once; returns the files of its output."""
    token = begin(queue, id)
    paths = write(queue, id, token)
    end(queue, id, token, reason=reason)
    return paths


def let_pass(queue: Queue, events: int = 1000) -> None:
    """Have so many other things happen that later runs write elsewhere."""
    queue.cancel(*queue.enqueue_all([{"command": "true"}] * (events // 2)))


def there(paths: list[str]) -> list[bool]:
    return [os.path.exists(path) for path in paths]


def test_the_output_of_jobs_that_are_gone_is_deleted_and_no_other(tmp_path: Path) -> None:
    host = SteadyHost()
    with Queue(tmp_path / "data", host=host) as queue:
        old = run(queue, "old")
        host.advance(31 * DAY_S)
        purged, kept = run(queue, "purged"), run(queue, "kept")
        queue.prune("purged")
        would = tidy(queue, dry_run=True)
        assert would.cleared == Cleared(4, 10)
        assert all(there(old + purged + kept))
        did = tidy(queue, idly=True)
        assert (did.forgotten, did.cleared) == (1, would.cleared)
        assert not any(there(old + purged))
        assert all(there(kept))
        assert tidy(queue).cleared == Cleared(0, 0)


def test_a_job_that_is_there_keeps_the_output_of_all_its_runs(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        paths = run(queue, "again", reason="exit") + run(queue, "again")
        queue.retry("again")
        paths += run(queue, "again")
        # Neither what a snapshot has of it nor what has happened since may be overlooked.
        assert queue.keep_snapshot()
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        assert clear(queue) == Cleared(0, 0)
        assert not queue.known.jobs.rows, "it is only in the snapshot"
        queue.retry("again")
        assert clear(queue) == Cleared(0, 0)
        queue.cancel("again")
        queue.prune("again")
        assert clear(queue).files == len(paths) == 6


def test_of_an_id_that_is_used_again_only_the_earlier_output_goes(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        earlier = run(queue, "same")
        queue.prune("same")
        later = run(queue, "same")
        queue.keep_snapshot()
        assert clear(queue).files == 2
        assert there(earlier + later) == [False, False, True, True]


def test_a_run_that_has_begun_since_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Queue(tmp_path / "data") as queue, Queue(tmp_path / "data") as worker:
        run(worker, "before")
        worker.prune("before")
        queue.catch_up()
        monkeypatch.setattr(queue, "catch_up", lambda: None)
        # As if it happened between its look at the log and its look at the files.
        begun = write(worker, "new", begin(worker, "new"))
        again = write(worker, "before", begin(worker, "before"))
        assert clear(queue).files == 2
        assert all(there(begun + again))


def test_directories_go_once_nothing_can_come_into_them(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        output = Path(queue.home.output)
        queue.transact(lambda: [Batch([v.WorkerStarted(worker="w")])])
        run(queue, "gone")
        queue.prune("gone")
        clear(queue)
        assert os.listdir(output) == ["0"], "the next run may write there"
        held = begin(queue, "held")
        let_pass(queue)
        clear(queue)
        assert os.listdir(output) == ["0"], "a run may be about to make its files"
        paths = write(queue, "held", held)
        end(queue, "held", held)
        queue.prune("held")
        (output / "0" / "mine").touch()
        clear(queue)
        assert os.listdir(output / "0") == ["mine"]
        assert not any(there(paths))
        (output / "0" / "mine").unlink()
        clear(queue)
        assert os.listdir(output) == []


def test_files_that_are_no_output_are_left_alone(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        paths = run(queue, "job")
        queue.prune("job")
        let_pass(queue, 6000)
        output = Path(queue.home.output)
        for place in (
            "mine/x.3.out",
            "1/x.3.out",
            "0/x.03.out",
            "0/x.3.log",
            "0/.3.out",
            "y.3.out",
        ):
            (output / place).parent.mkdir(exist_ok=True)
            (output / place).touch()
        before = {*output.rglob("*")}
        assert clear(queue) == Cleared(2, 5)
        assert before - {*output.rglob("*")} == {*map(Path, paths)}


@pytest.mark.parametrize("error", [Killed(), OSError(5, "EIO")], ids=["killed", "EIO"])
def test_what_was_cut_short_is_finished_by_the_next(tmp_path: Path, error: BaseException) -> None:
    host = FaultyHost()
    with Queue(tmp_path / "data", host=host) as queue:
        paths = [path for number in range(3) for path in run(queue, f"job{number}")]
        queue.prune("job0", "job1", "job2")
        let_pass(queue)
    for number in range(8):
        with Queue(tmp_path / "data", host=(machine := FaultyHost())) as queue:
            for path in paths:
                Path(path).parent.mkdir(exist_ok=True)
                Path(path).touch()
            queue.catch_up()
            machine.watch(lambda at, _, number=number: error if at == number else None)
            with suppress(type(error)):
                clear(queue)
            assert sum(there(paths)) == max(0, 6 - number)
            machine.dead = False
            machine.watch(lambda at, name: None)
            clear(queue)
            assert os.listdir(queue.home.output) == []
