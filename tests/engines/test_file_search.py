"""The events of one job: all of them, each once, whatever was compacted; and no altered ones."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from compacting import JOBS, Forget, archived, compacted, opened, segments, spoil, write
from conformance import batch, everything

from queuectl.engines.file import shelf
from queuectl.errors import ArchiveDamaged, Damaged
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, JobCancelled, JobEnqueued, QueuePaused


@pytest.fixture(autouse=True, params=[97, 1 << 17], ids=["small pieces", "pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_READ_BYTES", request.param)


def about(root: Path, job: str) -> tuple[list[Event], list[tuple[int, int]], list[str]]:
    """(events of the job, ranges that are missing in the archive, and why they are)."""
    missing: list[tuple[int, int, str]] = []
    found = list(opened(root).read_about(job, lambda *gap: missing.append(gap)))
    return found, [(first, last) for first, last, _ in missing], [why for *_, why in missing]


def by_job(root: Path) -> dict[str, list[Event]]:
    found = everything(opened(root))
    return {job: [e for e in found if getattr(e, "job", "") == job] for job in JOBS}


def test_every_job_has_its_whole_history_however_often_the_log_was_compacted(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    true = by_job(tmp_path)
    for forget in (Forget("bd"), Forget(), Forget(JOBS)):
        compacted(tmp_path, forget=forget)
        for job in JOBS:
            assert about(tmp_path, job) == (true[job], [], [])
    assert about(tmp_path, "nobody") == ([], [], [])


def test_the_text_of_a_job_is_not_taken_for_its_name(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = opened(tmp_path)
    log.append(
        [Batch([JobEnqueued(job="c", command='"job":"a"')]), Batch([QueuePaused(queue="a")])]
    )
    log.append([batch("a", "aa"), Batch([JobCancelled(job="a")])])
    assert [event.offset for event in log.read_about("a")] == [3, 5]


def test_what_is_not_in_the_archive_is_told_and_what_the_log_kept_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    true = by_job(tmp_path)
    compacted(tmp_path)
    kept = by_job(tmp_path)
    names = sorted(archived(tmp_path))
    firsts = [int(name[:20]) for name in names]
    assert len(firsts) > 3
    gone = [1, 2]
    for index in gone:
        (tmp_path / "archive" / f"{names[index]}.gz").unlink()
    start, end = firsts[1], firsts[3]
    for job in JOBS:
        found, missing, why = about(tmp_path, job)
        assert (missing, why) == ([(start, end - 1)], [""])
        expected = [e for e in true[job] if not start <= e.offset < end]
        expected += [e for e in kept[job] if start <= e.offset < end]
        assert offsets(found) == sorted(offsets(expected))
    shutil.rmtree(tmp_path / "archive")
    for job in JOBS:
        found, missing, _ = about(tmp_path, job)
        assert offsets(found) == offsets(kept[job])
        assert missing[0][0] == 1


def offsets(events: list[Event]) -> list[int]:
    return [event.offset for event in events]


@pytest.mark.parametrize("how", ["cut", "empty", "bit", "more", "no gzip"])
def test_a_damaged_archive_is_told_and_what_the_log_kept_is_found(tmp_path: Path, how: str) -> None:
    write(tmp_path)
    true = by_job(tmp_path)
    compacted(tmp_path)
    kept = by_job(tmp_path)
    path = sorted((tmp_path / "archive").iterdir())[1]
    spoil(path, how)
    told = 0
    for job in JOBS:
        found, missing, why = about(tmp_path, job)
        told += len(why)
        assert all(str(path) in one for one in why)
        assert set(offsets(kept[job])) <= set(offsets(found)) <= set(offsets(true[job]))
        assert offsets(found) == sorted(set(offsets(found)))
        gaps = {o for first, last in missing for o in range(first, last + 1)}
        assert set(offsets(true[job])) - set(offsets(found)) <= gaps
    # Where the last event before the damage is one of the job, none of it can be missing.
    assert told >= len(JOBS) - 1


def test_an_altered_line_is_not_shown_as_true(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = opened(tmp_path)
    for job in "abcab":
        log.append([batch(job)])
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    lines = data.split(b"\n")
    for number, before in ((4, [1]), (1, [])):
        altered = [*lines]
        altered[number] = altered[number].replace(b"true", b"tree")
        path.write_bytes(b"\n".join(altered))
        found = []
        with pytest.raises(Damaged) as raised:
            for event in opened(tmp_path).read_about("a"):
                found.append(event.offset)
        assert found == before
        assert raised.value.position == sum(len(line) + 1 for line in lines[:number])
        assert raised.value.offset == number - 1
        assert not isinstance(raised.value, ArchiveDamaged)
        assert [event.offset for event in opened(tmp_path).read_about("c")] == [3]


def test_a_search_goes_on_while_files_are_replaced_under_it(tmp_path: Path) -> None:
    write(tmp_path / "0")
    true = by_job(tmp_path / "0")["k"]
    for steps in range(len(true)):
        root = tmp_path / f"{steps + 1}"
        shutil.copytree(tmp_path / "0", root)
        reading: Iterator[Event] = opened(root).read_about("k")
        found = [event for _, event in zip(range(steps), reading, strict=False)]
        compacted(root)
        found += reading
        assert found == true


def test_random_ranges_of_archives_gone(tmp_path: Path) -> None:
    write(tmp_path)
    true, chance = by_job(tmp_path), random.Random(3)
    compacted(tmp_path)
    kept = by_job(tmp_path)
    for path in sorted((tmp_path / "archive").iterdir()):
        if chance.random() < 0.5:
            path.unlink()
    for job in JOBS:
        found, missing, _ = about(tmp_path, job)
        gaps = {o for first, last in missing for o in range(first, last + 1)}
        assert offsets(found) == sorted(
            {o for o in offsets(true[job]) if o not in gaps} | {*offsets(kept[job])}
        )
