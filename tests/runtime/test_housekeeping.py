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
from queuectl.runtime.clearing import Cleared
from queuectl.runtime.compacting import is_worthwhile
from queuectl.runtime.housekeeping import keep_house
from queuectl.runtime.tidying import Tidied, tidy

DAY_S = 86_400
NOTHING = Tidied(0, Cleared(0, 0), [], 0, 0)


def play(queue: Queue, ids: list[str], *, reason: str = "") -> None:
    """Let each job run once, one after the other, a second apart."""
    for id in ids:
        queue.host.advance(1)  # type: ignore[attr-defined]
        queue.enqueue("true", id=id, max_retries=1)
        (claim,) = queue.turn([], worker="w", slots=[1])
        assert isinstance(claim, v.JobClaimed)
        end = c.Finish(job=id, token=claim.offset, now=queue.now(), reason=reason, exit_code=0)
        queue.submit([end])


def forget(queue: Queue) -> int:
    """What a worker's round forgets."""
    return tidy(queue, idly=True).forgotten


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


def in_small_files(root: Path, host: SteadyHost, size: int = 700) -> Queue:
    (root / "log").mkdir()
    archive = str(root / "archive")
    log = FileLog(str(root / "log"), host, segment_bytes_max=size, archive=archive)
    return Queue(root, host=host, log=log)


def test_a_round_compacts_unasked_once_a_tenth_of_the_jobs_in_the_log_are_gone(
    tmp_path: Path,
) -> None:
    host = SteadyHost()
    with in_small_files(tmp_path, host) as queue:
        play(queue, [f"job{number:02}" for number in range(21)])
        queue.prune("job00", "job01", reason="by hand")
        assert tidy(queue, idly=True) == NOTHING
        queue.prune("job02", reason="by hand")
        assert tidy(queue, idly=True).rewritten
        queue.prune("job03", reason="by hand")
        assert tidy(queue, idly=True) == NOTHING, "only what has gone since counts"
        # A cache and nothing more: where it is spoiled, the log is looked at once in vain.
        (tmp_path / "log" / "COMPACTING").write_bytes(b"?" * 21)
        assert tidy(queue, idly=True).rewritten
        queue.prune("job04", reason="by hand")
        assert tidy(queue).rewritten, "whoever asks for it gets it"


def test_what_is_left_where_it_is_by_thrift_is_not_looked_at_again(tmp_path: Path) -> None:
    host = SteadyHost()
    with in_small_files(tmp_path, host, size=4000) as queue:
        play(queue, [f"job{number:02}" for number in range(21)])
        # One of the five in each file.
        queue.prune(*(f"job{number:02}" for number in range(0, 21, 6)), reason="by hand")
        assert is_worthwhile(queue)
        assert tidy(queue, idly=True, thrifty=True).rewritten == []
        assert not is_worthwhile(queue)


def test_a_dry_run_says_what_forgetting_would_free(tmp_path: Path) -> None:
    host = SteadyHost()
    with in_small_files(tmp_path, host) as queue:
        play(queue, ["old1", "old2", "old3"])
        host.advance(31 * DAY_S)
        play(queue, ["new1", "new2", "new3"])
        would = tidy(queue, dry_run=True)
        assert left(queue) == ["old1", "old2", "old3", "new1", "new2", "new3"]
        assert would.forgotten == 3
        # How much that is depends on how long the path of this checkout is.
        assert sum(one.events_removed for one in would.rewritten) >= 6
        did = tidy(queue)
        assert did.forgotten == 3
        assert [one._replace(archive_bytes=0) for one in did.rewritten] == would.rewritten


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
