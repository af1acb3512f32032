"""Data directories that were copied while they were in use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from workers import Site, eventually

from queuectl.events import vocabulary as v


def copied(site: Site, name: str) -> Site:
    """The queue of another site, as `cp -r` finds it at this moment."""
    root = site.root / name
    root.mkdir()
    subprocess.run(["cp", "-r", site.place, root / "data"], check=True)
    return Site(root)


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    sites: list[Site] = []
    yield sites
    for site in sites:
        site.close()


@pytest.mark.parametrize("run", [True, False], ids=["run/ and all", "without run/"])
def test_a_worker_on_a_copy_lets_the_runs_of_the_original_be(
    site: Site, sites: list[Site], run: bool
) -> None:
    go = site.root / "go"
    worker = site.start()
    id = site.add(f"until [ -e '{go}' ]; do sleep 0.01; done", max_retries=1)
    site.reaches(id, "processing")
    sites.append(copy := copied(site, "copy"))
    if not run:
        shutil.rmtree(copy.place / "run")
    other = copy.start()
    released = eventually(lambda: "job.released" in copy.types(id)) and copy.last(id, v.JobReleased)
    assert "a copy" in released.reason
    copy.reaches(id, "processing")
    assert site.state(id) == "processing"
    go.touch()
    for place in (site, copy):
        job = place.reaches(id, "completed")
        assert job.attempts == 1
    assert site.types(id) == ["job.enqueued", "job.claimed", "job.completed"]
    other.stop()
    worker.stop()
