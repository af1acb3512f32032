"""A log as it was: every event once, whatever was compacted, and no altered ones."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from compacting import JOBS, Forget, archived, compacted, forge, opened, segments, spoil, write
from conformance import batch, everything

from queuectl.engines.file import shelf
from queuectl.errors import Damaged
from queuectl.events.vocabulary import Event, LogCompacted


@pytest.fixture(autouse=True, params=[97, 1 << 17], ids=["small pieces", "pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_READ_BYTES", request.param)


def originals(root: Path, after: int = 0) -> tuple[list[Event], list[tuple[int, int]], list[str]]:
    """(events, ranges that are missing in the archive, and why they are)."""
    missing: list[tuple[int, int, str]] = []
    found = list(opened(root).read_originals(after, lambda *gap: missing.append(gap)))
    assert all(found)
    events = [event for events in found for event in events]
    return events, [(first, last) for first, last, _ in missing], [why for *_, why in missing]


def test_the_log_is_there_as_it_was_however_often_it_was_compacted(tmp_path: Path) -> None:
    write(tmp_path)
    true = everything(opened(tmp_path))
    for forget in (Forget(""), Forget("bd"), Forget(), Forget(JOBS)):
        compacted(tmp_path, forget=forget)
        for after in range(len(true) + 2):
            assert originals(tmp_path, after) == (true[after:], [], [])
    assert len(everything(opened(tmp_path))) < len(true)


def offsets(events: list[Event]) -> list[int]:
    return [event.offset for event in events]


def test_what_is_not_in_the_archive_is_told_and_what_the_log_has_left_stands_for_it(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    true = everything(opened(tmp_path))
    compacted(tmp_path)
    kept = everything(opened(tmp_path))
    names = sorted(archived(tmp_path))
    firsts = [int(name[:20]) for name in names]
    for index in (1, 2):
        (tmp_path / "archive" / f"{names[index]}.gz").unlink()
    start, end = firsts[1], firsts[3]
    for after in range(len(true) + 1):
        found, missing, why = originals(tmp_path, after)
        told = [(max(start, after + 1), end - 1)] if after + 1 < end else []
        assert (missing, why) == (told, [""] * len(told))
        expected = {o for o in offsets(true) if not start <= o < end}
        expected |= {o for o in offsets(kept) if start <= o < end}
        assert offsets(found) == sorted(o for o in expected if o > after)
    shutil.rmtree(tmp_path / "archive")
    found, missing, _ = originals(tmp_path)
    assert found == kept
    assert any(isinstance(event, LogCompacted) for event in found)
    assert missing[0][0] == 1


def test_random_ranges_of_archives_gone(tmp_path: Path) -> None:
    write(tmp_path)
    true, chance = everything(opened(tmp_path)), random.Random(3)
    compacted(tmp_path)
    kept = everything(opened(tmp_path))
    for path in sorted((tmp_path / "archive").iterdir()):
        if chance.random() < 0.5:
            path.unlink()
    for after in range(len(true)):
        found, missing, _ = originals(tmp_path, after)
        gaps = {o for first, last in missing for o in range(first, last + 1)}
        expected = {o for o in offsets(true) if o not in gaps}
        expected |= {o for o in offsets(kept) if o in gaps}
        assert offsets(found) == sorted(o for o in expected if o > after)


@pytest.mark.parametrize("how", ["cut", "empty", "bit", "more", "no gzip"])
def test_a_damaged_archive_is_told_and_what_the_log_has_left_is_found(
    tmp_path: Path, how: str
) -> None:
    write(tmp_path)
    true = everything(opened(tmp_path))
    compacted(tmp_path)
    kept = everything(opened(tmp_path))
    path = sorted((tmp_path / "archive").iterdir())[1]
    spoil(path, how)
    found, missing, why = originals(tmp_path)
    # What follows the end of an archive that is whole takes nothing away from it.
    assert len(why) == (how != "more")
    assert all(str(path) in one for one in why)
    gaps = {o for first, last in missing for o in range(first, last + 1)}
    assert offsets(found) == sorted(
        {o for o in offsets(true) if o not in gaps} | {o for o in offsets(kept) if o in gaps}
    )


def test_an_archive_that_was_made_to_fit_is_not_passed_for_the_original(tmp_path: Path) -> None:
    write(tmp_path)
    compacted(tmp_path)
    (name, *_) = sorted(archived(tmp_path))
    path = tmp_path / name
    path.write_bytes(archived(tmp_path)[name])

    def edit(bodies: list[bytes]) -> None:
        bodies[2] = bodies[2].replace(b'"true"', b'"tree"')

    forge(path, edit)
    (tmp_path / "archive" / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    _, _, why = originals(tmp_path)
    assert any("does not go on" in one or "not the original" in one for one in why)


@pytest.mark.parametrize("compact", [False, True])
def test_an_altered_log_is_read_up_to_the_damage_from_wherever_it_begins(
    tmp_path: Path, compact: bool
) -> None:
    write(tmp_path)
    if compact:
        compacted(tmp_path, until=20)
    true, _, _ = originals(tmp_path)
    path = segments(tmp_path)[-2]
    good = path.read_bytes()
    first = int(path.name[:20])
    edits: list[Callable[[bytes], bytes]] = [
        lambda data: data.replace(b'"job":"a"', b'"job":"x"'),
        lambda data: data.replace(b'"offset":%d,' % (first + 4), b'"offset":%d,' % (first - 1)),
        lambda data: data[: data.rindex(b"\n", 0, -1) + 1],
        lambda data: data[:-5],
        lambda data: data.replace(b'"previous_crc":"', b'"previous_crc":"0'),
        lambda data: b"".join(line for line in data.splitlines(True) if b'"job":"h"' not in line),
    ]
    for edit in edits:
        assert edit(good) != good
        path.write_bytes(edit(good))
        for after in range(first + 3):
            found: list[Event] = []
            with pytest.raises(Damaged) as raised:
                for events in opened(tmp_path).read_originals(after):
                    found += events
            assert found == true[after : after + len(found)]
            assert raised.value.offset <= (found[-1].offset if found else after)
            assert raised.value.file in map(str, segments(tmp_path)[-2:])


def test_an_end_that_was_cut_is_missed(tmp_path: Path) -> None:
    write(tmp_path)
    true = everything(opened(tmp_path))
    log = opened(tmp_path)
    log.append([batch("z")])
    path = segments(tmp_path)[-1]
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\n", 0, -1) + 1])
    for after in range(len(true)):
        found: list[Event] = []
        with pytest.raises(Damaged) as raised:
            for events in log.read_originals(after):
                found += events
        assert found == true[after:]
        assert raised.value.offset == len(true)


def test_a_beginning_that_is_gone_is_missed(tmp_path: Path) -> None:
    write(tmp_path)
    (first, *_) = segments(tmp_path)
    first.unlink()
    with pytest.raises(Damaged, match="event 1 is missing"):
        list(opened(tmp_path).read_originals())
    with pytest.raises(Damaged, match="event 2 is missing"):
        list(opened(tmp_path).read_kept("a", 2, 3))


def test_reading_goes_on_while_files_are_replaced_under_it(tmp_path: Path) -> None:
    write(tmp_path / "0")
    true = everything(opened(tmp_path / "0"))
    steps = len(list(opened(tmp_path / "0").read_originals()))
    for step in range(0, steps, max(1, steps // 12)):
        for twice in (False, True):
            root = tmp_path / f"{step}-{twice}"
            shutil.copytree(tmp_path / "0", root)
            if twice:
                compacted(root, forget=Forget("bd"), until=20)
            reading = opened(root).read_originals()
            found = [
                event for _, events in zip(range(step), reading, strict=False) for event in events
            ]
            compacted(root)
            found += [event for events in reading for event in events]
            assert found == true


def test_an_imprint_is_of_one_past_and_of_what_the_archive_has_of_it(tmp_path: Path) -> None:
    write(tmp_path)
    head = opened(tmp_path).head()
    before = [opened(tmp_path).imprint(offset) for offset in range(head + 1)]
    assert before[0] == opened(tmp_path).imprint(head + 1) == ""
    assert len({*before}) == head + 1
    for _ in range(2):
        compacted(tmp_path)
        assert [opened(tmp_path).imprint(offset) for offset in range(head + 1)] == before
    names = sorted((tmp_path / "archive").iterdir())
    names[0].unlink()
    after = [opened(tmp_path).imprint(offset) for offset in range(head + 1)]
    assert {*after} & {*before} == {""}
    write(tmp_path / "other")
    assert opened(tmp_path / "other").imprint(head) not in (before[head], after[head])
