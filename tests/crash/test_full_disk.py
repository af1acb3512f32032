"""A small disk that is full: nothing lost, said once, and on with it when there is space."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from workers import Site, eventually

from queuectl.engines.file.log import RESERVE_BYTES
from queuectl.errors import NoSpace
from queuectl.events import vocabulary as v


def _mount(kind: str, root: Path) -> Path:
    place = root / "disk"
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(place)]
    else:
        image = root / "image"
        with image.open("wb") as file:
            file.truncate(24 << 20)
        made = ["mkfs.ext4", "-q", "-m", "0", str(image)]
        if subprocess.run(made, capture_output=True).returncode:
            pytest.skip("mkfs.ext4 does not work here")
        command = ["mount", "-o", "loop", str(image), str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"a {kind} can be mounted only by root")
    return place


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    place = _mount(request.param, tmp_path)
    try:
        # Never fill anything but what was just mounted.
        assert subprocess.run(["mountpoint", "-q", str(place)]).returncode == 0
        place.chmod(0o700)
        site = Site(tmp_path, place / "data")
        yield site
        site.close()
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(site: Site) -> Path:
    """A file that takes all there is."""
    ballast = site.place.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass
    return ballast


def refused(site: Site) -> int:
    """How many jobs are taken until one is refused, which changes nothing."""
    for number in range(100_000):
        head = site.queue.log.head()
        try:
            site.queue.enqueue_many([{"command": "true", "tags": ["x" * 100] * 1}] * 200)
        except NoSpace as error:
            assert error.exit_code == 9
            assert site.queue.log.head() == head
            return number
    raise AssertionError("a full disk takes everything")


def begins(disk: Site, id: str) -> None:
    """Wait until a job that prints something runs: a claim alone is handed back on a full disk."""
    token = disk.reaches(id, "processing").token
    eventually(lambda: disk.queue.host.file_size(disk.queue.home.output_file(id, token, "out")))


def test_a_full_disk_hinders_only_what_is_new(disk: Site) -> None:
    go = disk.root / "go"
    wait = f"echo on; until [ -e '{go}' ]; do sleep 0.01; done"
    long = [disk.add(f"{wait}; exit {code}", max_retries=1) for code in (0, 3)]
    worker = disk.start(slots=4, poll_ms=60_000)
    for id in long:
        begins(disk, id)
    ballast = fill(disk)
    waiting = disk.add("echo hello")
    eventually(worker.said)
    # What runs is recorded, and the worker has said so once, however often it tried.
    go.touch()
    assert disk.reaches(long[0], "completed")
    assert disk.reaches(long[1], "dead").exit_code == 3
    disk.queue.ring()
    assert disk.state(waiting) == "pending"
    assert len(worker.said()) == 1
    assert "no space left" in worker.said()[0]
    ballast.unlink()
    disk.reaches(waiting, "completed")
    assert disk.output(waiting) == b"hello\n"
    assert disk.types(waiting) == ["job.enqueued", "job.claimed", "job.completed"]
    eventually(lambda: len(worker.said()) == 2)
    assert "going on" in worker.said()[1]
    worker.stop()


def test_enqueueing_on_a_full_disk_is_refused_and_what_runs_is_recorded(disk: Site) -> None:
    go = disk.root / "go"
    long = disk.add(f"echo on; until [ -e '{go}' ]; do sleep 0.01; done")
    worker = disk.start(slots=2)
    begins(disk, long)
    ballast = fill(disk)
    # Half of what is kept back is for the ends of what runs.
    refused(disk)
    go.touch()
    assert disk.reaches(long, "completed")
    worker.stop()
    ballast.unlink()
    disk.queue.log.close()
    assert disk.state(disk.add("true")) == "pending"
    assert disk.count(v.JobCompleted) == 1
    assert RESERVE_BYTES


def test_a_worker_starts_and_stops_on_a_full_disk(disk: Site) -> None:
    id = disk.add("true")
    fill(disk)
    worker = disk.launch()
    eventually(worker.said)
    worker.stop()
    assert disk.state(id) == "pending"
    assert disk.run_files() == []
