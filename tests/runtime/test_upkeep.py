"""What a worker clears up after others who cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from workers import Site

from queuectl import Queue
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.runtime.upkeep import Upkeep

WORKER = "01kbmkrhhx6cq4f2t0vza9mw7e"


@pytest.fixture
def upkeep(site: Site) -> Upkeep:
    return Upkeep(site.queue, "own")


def leave(site: Site, *names: str) -> None:
    for name in names:
        (Path(site.queue.home.run) / name).touch()


def test_files_of_workers_that_nobody_knows_are_taken_away(site: Site, upkeep: Upkeep) -> None:
    leave(site, WORKER, f"{WORKER}.bell", "notes.txt")
    upkeep.take_over()
    assert site.run_files() == ["notes.txt"]
    leave(site, f"{WORKER}.bell")
    upkeep.take_over()
    assert site.run_files() == ["notes.txt"]


def test_one_that_is_only_just_starting_keeps_its_files(site: Site, upkeep: Upkeep) -> None:
    lock = site.queue.host.hold(site.queue.home.worker_lock(WORKER))
    assert lock is not None
    leave(site, f"{WORKER}.bell")
    upkeep.take_over()
    assert site.run_files() == [WORKER, f"{WORKER}.bell"]
    site.queue.host.close(lock)
    upkeep.take_over()
    assert site.run_files() == []


def test_one_that_has_been_recorded_meanwhile_is_not_cleared_up_in_passing(
    site: Site, upkeep: Upkeep
) -> None:
    """What it held has to be given up first, and that needs its files."""
    site.queue.catch_up()
    leave(site, WORKER, f"{WORKER}.1")
    boot = site.queue.host.boot_id()
    started = v.WorkerStarted(worker=WORKER, host="h", boot=boot, pid=1, slots=1)
    Queue(site.place).transact(lambda: [Batch([started])])
    upkeep.take_over()
    assert site.run_files() == [WORKER, f"{WORKER}.1"]
    upkeep.take_over()
    assert site.run_files() == []
    assert site.count(v.WorkerStopped) == 1
