"""Data directories that were copied while they were in use."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workers import Site, eventually

from queuectl.events import vocabulary as v
from queuectl.runtime.copying import copy


def as_it_lies(site: Site, place: Path) -> None:
    subprocess.run(["cp", "-r", site.place, place], check=True)


def without_run(site: Site, place: Path) -> None:
    as_it_lies(site, place)
    shutil.rmtree(place / "run")


def by_queuectl(site: Site, place: Path) -> None:
    copy(site.queue, str(place))


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    sites: list[Site] = []
    yield sites
    for site in sites:
        site.close()


@pytest.mark.parametrize("copied", [as_it_lies, without_run, by_queuectl])
def test_a_worker_on_a_copy_lets_the_runs_of_the_original_be(
    site: Site, sites: list[Site], copied: Callable[[Site, Path], None]
) -> None:
    go = site.root / "go"
    worker = site.start()
    id = site.add(f"until [ -e '{go}' ]; do sleep 0.01; done", max_retries=1)
    site.reaches(id, "processing")
    (site.root / "other").mkdir()
    copied(site, site.root / "other" / "data")
    sites.append(there := Site(site.root / "other"))
    other = there.start()
    eventually(lambda: "job.released" in there.types(id))
    assert "a copy" in there.last(id, v.JobReleased).reason
    there.reaches(id, "processing")
    assert site.state(id) == "processing"
    go.touch()
    for place in (site, there):
        job = place.reaches(id, "completed")
        assert job.attempts == 1
    assert site.types(id) == ["job.enqueued", "job.claimed", "job.completed"]
    other.stop()
    worker.stop()
