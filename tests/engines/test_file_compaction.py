"""Compaction takes out what may go, archives it first, and nobody else notices."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from compacting import (
    FORGOTTEN,
    SIZE,
    Forget,
    answers,
    archived,
    compacted,
    events,
    header_of,
    segments,
    spoil,
    write,
)
from conformance import batch, everything, jobs_of
from filelogs import FileLog
from hosts import FaultyHost, Killed, Late, Untroubled
from msgspec.structs import replace

from queuectl import instants
from queuectl.beside import outcome_of
from queuectl.engines.file import cursors, reader
from queuectl.engines.file.archive import Archive
from queuectl.engines.file.compaction import compact, expire, holding
from queuectl.engines.file.content import Content, seam_before
from queuectl.errors import ArchiveDamaged, Conflict, Damaged, LockTimedOut, NoSpace, QueuectlError
from queuectl.events.codec import frame_header, rechain
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, JobEnqueued, LogCompacted
from queuectl.host import Host

T = TypeVar("T")


class Future(JobEnqueued, tag="job.enqueued", frozen=True, kw_only=True, omit_defaults=True):
    """As a later version may write it."""

    colour: str = ""


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in segments(root)}


def kept(root: Path) -> list[Event]:
    return told(events(root))


def told(found: list[Event], after: int = 0) -> list[Event]:
    """What must be found after that event, whatever was compacted."""
    offsets = [event.offset for event in found]
    assert offsets == sorted(set(offsets)), "each once, in order"
    return [replace(e, more=False) for e in answers(found)[0] if e.offset > after]


def check(root: Path) -> None:
    """Every line, offset, batch and seam of the log is as the format says."""
    contents = [
        Content([path.read_bytes()], header_of(path).first, str(path)) for path in segments(root)
    ]
    for content in contents:
        for _ in content:
            pass
    for before, after in pairwise(contents):
        assert after.first == before.offset + 1
        assert seam_before(after.header) == before.seam


# ---- what it does


def test_what_may_go_is_gone_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    active = write(tmp_path)[-1]
    before, head = answers(events(tmp_path)), events(tmp_path)[-1].offset
    rewritten = compacted(tmp_path)
    check(tmp_path)
    after = events(tmp_path)
    sealed = [event for event in after if event.offset < header_of(active).first]
    assert not [event for event in sealed if getattr(event, "job", "") in FORGOTTEN]
    assert kept(tmp_path) == [replace(event, more=False) for event in before[0]]
    assert answers(after)[1] == before[1]
    assert after[-1].offset == head
    assert sum(one.events_removed for one in rewritten) == sum(
        event.events for event in after if isinstance(event, LogCompacted)
    )


def test_lines_that_stay_are_the_same_bytes_but_for_what_chains_them(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = FileLog(str(tmp_path / "log"), Untroubled(), segment_bytes_max=600)
    for n in range(4):
        log.append([Batch([Future(job=job, colour=f"“{n}”" + "x" * 500) for job in "abe"])])
    bodies = {line[16:] for path in segments(tmp_path) for line in path.read_bytes().split(b"\n")}
    compacted(tmp_path, size=600)
    stayed = [
        line[16:]
        for path in segments(tmp_path)
        for line in path.read_bytes().split(b"\n")[1:-1]
        if b'"log.compacted"' not in line
    ]
    assert len(stayed) == 2 * 3 + 3
    for body in stayed:
        assert "“".encode() in body
        assert body in bodies or body.replace(b'"type"', b'"more":true,"type"', 1) in bodies


def test_what_is_left_of_a_batch_is_a_batch(tmp_path: Path) -> None:
    for number, names in enumerate(["ab", "ba", "aba", "bab", "aab", "baa", "abab", "b", "abba"]):
        root = tmp_path / str(number)
        (root / "log").mkdir(parents=True)
        log = FileLog(str(root / "log"), Untroubled(), segment_bytes_max=1)
        log.append([batch(*names)])
        log.append([batch("x")])
        compacted(root, size=1)
        check(root)
        *lines, last = [event.more for event in events(root) if event.offset <= len(names)]
        assert not last
        # One batch still, but where its end was taken out and has a stand-in of its own.
        assert lines in ([True] * len(lines), [True] * (len(lines) - 1) + [False])


def test_small_neighbours_become_one_and_the_number_of_files_stays_small(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = FileLog(str(tmp_path / "log"), Untroubled(), segment_bytes_max=2000)
    most = 0
    for _ in range(40):
        log.append([batch(*"bcdgk" * 4)])
        compacted(tmp_path, size=2000)
        most = max(most, len(segments(tmp_path)))
    check(tmp_path)
    assert most <= 4
    assert answers(events(tmp_path))[1] == 40 * 20
    assert len(archived(tmp_path)) > 20


def test_a_segment_that_is_not_worth_it_stays_and_its_events_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    forget = Forget("k")
    assert compacted(tmp_path, forget=forget, least_share=0.9) == []
    assert contents(tmp_path) == before
    active = header_of(segments(tmp_path)[-1]).first
    sealed = [event for event in events(tmp_path) if event.offset < active]
    assert forget.stayed == [e.offset for e in sealed if getattr(e, "job", "") == "k"] != []
    assert compacted(tmp_path, forget=Forget("k"), least_share=0.1) != []


def test_nothing_past_what_others_have_read_or_the_caller_knows_is_touched(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    firsts = [header_of(path).first for path in segments(tmp_path)]
    for until, known in ((firsts[2] - 2, 1 << 40), (1 << 40, firsts[2] - 2)):
        root = tmp_path / f"{until}"
        shutil.copytree(tmp_path / "log", root / "log")
        compacted(root, until=until, forget=Forget(known=known))
        after = contents(root)
        assert header_of(segments(root)[0]).covers == firsts[1] - 1
        assert list(after)[1:] == list(before)[1:]
        assert all(after[name] == before[name] for name in list(before)[1:])


def test_compacting_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    compacted(tmp_path)
    once = contents(tmp_path), archived(tmp_path)
    assert compacted(tmp_path) == []
    assert (contents(tmp_path), archived(tmp_path)) == once


def test_more_may_go_later_and_the_archive_keeps_the_originals(tmp_path: Path) -> None:
    write(tmp_path)
    originals = contents(tmp_path)
    compacted(tmp_path, forget=Forget("bd"))
    first = archived(tmp_path)
    compacted(tmp_path)
    check(tmp_path)
    assert first.items() <= archived(tmp_path).items()
    assert archived(tmp_path).items() <= originals.items()
    active = header_of(segments(tmp_path)[-1]).first
    left = [event.offset for event in events(tmp_path) if getattr(event, "job", "") == "c"]
    assert all(offset >= active for offset in left)


def test_a_dry_run_says_what_would_be_and_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = sorted(os.listdir(tmp_path / "log")), contents(tmp_path)
    would = compacted(tmp_path, dry_run=True)
    assert (sorted(os.listdir(tmp_path / "log")), contents(tmp_path)) == before
    assert not (tmp_path / "archive").exists()
    did = compacted(tmp_path)
    assert [one._replace(archive_bytes=0) for one in did] == would
    assert [one.bytes_after for one in did] == [path.stat().st_size for path in segments(tmp_path)][
        : len(did)
    ]


# ---- the archive


def test_the_archive_holds_every_segment_that_was_changed_as_it_was(tmp_path: Path) -> None:
    write(tmp_path)
    originals = contents(tmp_path)
    compacted(tmp_path)
    kept_whole = archived(tmp_path)
    assert kept_whole
    assert kept_whole.items() <= originals.items()
    gone = {name for name in originals if contents(tmp_path).get(name) != originals[name]}
    assert gone == set(kept_whole)


def test_the_same_segment_makes_the_same_archive(tmp_path: Path) -> None:
    archives = []
    write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in "ab":
        compacted(tmp_path / name)
        archive = tmp_path / name / "archive"
        archives.append({path.name: path.read_bytes() for path in archive.iterdir()})
    assert archives[0] == archives[1] != {}


@pytest.mark.parametrize("how", ["cut", "empty", "bit", "more", "no gzip"])
def test_damage_in_the_archive_is_told(tmp_path: Path, how: str) -> None:
    write(tmp_path)
    compacted(tmp_path)
    archive = Archive(str(tmp_path / "archive"), Untroubled())
    first = archive.list()[0]
    whole = b"".join(archive.read(first))
    spoil(Path(archive.path(first)), how)
    with pytest.raises(ArchiveDamaged) as raised:
        assert whole.startswith(b"".join(archive.read(first)))
    assert raised.value.file == archive.path(first)
    assert raised.value.exit_code == 7


def test_an_archive_is_unpacked_a_piece_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = FileLog(str(tmp_path / "log"), Untroubled(), segment_bytes_max=1)
    log.append([Batch([JobEnqueued(job="b", command="x" * 15_000) for _ in range(400)])])
    log.append([batch("a")])
    compacted(tmp_path, size=1)
    archive = Archive(str(tmp_path / "archive"), Untroubled())
    assert Path(archive.path(1)).stat().st_size < 100_000
    sizes = [len(piece) for piece in archive.read(1)]
    assert sum(sizes) > 5_000_000
    assert max(sizes) <= 1 << 20


def test_archives_may_expire_when_their_last_event_is_old_enough(tmp_path: Path) -> None:
    host = Untroubled()
    (tmp_path / "log").mkdir()
    log = FileLog(
        str(tmp_path / "log"), host, segment_bytes_max=1, archive=str(tmp_path / "archive")
    )
    times = []
    for job in "bcabk":
        times.append(log.append([batch(*job * 9)])[-1].at)
        host.advance(60)
    assert len(list(compact(log, Forget(), until=1 << 40))) == 3
    first, *_ = originals = log.archive.list()
    assert expire(log, times[0]) == []
    assert expire(log, after(times[0])) == [first]
    # The one in the middle was never compacted; the last segment is the active one.
    assert expire(log, after(times[4])) == originals[1:]
    assert list((tmp_path / "archive").iterdir()) == []
    assert answers(everything(log))[1] == 45


def test_an_archive_that_the_log_still_waits_for_does_not_expire(tmp_path: Path) -> None:
    write(tmp_path)
    log = FileLog(str(tmp_path / "log"), Untroubled(), archive=str(tmp_path / "archive"))
    # As a crash leaves it that comes after the archive and before the new segment.
    data = segments(tmp_path)[0].read_bytes()
    log.archive.keep(1, [data], sha256(data).hexdigest())
    assert expire(log, instants.LATEST) == []
    assert log.archive.list() == [1]


def after(at: str) -> str:
    return instants.later(at, 1)


@pytest.mark.parametrize("host", [Untroubled(), Late(), Host()], ids=["at once", "late", "real"])
def test_whenever_it_is_archived_beside_the_log_becomes_the_same(
    tmp_path: Path, host: Host
) -> None:
    write(tmp_path / "plain")
    shutil.copytree(tmp_path / "plain", tmp_path / "beside")
    rewritten = compacted(tmp_path / "plain"), compacted(tmp_path / "beside", host)
    plain, beside = ([one._replace(file="") for one in each] for each in rewritten)
    assert beside == plain
    assert contents(tmp_path / "beside") == contents(tmp_path / "plain")
    assert archived(tmp_path / "beside") == archived(tmp_path / "plain")


def test_one_segment_is_archived_at_a_time_and_none_when_it_has_ended(tmp_path: Path) -> None:
    class Counting(Untroubled):
        begun = ended = 0

        def beside(self, work: Callable[[], T]) -> Callable[[], T]:
            assert self.begun == self.ended
            self.begun += 1
            number = self.begun
            result = outcome_of(work)

            def wait() -> T:
                self.ended = max(self.ended, number)
                return result()

            return wait

    write(tmp_path / "0")
    for steps in range(1, 4):
        root = tmp_path / str(steps)
        shutil.copytree(tmp_path / "0", root)
        host = Counting()
        log = FileLog(str(root / "log"), host, segment_bytes_max=1, archive=str(root / "archive"))
        compacting = compact(log, Forget(), until=1 << 40)
        for _ in range(steps):
            next(compacting)
        assert host.begun > host.ended == steps
        compacting.close()
        assert host.begun == host.ended
        with holding(log):
            pass


# ---- others at work meanwhile


def test_appends_go_on_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path)
    place = str(tmp_path / "log")
    log = FileLog(place, segment_bytes_max=SIZE, archive=str(tmp_path / "archive"))
    number = 0
    for _ in compact(log, Forget(), until=1 << 40):
        number += 1
        other = FileLog(str(tmp_path / "log"), Untroubled(), segment_bytes_max=SIZE)
        other.append([batch(f"new{number}", "b")])
    assert number > 1
    check(tmp_path)
    assert set(jobs_of(events(tmp_path))) >= {f"new{n}" for n in range(1, number + 1)}


def test_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    log = FileLog(str(tmp_path / "log"), Untroubled())
    with holding(log), pytest.raises(LockTimedOut, match="compacting"):
        compacted(tmp_path)
    assert contents(tmp_path) == before
    assert compacted(tmp_path) != []


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading breaks off in the middle of segments, too."""
    monkeypatch.setattr(reader, "_READ_BYTES", 200)


def read_until(log: FileLog, offset: int) -> int:
    """Read as far as the piece with that event; returns the last event read."""
    for piece in log.read():
        if piece[-1].offset >= offset:
            return piece[-1].offset
    raise AssertionError("the log ends before that event")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("after", [0, 1, 4, 9, 30])
def test_a_reading_goes_on_while_files_are_replaced_under_it(tmp_path: Path, after: int) -> None:
    write(tmp_path / "0")
    for steps in range(40):
        root = tmp_path / f"{steps + 1}"
        shutil.copytree(tmp_path / "0", root)
        log = FileLog(str(root / "log"), Untroubled())
        reading: Iterator[list[Event]] = log.read(after)
        found = [event for _, piece in zip(range(steps), reading, strict=False) for event in piece]
        compacted(root)
        found += [event for piece in reading for event in piece]
        assert told(found) == told(events(tmp_path / "0"), after)


@pytest.mark.usefixtures("small_pieces")
def test_a_reading_goes_on_while_the_segment_it_was_to_end_in_is_rewritten(tmp_path: Path) -> None:
    write(tmp_path / "0")
    true = told(events(tmp_path / "0"))
    for steps in range(40):
        root = tmp_path / f"{steps + 1}"
        shutil.copytree(tmp_path / "0", root)
        reading = FileLog(str(root / "log"), Untroubled()).read()
        found = [event for _, piece in zip(range(steps), reading, strict=False) for event in piece]
        other = FileLog(str(root / "log"), Untroubled(), segment_bytes_max=SIZE)
        for _ in range(20):
            other.append([batch("bd")])
        other.close()
        compacted(root)
        found += [event for piece in reading for event in piece]
        assert [event for event in told(found) if event.offset <= true[-1].offset] == true


LEFT = {"none": slice(0, 0), "all": slice(None), "the first": slice(1), "the last": slice(-1, None)}


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
def test_who_comes_back_later_goes_on_where_it_was(tmp_path: Path, left: slice) -> None:
    write(tmp_path / "0")
    originals = contents(tmp_path / "0")
    true = events(tmp_path / "0")
    for offset in range(1, true[-1].offset + 1):
        root = tmp_path / f"{offset}"
        shutil.copytree(tmp_path / "0", root)
        log = FileLog(str(root / "log"), Untroubled())
        after = read_until(log, offset)
        for forget in (Forget("bd"), Forget()):
            compacted(root, forget=forget)
            # As a crash leaves it that comes between a merge and the end of its removals.
            for name in [name for name in originals if name not in contents(root)][left]:
                (root / "log" / name).write_bytes(originals[name])
            for handle in (log, FileLog(str(root / "log"), Untroubled())):
                found = everything(handle, after)
                assert told(found) == told(true, after)
                assert all(event.offset > after for event in found)


def test_who_begins_anew_reads_nothing_that_was_rewritten(tmp_path: Path) -> None:
    """Half of it would be as it was before, and half as it is now: a job could be there again."""
    (tmp_path / "log").mkdir()
    log = FileLog(str(tmp_path / "log"), Untroubled(), segment_bytes_max=SIZE)
    log.append([batch(*"bcdg")])
    reader = FileLog(str(tmp_path / "log"), Untroubled())
    assert jobs_of(everything(reader)) == [*"bcdg"]
    for _ in range(20):
        log.append([batch("a")])
    assert compacted(tmp_path)
    assert everything(reader) == events(tmp_path)


def test_a_place_is_known_while_its_segment_is_merged(tmp_path: Path) -> None:
    class MergedMeanwhile(Untroubled):
        opened: str = ""

        def open(self, path: str, flags: int, *rest: Any) -> int:
            if path == self.opened:
                compacted(tmp_path)
            self.opened = path
            return super().open(path, flags, *rest)

    segment = sorted(write(tmp_path))[1]
    first = int(segment.stem)
    log = FileLog(str(tmp_path / "log"), Untroubled())
    read_until(log, first)
    bookmark = log.bookmark()
    assert int(bookmark.split()[1]) == first
    assert FileLog(str(tmp_path / "log"), MergedMeanwhile()).holds(bookmark)
    assert not segment.exists()


def test_an_expectation_that_the_log_can_no_longer_answer_is_a_conflict(tmp_path: Path) -> None:
    write(tmp_path)
    log = FileLog(str(tmp_path / "log"), Untroubled())
    next(log.read())
    compacted(tmp_path)
    with pytest.raises(Conflict):
        log.append([batch("b", b=2)])
    everything(log)
    assert log.append([batch("b", b=log.head())])


# ---- when it is interrupted


class FaultyAndLate(FaultyHost, Late):
    pass


FAULTS = {
    "killed": Killed,
    "EIO": lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    "ENOSPC": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
}


@pytest.mark.parametrize(
    "fault, before, late",
    [
        *((fault, False, False) for fault in FAULTS.values()),
        (Killed, True, False),
        (Killed, False, True),
    ],
    ids=[*FAULTS, "killed, the second time", "killed, archiving late"],
)
def test_a_fault_at_any_call_changes_no_answer_and_the_next_run_finishes_the_work(
    tmp_path: Path, fault: type[BaseException], before: bool, late: bool
) -> None:
    template = tmp_path / "template"
    write(template)
    if before:
        compacted(template, forget=Forget("bd"))
    expected = answers(events(template))
    expected_kept = kept(template)
    originals = {**archived(template), **contents(template)}
    finished = tmp_path / "finished"
    shutil.copytree(template, finished)
    compacted(finished)
    for number in range(200):
        root = tmp_path / str(number)
        shutil.copytree(template, root)
        host = FaultyAndLate() if late else FaultyHost()
        host.watch(lambda at, _, number=number: fault() if at == number else None)
        done = False
        try:
            compacted(root, host)
            done = True
        except (Killed, OSError, QueuectlError):
            pass
        faulted = len(host.calls) > number
        calls = host.calls[: number + 1]
        assert kept(root) == expected_kept, calls
        assert answers(events(root))[1] == expected[1], calls
        # Whatever is in the log no more is in the archive.
        compacted(root)
        check(root)
        assert kept(root) == expected_kept, calls
        assert answers(events(root))[1] == expected[1], calls
        assert [e.offset for e in events(root)] == [e.offset for e in events(finished)], calls
        assert list(contents(root)) == list(contents(finished)), calls
        assert archived(root) == archived(finished), calls
        assert archived(root).items() <= originals.items() or before
        left = [*(root / "log").glob("compact-*"), *(root / "archive").glob("new-*")]
        assert left == [], calls
        shutil.rmtree(root)
        if not faulted:
            break
    assert done
    assert {"rename", "unlink", "fsync", "sync_directory"} <= set(calls)


def test_nothing_leaves_the_log_before_it_can_be_read_in_the_archive(tmp_path: Path) -> None:
    write(tmp_path)
    whole = {path.name for path in segments(tmp_path)}
    seen: list[set[str]] = []

    class Watched(Untroubled):
        def rename(self, old: str, new: str) -> None:  # type: ignore[override]
            os.rename(old, new)
            seen.append({Path(new).name.removesuffix(".gz"), *archived(tmp_path)})

        def unlink(self, path: str) -> None:  # type: ignore[override]
            assert Path(path).name in archived(tmp_path)
            os.unlink(path)

    compacted(tmp_path, Watched())
    assert seen
    for names in seen:
        assert names <= set(archived(tmp_path)) <= whole


def test_a_full_disk_refuses_and_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    host = FaultyHost()
    host.fail("write", OSError(errno.ENOSPC, "full"))
    with pytest.raises(NoSpace) as raised:
        compacted(tmp_path, host)
    assert raised.value.exit_code == 9
    assert contents(tmp_path) == before
    assert list((tmp_path / "archive").iterdir()) == []


def test_an_archive_that_cannot_be_read_back_is_not_believed(tmp_path: Path) -> None:
    class Forgetful(Untroubled):
        def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
            return os.write(fd, data[:-3] + b"xyz")

    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ArchiveDamaged):
        compacted(tmp_path, Forgetful())
    assert contents(tmp_path) == before
    assert list((tmp_path / "archive").iterdir()) == []
    archive = Archive(str(tmp_path / "archive"), Untroubled())
    with pytest.raises(ArchiveDamaged):
        archive.keep(1, [b"some", b"thing"], "0" * 64)
    assert archive.list() == []


def test_what_bears_the_name_of_an_archive_already_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path)
    originals = contents(tmp_path)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / f"{segments(tmp_path)[0].name}.gz").write_bytes(b"garbage")
    (tmp_path / "archive" / f"{2:020d}.jsonl.gz").write_bytes(b"garbage")
    compacted(tmp_path)
    (tmp_path / "archive" / f"{2:020d}.jsonl.gz").unlink()
    found = archived(tmp_path)
    assert found == {name: originals[name] for name in found}
    assert segments(tmp_path)[0].name in found


def test_leftovers_of_a_merge_are_removed_by_the_next_run(tmp_path: Path) -> None:
    write(tmp_path)
    originals = contents(tmp_path)
    compacted(tmp_path)
    once = contents(tmp_path)
    gone = [name for name in originals if name not in once]
    assert len(gone) > 2
    for name in gone:
        (tmp_path / "log" / name).write_bytes(originals[name])
    host = FaultyHost()
    compacted(tmp_path, host)
    assert contents(tmp_path) == once
    # What stands for them was made durable once more before any of them went.
    assert host.calls.index("rename") < host.calls.index("sync_directory")
    assert host.calls.index("sync_directory") < host.calls.index("unlink")


# ---- damage


def test_a_segment_that_does_not_verify_is_not_compacted(tmp_path: Path) -> None:
    paths = write(tmp_path)
    data = paths[1].read_bytes()
    paths[1].write_bytes(data.replace(b"true", b"tree", 1))
    before = contents(tmp_path)
    with pytest.raises(Damaged) as raised:
        compacted(tmp_path)
    assert raised.value.file == str(paths[1])
    assert list(contents(tmp_path).items())[1:] == list(before.items())[1:]


def test_a_segment_that_was_written_anew_is_not_compacted(tmp_path: Path) -> None:
    # Every checksum is right, and it even ends in the right one; but it is not the one whose
    # SHA-256 the next segment names.
    paths = write(tmp_path)
    before = paths[1].read_bytes()
    line, crc = frame_header(replace(header_of(paths[2]), previous_sha256="0" * 64))
    rest = paths[2].read_bytes().split(b"\n")[1:-1]
    paths[2].write_bytes(line + rechain([one[16:] for one in rest], crc)[0])
    with pytest.raises(Damaged, match="another"):
        compacted(tmp_path)
    assert paths[1].read_bytes() == before


# ---- cursors


@pytest.mark.parametrize(
    "files, expected",
    [
        ({}, None),
        ({"a": b"12"}, 12),
        ({"a": b"12\n", "b": b"7\n"}, 7),
        ({"a": b"12", "b": b"x"}, 0),
        ({"a": b"12", "b": b""}, 0),
        ({"a": b"12", "b": b"-3"}, 0),
        ({"a": b"9" * 30}, 0),
        ({"a": b"12", "new-x": b""}, 12),
        ({"a": b"12 94195fa8\n"}, 12),
        ({"a": b"12 94195fa9\n"}, 0),
    ],
)
def test_the_least_cursor(tmp_path: Path, files: dict[str, bytes], expected: int | None) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert cursors.least(str(tmp_path), Untroubled()) == expected


def test_no_cursors_and_cursors_that_cannot_be_read(tmp_path: Path) -> None:
    assert cursors.least(str(tmp_path / "none"), Untroubled()) is None
    (tmp_path / "a").symlink_to("/etc/hostname")
    assert cursors.least(str(tmp_path), Untroubled()) == 0
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    assert cursors.least(str(tmp_path), Untroubled()) == 0
    (tmp_path / "a").rmdir()
    os.mkfifo(tmp_path / "a")
    assert cursors.least(str(tmp_path), Untroubled()) == 0
