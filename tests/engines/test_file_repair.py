"""Repair loses what is damaged and nothing else, and says so; afterwards all is in order."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from compacting import SIZE, answers, compacted, forge, header_of, segments, write
from conformance import batch, everything
from filelogs import FileLog
from hosts import FaultyHost, Killed, OtherBoot, Untroubled
from msgspec.structs import replace

from queuectl.engines.file import mark as marks
from queuectl.engines.file.mending import Plan
from queuectl.engines.file.repair import repairing
from queuectl.engines.file.verify import Report, verify
from queuectl.errors import Damaged, LockTimedOut, Newer, NoSpace, QueuectlError
from queuectl.events.vocabulary import Event, LogRepaired
from queuectl.host import Host


def opened(root: Path, host: Host | None = None) -> FileLog:
    return FileLog(
        str(root / "log"),
        host or Untroubled(),
        segment_bytes_max=SIZE,
        archive=str(root / "archive"),
    )


def repaired(root: Path, host: Host | None = None) -> Plan:
    with repairing(opened(root, host)) as repair:
        plan = repair.plan("ann@host1")
        if plan.mendings:
            repair.carry_out(plan)
        return plan


def planned(root: Path) -> Plan:
    with repairing(opened(root)) as repair:
        return repair.plan("ann@host1")


def verified(root: Path) -> Report:
    return verify(opened(root))


def plain(events: list[Event]) -> dict[int, Event]:
    """What there is, by offset, without what repair puts there and changes of batches."""
    return {
        event.offset: replace(event, more=False)
        for event in events
        if not isinstance(event, LogRepaired)
    }


def lost(plan: Plan) -> set[int]:
    return {
        offset
        for mending in plan.mendings
        for first, last in mending.lost
        for offset in range(first, last + 1)
    }


def check(root: Path, true: dict[int, Event], plan: Plan, head: int) -> None:
    """All but what is lost is there, the log is in order, and goes on."""
    assert planned(root).mendings == []
    report = verified(root)
    assert report.head == head
    found = everything(opened(root))
    assert plain(found) == {o: event for o, event in true.items() if o not in lost(plan)}
    told = {
        offset
        for event in found
        if isinstance(event, LogRepaired)
        for offset in range(event.lost_from, event.offset + 1)
    }
    assert lost(plan) <= told
    assert not any(one.more for one, other in pairwise(found) if isinstance(other, LogRepaired)), (
        "what is left of a batch is one"
    )
    log = opened(root)
    assert [event.offset for event in log.append([batch("after", "that")])] == [head + 1, head + 2]
    assert verified(root).head == head + 2


def check_it_goes_on(root: Path, head: int) -> None:
    """The log is in order, and is so when two segments more have been begun."""
    assert planned(root).mendings == []
    assert verified(root).head == head
    log = opened(root)
    count = len(segments(root)) + 2
    while len(segments(root)) < count:
        head += 1
        assert log.append([batch("a")])[0].offset == head
    assert planned(root).mendings == []
    assert verified(root).head == head


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "template")
    return tmp_path / "template"


# ---- one thing wrong, anywhere


def flip(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    lines[line] = lines[line].replace(b'"type"', b'"tipe"')
    return b"\n".join(lines)


def flip_digits(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    digit = b"0" if lines[line][9:10] != b"0" else b"1"
    lines[line] = lines[line][:9] + digit + lines[line][10:]
    return b"\n".join(lines)


def delete(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    del lines[line]
    return b"\n".join(lines)


def repeat(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    lines.insert(line, lines[line])
    return b"\n".join(lines)


def garble(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    lines[line] = b"\0" * len(lines[line])
    return b"\n".join(lines)


def join(data: bytes, line: int) -> bytes:
    lines = data.split(b"\n")
    lines[line : line + 2] = [b"".join(lines[line : line + 2])]
    return b"\n".join(lines)


EDITS: dict[str, tuple[Callable[[bytes, int], bytes], int]] = {
    # How many events each may cost at most.
    "a bit in a line": (flip, 1),
    "a bit in its digits": (flip_digits, 0),
    "a line gone": (delete, 2),
    "a line twice": (repeat, 0),
    "a line zeroed": (garble, 2),
    "a newline gone": (join, 2),
}


@pytest.mark.parametrize("edit, most", EDITS.values(), ids=EDITS.keys())
def test_damage_in_one_place_costs_what_stood_there(
    root: Path, tmp_path: Path, edit: Callable[[bytes, int], bytes], most: int
) -> None:
    true = plain(everything(opened(root)))
    head = max(true)
    for number, path in enumerate(segments(root)):
        lines = path.read_bytes().count(b"\n")
        for line in range(lines):
            copy = tmp_path / f"{number}-{line}"
            shutil.copytree(root, copy)
            damaged = copy / "log" / path.name
            spoiled = edit(damaged.read_bytes(), line)
            damaged.write_bytes(spoiled)
            before = {p.name: p.read_bytes() for p in (copy / "log").iterdir()}
            with pytest.raises(Damaged):
                verified(copy)
                # Behind the mark, only who appends looks.
                opened(copy).append([batch("x")])
            plan = repaired(copy)
            if edit is not delete or line < lines - 1:
                assert [Path(each.file).name for each in plan.mendings] == [path.name]
            assert len(lost(plan)) <= most, (path, line)
            check(copy, true, plan, head)
            (aside,) = (copy / "log").glob("aside-*")
            for kept in aside.iterdir():
                assert kept.read_bytes() == before[kept.name]
            assert {p.name for p in aside.iterdir()} <= {path.name, "LOCK"}
            shutil.rmtree(copy)


def test_lines_of_another_place_are_not_taken_in(root: Path, tmp_path: Path) -> None:
    # The second of two neighbours verifies by the first, wherever they stand.
    true = plain(everything(opened(root)))
    source = segments(root)[2].read_bytes().split(b"\n")[3:6]
    for number, path in enumerate(segments(root)):
        copy = tmp_path / f"{number}"
        shutil.copytree(root, copy)
        lines = path.read_bytes().split(b"\n")
        lines[4:4] = source
        (copy / "log" / path.name).write_bytes(b"\n".join(lines))
        plan = repaired(copy)
        assert len(lost(plan)) <= 1
        check(copy, true, plan, max(true))


def test_a_file_that_is_gone_costs_its_events(root: Path, tmp_path: Path) -> None:
    true = plain(everything(opened(root)))
    paths = segments(root)
    firsts = [int(path.name[:20]) for path in paths] + [max(true) + 1]
    for path, (first, following) in zip(paths, pairwise(firsts), strict=True):
        copy = tmp_path / path.name
        shutil.copytree(root, copy)
        (copy / "log" / path.name).unlink()
        plan = repaired(copy)
        assert lost(plan) == set(range(first, following))
        check(copy, true, plan, max(true))


def test_several_files_gone_and_others_damaged(root: Path) -> None:
    true = plain(everything(opened(root)))
    first, second, third, *_, last = segments(root)
    first.write_bytes(b"")
    third.unlink()
    second.write_bytes(flip(second.read_bytes(), 2))
    last.write_bytes(last.read_bytes()[:-30])
    plan = repaired(root)
    check(root, true, plan, max(true))


def test_a_file_that_is_cut_costs_what_was_cut(root: Path, tmp_path: Path) -> None:
    true = plain(everything(opened(root)))
    for path in segments(root):
        data = path.read_bytes()
        for cut in range(0, len(data), 97):
            copy = tmp_path / "copy"
            shutil.copytree(root, copy)
            (copy / "log" / path.name).write_bytes(data[:cut])
            plan = repaired(copy)
            check(copy, true, plan, max(true))
            shutil.rmtree(copy)


def test_nothing_wrong_is_nothing_done(root: Path) -> None:
    for name in ("as it is", "without its lock file"):
        if name != "as it is":
            (root / "log" / "LOCK").unlink()
        before = {p.name: p.read_bytes() for p in (root / "log").glob("*.jsonl")}
        assert repaired(root) == Plan()
        assert {p.name: p.read_bytes() for p in (root / "log").glob("*.jsonl")} == before
    with (segments(root)[-1]).open("ab") as last:
        last.write(b'{"crc":"12')
    assert repaired(root) == Plan(), "a tear is no damage"


# ---- with an archive


def test_where_the_archive_has_the_original_nothing_is_lost(root: Path, tmp_path: Path) -> None:
    true = plain(everything(opened(root)))
    compacted(root, until=60)
    kept, count = answers(everything(opened(root)))
    assert sum(b'"covers"' in path.read_bytes()[:500] for path in segments(root)) > 1
    for path in segments(root)[:-1]:
        if b'"covers"' not in path.read_bytes()[:500]:
            continue
        for spoiled in (b"", flip(path.read_bytes(), 1), None):
            copy = tmp_path / "copy"
            shutil.copytree(root, copy)
            damaged = copy / "log" / path.name
            damaged.unlink() if spoiled is None else damaged.write_bytes(spoiled)
            plan = repaired(copy)
            assert lost(plan) == set()
            found = everything(opened(copy))
            assert answers(found)[1] == count
            assert plain(answers(found)[0]) == plain(kept)
            # All that were compacted after it have their originals back, too.
            first = int(path.name[:20])
            for event in found:
                if event.offset >= first:
                    assert replace(event, more=False) == true[event.offset]
            assert planned(copy).mendings == []
            assert verified(copy).missing == []
            compacted(copy, until=60)
            assert answers(everything(opened(copy)))[1] == count
            shutil.rmtree(copy)


def test_without_all_the_later_originals_what_can_be_believed_is_kept(root: Path) -> None:
    compacted(root, until=60)
    kept = plain(answers(everything(opened(root)))[0])
    *_, last = sorted((root / "archive").iterdir())
    last.unlink()
    path = segments(root)[0]
    path.write_bytes(flip(path.read_bytes(), 1))
    plan = repaired(root)
    assert len(lost(plan)) >= 1
    found = plain(answers(everything(opened(root)))[0])
    assert found == {o: event for o, event in kept.items() if o not in lost(plan)}
    assert planned(root).mendings == []
    verified(root)


def test_a_rewritten_segment_that_is_cut_costs_what_was_cut(root: Path, tmp_path: Path) -> None:
    compacted(root, until=60)
    shutil.rmtree(root / "archive")
    kept = plain(answers(everything(opened(root)))[0])
    path = segments(root)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        copy = shutil.copytree(root, tmp_path / f"{count}")
        (copy / "log" / path.name).write_bytes(b"".join(lines[:count]))
        plan = repaired(copy)
        assert header_of(path).covers in lost(plan)
        found = plain(answers(everything(opened(copy)))[0])
        assert found == {o: event for o, event in kept.items() if o not in lost(plan)}
        assert planned(copy).mendings == []
        verified(copy)


@pytest.mark.parametrize("machine", [Untroubled, OtherBoot], ids=["same boot", "after a restart"])
@pytest.mark.parametrize("lock", [True, False], ids=["", "no lock file"])
def test_where_the_end_is_gone_what_the_archive_has_of_it_is_put_back(
    root: Path, tmp_path: Path, machine: type[Host], lock: bool
) -> None:
    true = plain(everything(opened(root)))
    compacted(root, until=60)
    kept = plain(answers(everything(opened(root)))[0])
    archived = header_of(next(p for p in segments(root) if not header_of(p).covers)).first - 1
    for count in range(1, len(segments(root)) + 1):
        copy = shutil.copytree(root, tmp_path / f"{count}")
        gone = segments(copy)[-count:]
        before = header_of(gone[0]).first - 1
        for path in gone:
            path.unlink()
        if not lock:
            (copy / "log" / "LOCK").unlink()
        end = max(before, archived)
        plan = repaired(copy, machine())
        assert lost(plan) == set(range(end + 1, max(true) + 1) if lock else ())
        assert plan.archives == []
        found = plain(everything(opened(copy)))
        for offset in range(before + 1, end + 1):
            assert found[offset] == true[offset]
        for offset, event in kept.items():
            assert found.get(offset) == (event if offset <= end else None)
        check_it_goes_on(copy, max(true) if lock else end)


def archive_of(root: Path, path: Path, data: bytes | None = None) -> Path:
    """Put a segment into the archive and leave it in the log, as an interrupted compaction does."""
    (root / "archive").mkdir(exist_ok=True)
    archived = root / "archive" / f"{path.name}.gz"
    archived.write_bytes(gzip.compress(data if data is not None else path.read_bytes(), mtime=0))
    return archived


@pytest.mark.parametrize("lock", [True, False], ids=["", "no lock file"])
@pytest.mark.parametrize("tail", ["gone", "there"])
def test_a_segment_that_is_in_the_archive_already_is_put_back(
    root: Path, tmp_path: Path, tail: str, lock: bool
) -> None:
    true = plain(everything(opened(root)))
    *_, damaged, following = segments(root)
    lines = damaged.read_bytes().splitlines(keepends=True)
    archive_of(root, damaged)
    ends = [number for number, line in enumerate(lines[1:], 2) if b'"more"' not in line]
    end = max(true)
    if tail == "gone":
        end = header_of(following).first - 1
        following.unlink()
    if not lock:
        (root / "log" / "LOCK").unlink()
    spoiled = {
        "a bit": flip(damaged.read_bytes(), 3),
        "the first line": flip_digits(damaged.read_bytes(), 0)[1:],
        "cut behind a batch": b"".join(lines[: ends[-2]]),
        "cut inside a batch": b"".join(lines[: ends[-2] + 1]),
        "cut inside a line": damaged.read_bytes()[:-5],
        "only the first line": lines[0],
        "empty": b"",
    }
    for number, data in enumerate(spoiled.values()):
        copy = shutil.copytree(root, tmp_path / f"{number}")
        (copy / "log" / damaged.name).write_bytes(data)
        plan = repaired(copy)
        assert plan.archives == [], data
        assert lost(plan) == set(range(end + 1, max(true) + 1) if lock else ()), data
        found = plain(everything(opened(copy)))
        assert found == {offset: event for offset, event in true.items() if offset <= end}
        check_it_goes_on(copy, max(true) if lock else end)


def test_what_the_archive_has_of_another_future_does_not_take_the_place_of_the_end(
    root: Path,
) -> None:
    # The log was put back to an earlier state, its archive was not, and both went on.
    true = plain(everything(opened(root)))
    path = segments(root)[-1]
    data = path.read_bytes()
    forge(path, lambda bodies: bodies.__setitem__(1, bodies[1].replace(b'"job":"', b'"job":"z', 1)))
    other = archive_of(root, path)
    path.write_bytes(flip(data, 4))
    (root / "log" / "LOCK").unlink()
    plan = repaired(root)
    assert len(lost(plan)) == 1
    assert plan.archives == [int(other.name[:20])]
    assert plain(everything(opened(root))) == {o: e for o, e in true.items() if o not in lost(plan)}
    check_it_goes_on(root, max(true))


def test_what_does_not_go_on_from_the_end_is_taken_out_of_the_archive(
    root: Path, tmp_path: Path
) -> None:
    true = plain(everything(opened(root)))
    compacted(root, until=75)
    write(tmp_path / "other")
    compacted(tmp_path / "other", until=75)
    paths = segments(root)
    _, second, third, active = (header_of(path).first for path in paths)
    name = "{:020d}.jsonl.gz".format
    kept = {name(one): (root / "archive" / name(one)).read_bytes() for one in (second, third)}
    other = {one: (tmp_path / "other" / "archive" / one).read_bytes() for one in kept}
    head = max(true)
    strays = {
        # What is gone from the log, what lies in the archive, and how far that is put back.
        "past the end": (0, {name(head + 1): kept[name(third)]}, head),
        "the active one": (0, {name(active): kept[name(third)]}, head),
        "one is gone": (3, {name(second): b""}, second - 1),
        "one is of another log": (3, {name(second): other[name(second)]}, second - 1),
        "the last one is damaged": (3, {name(third): kept[name(third)][:-9]}, third - 1),
        "the last one is of another log": (3, {name(third): other[name(third)]}, third - 1),
    }
    for count, archives, end in strays.values():
        copy = shutil.copytree(root, tmp_path / "copy")
        for path in segments(copy)[len(paths) - count :]:
            path.unlink()
        for one, data in archives.items():
            (copy / "archive" / one).write_bytes(data)
            if not data:
                (copy / "archive" / one).unlink()
        there = {path.name: path.read_bytes() for path in (copy / "archive").iterdir()}
        plan = repaired(copy)
        stray = {one: data for one, data in there.items() if int(one[:20]) > min(end, active - 1)}
        assert {Path(each.file).name for each in plan.mendings} >= stray.keys()
        assert {path.name for path in (copy / "archive").iterdir()} == there.keys() - stray.keys()
        assert {
            path.name: path.read_bytes() for path in (copy / "log").glob("aside-*/*.gz")
        } == stray
        assert lost(plan) == set(range(end + 1, head + 1))
        check_it_goes_on(copy, head)
        shutil.rmtree(copy)


def test_a_damaged_archive_is_taken_out_and_kept_aside(root: Path) -> None:
    compacted(root, until=60)
    before = everything(opened(root))
    path = sorted((root / "archive").iterdir())[1]
    data = path.read_bytes()[:-9]
    path.write_bytes(data)
    with pytest.raises(Damaged):
        verified(root)
    plan = repaired(root)
    assert [mending.file for mending in plan.mendings] == [str(path)]
    assert not path.exists()
    (kept,) = (root / "log").glob(f"aside-*/{path.name}")
    assert kept.read_bytes() == data
    assert verified(root).missing != []
    assert everything(opened(root)) == before


def test_what_was_written_anew_is_kept_where_nobody_knows_better(root: Path) -> None:
    true = plain(everything(opened(root)))
    path = segments(root)[0]
    forge(path, lambda bodies: None, previous_crc="12345678")
    with pytest.raises(Damaged):
        verified(root)
    plan = repaired(root)
    assert lost(plan) == set()
    assert plain(everything(opened(root))) == true

    def alter(bodies: list[bytes]) -> None:
        bodies[:] = [body.replace(b'"job":"k"', b'"job":"z"') for body in bodies]

    path = segments(root)[1]
    forge(path, alter)
    with pytest.raises(Damaged):
        verified(root)
    plan = repaired(root)
    assert lost(plan) == set()
    check(root, plain(everything(opened(root))), plan, max(true))


def test_a_segment_that_was_written_anew_is_put_back(root: Path) -> None:
    compacted(root, until=60)
    forge(segments(root)[0], lambda bodies: bodies.__setitem__(1, bodies[1].replace(b"e", b"E", 1)))
    plan = repaired(root)
    assert lost(plan) == set()
    verified(root)


# ---- the end of the log


def test_no_offset_is_given_twice(root: Path) -> None:
    true = plain(everything(opened(root)))
    last = segments(root)[-1]
    last.write_bytes(b"\n".join(last.read_bytes().split(b"\n")[:2]) + b"\n")
    plan = repaired(root)
    assert max(lost(plan)) == max(true)
    check(root, true, plan, max(true))


def test_after_a_restart_the_lock_file_still_knows_how_far_it_was(root: Path) -> None:
    true = plain(everything(opened(root)))
    last = segments(root)[-1]
    last.write_bytes(flip(last.read_bytes(), 2)[:-50])
    with repairing(opened(root, OtherBoot())) as repair:
        plan = repair.plan("ann@host1")
        repair.carry_out(plan)
    assert max(lost(plan)) == max(true)
    check(root, true, plan, max(true))


def test_a_batch_that_nobody_was_told_of_has_not_happened(root: Path) -> None:
    true = plain(everything(opened(root)))
    lock = (root / "log" / "LOCK").read_bytes()
    opened(root).append([batch("x", "y", "z")])
    (root / "log" / "LOCK").write_bytes(lock)
    last = segments(root)[-1]
    data = last.read_bytes()
    last.write_bytes(flip(data, 1)[: data.rindex(b'{"crc"')])
    plan = repaired(root)
    check(root, true, plan, max(true))


def test_a_log_copied_while_it_was_used_can_be_used(root: Path, tmp_path: Path) -> None:
    # The lock file was copied first; then segments were begun, and copied as well.
    lock = (root / "log" / "LOCK").read_bytes()
    log = opened(root)
    while len(segments(root)) < len(segments(tmp_path / "template")) + 2:
        log.append([batch(*"abcdef")])
        if marks.decode((root / "log" / "LOCK").read_bytes()).segment > marks.decode(lock).segment:  # type: ignore[union-attr]
            break
    log.append([batch(*"abcdef")])
    true = plain(everything(opened(root)))
    (root / "log" / "LOCK").write_bytes(lock)
    plan = repaired(root)
    assert lost(plan) == set()
    check(root, true, plan, max(true))


# ---- refused, interrupted


def test_who_uses_the_log_is_not_disturbed(root: Path) -> None:
    path = segments(root)[0]
    path.write_bytes(flip(path.read_bytes(), 1))
    log = opened(root)
    with repairing(log), pytest.raises(LockTimedOut, match="in use"), repairing(opened(root)):
        pass
    host = Untroubled()
    fd = host.hold(str(root / "log" / "COMPACTING"))
    with pytest.raises(LockTimedOut), repairing(log):
        pass
    assert fd is not None
    host.close(fd)
    assert repaired(root).mendings


def test_a_newer_format_is_not_repaired(root: Path) -> None:
    path = segments(root)[1]
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"format":1', b'"format":3'))
    with pytest.raises(Newer):
        repaired(root)
    assert not list((root / "log").glob("aside-*"))


def test_planning_changes_nothing(root: Path) -> None:
    path = segments(root)[1]
    path.write_bytes(flip(path.read_bytes(), 1))
    segments(root)[3].unlink()
    before = {p.name: p.read_bytes() for p in (root / "log").iterdir()}
    assert len(planned(root).mendings) == 2
    after = {p.name: p.read_bytes() for p in (root / "log").iterdir() if p.name != "COMPACTING"}
    assert after == before


@pytest.mark.parametrize("fault", [Killed, lambda: OSError(28, "full")], ids=["killed", "full"])
def test_interrupted_at_any_call_it_can_be_done_again(
    root: Path, tmp_path: Path, fault: Callable[[], BaseException]
) -> None:
    true = plain(everything(opened(root)))
    first, _, third, *_, last = segments(root)
    first.write_bytes(flip(first.read_bytes(), 2))
    third.unlink()
    last.write_bytes(flip(last.read_bytes(), 1))
    expected = lost(planned(root))
    for number in range(200):
        copy = tmp_path / f"{number}"
        shutil.copytree(root, copy)
        host = FaultyHost()
        host.watch(lambda at, _, number=number: fault() if at == number else None)
        try:
            repaired(copy, host)
            done = True
        except (Killed, OSError, NoSpace, QueuectlError):
            done = False
        faulted = len(host.calls) > number
        host.watch(lambda at, name: None)
        again = repaired(copy)
        assert not done or again == Plan()
        found = everything(opened(copy))
        assert plain(found) == {o: event for o, event in true.items() if o not in expected}
        assert verified(copy).head == max(true)
        shutil.rmtree(copy)
        if not faulted:
            return
    raise AssertionError
