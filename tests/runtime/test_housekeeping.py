"""What is old is forgotten as the settings say, and a worker has snapshots kept beside its work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import SteadyHost
from workers import Site, eventually

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.runtime.housekeeping import keep_house
from queuectl.runtime.tidying import forget, tidy

DAY_S = 86_400


def play(queue: Queue, ids: list[str], *, reason: str = "") -> None:
    """Let each job run once, one after the other, a second apart."""
    for id in ids:
        queue.host.advance(1)  # type: ignore[attr-defined]
        queue.enqueue("true", id=id, max_retries=1)
        (claim,) = queue.turn([], worker="w", slots=[1])
        assert isinstance(claim, v.JobClaimed)
        end = c.Finish(job=id, token=claim.offset, now=queue.now(), reason=reason, exit_code=0)
        queue.submit([end])


def left(queue: Queue) -> list[str]:
    return [job.id for job in queue.jobs()]


def test_jobs_are_forgotten_by_state_and_age(tmp_path: Path) -> None:
    host = SteadyHost()
    with Queue(tmp_path / "data", host=host) as queue:
        play(queue, ["done"])
        play(queue, ["dead"], reason="exit")
        queue.enqueue("true", id="waiting", delay="900d")
        queue.enqueue("true", id="off", delay="900d")
        queue.cancel("off")
        host.advance(29 * DAY_S)
        assert forget(queue) == 0
        host.advance(2 * DAY_S)
        play(queue, ["new"])
        assert forget(queue) == 2
        assert left(queue) == ["dead", "waiting", "new"]
        last = queue.history("done")[-1]
        assert isinstance(last, v.JobPruned)
        assert last.reason == "retention"
        queue.set("retain-dead", "1d")
        assert forget(queue) == 1
        queue.set("retain-completed", "0")
        host.advance(9000 * DAY_S)
        assert forget(queue) == 0
        assert left(queue) == ["waiting", "new"]


def test_the_newest_are_kept_where_there_are_too_many(tmp_path: Path) -> None:
    with Queue(tmp_path / "data", host=SteadyHost()) as queue:
        play(queue, [f"done{number}" for number in range(6)])
        play(queue, ["dead1", "dead2"], reason="exit")
        queue.set("retain-completed-max", "2")
        assert forget(queue) == 4
        assert left(queue) == ["done4", "done5", "dead1", "dead2"]


@pytest.mark.parametrize("what", [[], ["tidy"]], ids=["snapshot", "tidy"])
def test_the_house_is_kept_by_a_process_of_its_own(tmp_path: Path, what: list[str]) -> None:
    with Queue(tmp_path / "data") as queue:
        queue.enqueue_all([{"command": "true"}] * 10)
        command = [sys.executable, "-P", "-m", "queuectl.runtime.housekeeping"]
        done = subprocess.run(
            [*command, queue.home.root, *what], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert os.path.exists(os.path.join(queue.home.snapshots, "HEAD"))
    with Queue(queue.home.root) as again:
        assert again.known.offset == 10


def test_a_worker_that_has_nothing_to_do_has_a_snapshot_kept(site: Site) -> None:
    site.queue.enqueue_all([{"command": "true"}] * 2000)
    site.queue.cancel(*[job.id for job in site.queue.jobs()])
    worker = site.start(slots=2)
    head = Path(site.queue.home.snapshots) / "HEAD"
    eventually(head.exists)
    assert site.state(site.add("true")) in ("pending", "processing", "completed")
    worker.stop()
    with Queue(site.place) as fresh:
        assert fresh.known.offset >= 4000
        assert fresh.state.counts["cancelled"] == 2000


def test_what_a_house_needs_is_done_in_one_go(tmp_path: Path) -> None:
    host = SteadyHost()
    with Queue(tmp_path / "data", host=host) as queue:
        play(queue, ["old"])
        host.advance(31 * DAY_S)
        keep_house(queue)
        assert left(queue) == []
    with Queue(tmp_path / "data", host=host) as again:
        assert again.known.offset == again.log.head()
        assert [event.job for event in again.history("old")] == ["old"] * 4  # type: ignore[attr-defined]


def in_small_files(root: Path, host: SteadyHost) -> Queue:
    (root / "log").mkdir()
    archive = str(root / "archive")
    log = FileLog(str(root / "log"), host, segment_bytes_max=700, archive=archive)
    return Queue(root, host=host, log=log)


def test_a_round_compacts_unasked_only_where_something_was_forgotten(tmp_path: Path) -> None:
    host = SteadyHost()
    with in_small_files(tmp_path, host) as queue:
        play(queue, ["old", "new"])
        queue.prune("old", reason="by hand")
        assert tidy(queue, idly=True) == (0, [], 0)
        assert len(tidy(queue).rewritten) == 1


def test_what_was_archived_long_enough_goes_as_the_setting_says(tmp_path: Path) -> None:
    host = SteadyHost()
    with in_small_files(tmp_path, host) as queue:
        archive = Path(queue.home.archive)
        play(queue, ["old"])
        host.advance(31 * DAY_S)
        play(queue, ["new"])
        assert tidy(queue).forgotten == 1
        originals = sorted(archive.iterdir())
        queue.set("retain-completed", "0")
        host.advance(9000 * DAY_S)
        assert tidy(queue).expired == 0
        assert len(queue.history("old")) == 4
        queue.set("archive-retention", "9032d")
        keep_house(queue)
        assert sorted(archive.iterdir()) == originals
        queue.set("archive-retention", "9030d")
        assert tidy(queue, dry_run=True).expired == len(originals)
        assert sorted(archive.iterdir()) == originals
        keep_house(queue)
        assert sorted(archive.iterdir()) == []
