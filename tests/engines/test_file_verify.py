"""Whatever is done to a compacted log or its archive is found, and the past can be proved."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from compacting import SIZE, Forget, archived, compacted, forge, header_of, segments, write
from conformance import batch, everything
from filelogs import FileLog
from hosts import Untroubled

from queuectl.engines.file import anchors, shelf
from queuectl.engines.file.anchors import Anchor
from queuectl.engines.file.verify import Report, Unaudited, verify
from queuectl.errors import ArchiveDamaged, Damaged, Disproved, Illegal, Invalid, QueuectlError
from queuectl.events.codec import Header, decode_header, frame_header
from queuectl.events.vocabulary import Event


def opened(root: Path) -> FileLog:
    return FileLog(
        str(root / "log"), Untroubled(), segment_bytes_max=SIZE, archive=str(root / "archive")
    )


def verified(root: Path) -> Report:
    return verify(opened(root))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of which some was compacted, and some was not."""
    root = tmp_path_factory.mktemp("compacted")
    write(root)
    compacted(root, until=60)
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "root")


def archives(root: Path) -> list[Path]:
    return sorted((root / "archive").iterdir())


# ---- what is as it was


def test_a_compacted_log_and_its_archive_pass(root: Path) -> None:
    report = verified(root)
    assert report.segments == len(segments(root)) > 3
    assert report.events == len(everything(opened(root)))
    assert report.size == sum(path.stat().st_size for path in segments(root))
    assert report.archives == len(archived(root)) > 3
    assert report.archive_size == sum(map(len, archived(root).values()))
    assert report.missing == []
    assert report.head == everything(opened(root))[-1].offset
    assert report.sha256 == sha256(segments(root)[-1].read_bytes()).hexdigest()


def test_what_is_not_in_the_archive_is_no_damage_and_is_told(root: Path) -> None:
    second, third = archives(root)[1:3]
    firsts = [int(path.name[:20]) for path in archives(root)]
    second.unlink()
    assert verified(root).missing == [(firsts[1], firsts[2] - 1)]
    third.unlink()
    assert verified(root).missing == [(firsts[1], firsts[3] - 1)]
    shutil.rmtree(root / "archive")
    report = verified(root)
    assert (report.archives, report.missing[0][0]) == (0, 1)


def test_an_empty_log_is_right(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert verified(tmp_path).events == 0


def test_foreign_files_are_no_part_of_it(root: Path) -> None:
    path = segments(root)[0]
    before = verified(root)
    for name in ("notes.txt", f"copy of {path.name}", f"{path.name}.bak", "1.jsonl"):
        (path.parent / name).write_bytes(b"x")
    shutil.copy(path, path.parent / f"{path.stem}-copy.jsonl")
    assert verified(root) == before


# ---- what is not


def test_every_changed_byte_is_found_or_changes_nothing(root: Path) -> None:
    chance = random.Random(7)
    originals = archived(root)
    found = 0
    for path in [*segments(root), *archives(root)]:
        data = path.read_bytes()
        for position in range(chance.randrange(5), len(data), 11):
            changed = bytes([data[position] ^ 1 << chance.randrange(8)])
            path.write_bytes(data[:position] + changed + data[position + 1 :])
            try:
                verified(root)
            except QueuectlError as error:
                found += 1
                assert isinstance(error, ArchiveDamaged) == (path.parent.name == "archive")
            else:
                # Some bits of a gzip file say nothing about what is in it.
                assert path.parent.name == "archive"
                assert archived(root) == originals
        path.write_bytes(data)
    assert found > 500


def test_a_rewritten_segment_that_is_cut_is_found(root: Path) -> None:
    # The next segment names the original and does not notice.
    path = next(path for path in segments(root) if header_of(path).sealed_sha256)
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        with pytest.raises(Damaged) as raised:
            verified(root)
        assert raised.value.file == str(path)
        with pytest.raises(Damaged) as raised:
            everything(opened(root))
        assert raised.value.file == str(path)


def test_lines_that_are_not_those_of_the_original_are_found(root: Path) -> None:
    path = segments(root)[0]

    def alter(bodies: list[bytes]) -> None:
        assert b'"job":"a"' in bodies[1]
        bodies[1] = bodies[1].replace(b'"job":"a"', b'"job":"z"')

    forge(path, alter)
    with pytest.raises(Damaged, match="not what it was in the original") as raised:
        verified(root)
    lines = path.read_bytes().split(b"\n")
    assert raised.value.file == str(path)
    assert raised.value.position == len(lines[0]) + len(lines[1]) + 2
    assert not isinstance(raised.value, ArchiveDamaged)


@pytest.mark.parametrize(
    "header",
    [{"covers": 1 << 40}, {"covers": 1}, {"sealed_crc": "00000000"}, {"sealed_sha256": "0" * 64}],
    ids=lambda header: str(next(iter(header))),
)
def test_a_first_line_that_says_what_is_not_so_is_found(
    root: Path, header: dict[str, object]
) -> None:
    forge(segments(root)[1], lambda bodies: None, **header)
    with pytest.raises(Damaged):
        verified(root)


def test_archives_that_are_not_where_they_were_are_found(root: Path) -> None:
    one, other = archives(root)[:2]
    data = one.read_bytes(), other.read_bytes()
    other.write_bytes(data[0])
    with pytest.raises(ArchiveDamaged):
        verified(root)
    one.write_bytes(data[1])
    with pytest.raises(ArchiveDamaged):
        verified(root)


def test_archives_of_what_was_not_compacted_are_looked_at_too(root: Path) -> None:
    (last, *_) = [path for path in segments(root)[::-1] if not header_of(path).sealed_sha256]
    before = verified(root).archives
    name = f"{header_of(last).first:020d}.jsonl.gz"
    (root / "archive" / name).write_bytes(gzip.compress(last.read_bytes()))
    assert verified(root).archives == before + 1
    for content in (b"garbage", archives(root)[0].read_bytes()):
        (root / "archive" / name).write_bytes(content)
        with pytest.raises(ArchiveDamaged) as raised:
            verified(root)
        assert raised.value.file == str(root / "archive" / name)
    (root / "archive" / name).unlink()
    verified(root)
    (root / "archive" / f"{1 << 40:020d}.jsonl.gz").write_bytes(gzip.compress(last.read_bytes()))
    with pytest.raises(ArchiveDamaged, match="the log ends before"):
        verified(root)


def alter_one(bodies: list[bytes]) -> None:
    (first, *_) = [index for index, body in enumerate(bodies) if b'"job":"k"' in body]
    bodies[first] = bodies[first].replace(b'"job":"k"', b'"job":"z"')


def test_an_archive_that_was_written_anew_is_found(root: Path) -> None:
    # What compaction has taken out stands nowhere else: the log knows its hash alone.
    for path in archives(root):
        before = path.read_bytes()
        plain = path.with_suffix("")
        plain.write_bytes(gzip.decompress(before))
        forge(plain, alter_one)
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
        with pytest.raises(Damaged):
            verified(root)
        path.write_bytes(before)
    assert verified(root).missing == []


def test_an_archive_of_another_log_is_found(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "other")
    compacted(tmp_path / "other")
    shutil.copy(archives(tmp_path / "other")[0], archives(root)[0])
    with pytest.raises(ArchiveDamaged):
        verified(root)


def test_a_segment_that_is_gone_is_found(root: Path) -> None:
    for path in segments(root):
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(Damaged):
            verified(root)
        path.write_bytes(data)


def test_a_rewritten_segment_without_the_one_that_followed_is_found(root: Path) -> None:
    # Also where no lock file tells how far the log went: only what was sealed is rewritten.
    for path in segments(root)[::-1]:
        if header_of(path).sealed_sha256:
            break
        path.unlink()
    (root / "log" / "LOCK").unlink()
    gone = f"event {header_of(path).covers + 1} is missing"
    with pytest.raises(Damaged, match=gone):
        verified(root)
    with pytest.raises(Damaged, match=gone):
        everything(opened(root))
    with pytest.raises(Damaged, match="the file that followed is gone"):
        opened(root).append([batch("x")])


class Strict(Unaudited):
    """Takes offence at one event."""

    wanted = 0

    def see(self, events: Sequence[Event]) -> None:
        if any(event.offset == self.wanted for event in events):
            raise Illegal("no", self.wanted)


class StrictWithOriginals(Strict):
    def see(self, events: Sequence[Event]) -> None:
        pass

    see_original = Strict.see


def place(root: Path, strict: type[Strict], offset: int) -> Damaged:
    strict.wanted = offset
    with pytest.raises(Damaged, match="no") as raised:
        verify(opened(root), strict)
    assert raised.value.offset == offset - 1
    return raised.value


def test_what_an_auditor_finds_gets_its_place(root: Path) -> None:
    there = {event.offset for event in everything(opened(root))}
    for offset in there:
        damage = place(root, Strict, offset)
        line = Path(damage.file).read_bytes()[damage.position :]
        assert line[16:].startswith(b'","offset":%d,' % offset)
    gone = set(range(1, 60)) - there
    assert gone
    for offset in gone:
        damage = place(root, StrictWithOriginals, offset)
        assert isinstance(damage, ArchiveDamaged)
        line = archived(root)[Path(damage.file).name.removesuffix(".gz")][damage.position :]
        assert line[16:].startswith(b'","offset":%d,' % offset)


def test_the_originals_are_shown_as_long_as_they_are_all_there(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "whole")
    true = [type(event) for event in everything(opened(tmp_path / "whole"))]
    shown: list[Event] = []
    ends: list[bool] = []

    class Watching(Unaudited):
        def see_original(self, events: Sequence[Event]) -> None:
            shown.extend(events)

        def finish(self, *, complete: bool) -> None:
            ends.append(complete)

    verify(opened(root), Watching)
    assert ([type(event) for event in shown], ends) == (true, [True])
    shown.clear()
    archives(root)[1].unlink()
    verify(opened(root), Watching)
    assert ends == [True, False]
    assert 0 < len(shown) < len(true)
    assert [event.offset for event in shown] == list(range(1, len(shown) + 1))


def test_it_begins_anew_when_the_log_is_compacted_meanwhile(tmp_path: Path) -> None:
    write(tmp_path)
    for step in range(6):
        progress = Compacting(tmp_path, step)
        report = verify(opened(tmp_path), progress=progress)
        assert progress.step < 0
        assert report.events == len(everything(opened(tmp_path)))
        assert (report.archives, report.missing) == (len(archived(tmp_path)), [])


class Compacting:
    """Compacts the log once when it has been asked so many times."""

    def __init__(self, root: Path, step: int) -> None:
        self.root = root
        self.step = step
        self._forget = Forget("bdkgcael"[: step + 1])

    def __call__(self, done: int, total: int) -> None:
        self.step -= 1
        if self.step == -1:
            compacted(self.root, forget=self._forget)


# ---- anchors


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_READ_BYTES", 500)


def anchor(root: Path) -> Anchor:
    report = verified(root)
    return Anchor(report.head, report.crc, report.sha256)


def test_an_anchor_holds_while_the_log_grows_is_rotated_and_compacted(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = opened(tmp_path)
    kept: list[Anchor] = []
    for number in range(30):
        log.append([batch(*"bcdgk"[number % 3 :], f"a{number}")])
        kept.append(anchor(tmp_path))
        for one in kept:
            anchors.prove(opened(tmp_path), one)
        if number % 7 == 6:
            compacted(tmp_path, forget=Forget("bcd"))
    compacted(tmp_path)
    assert len(archived(tmp_path)) > 5
    for one in kept:
        assert anchors.parse(str(one)) == one
        anchors.prove(opened(tmp_path), one)


def test_an_anchor_does_not_change_when_a_segment_is_begun(tmp_path: Path) -> None:
    write(tmp_path)
    before = anchor(tmp_path)
    last = segments(tmp_path)[-1]
    data = last.read_bytes()
    header = decode_header(data.split(b"\n")[0])[0]
    # As a crash leaves it that comes between the two.
    begun = Header(
        at=everything(opened(tmp_path))[-1].at,
        log=header.log,
        first=before.head + 1,
        previous_crc=before.crc,
        previous_sha256=sha256(data).hexdigest(),
    )
    (last.parent / f"{before.head + 1:020}.jsonl").write_bytes(frame_header(begun)[0])
    (last.parent / "LOCK").unlink()
    assert opened(tmp_path).active() == before.head + 1
    assert anchor(tmp_path) == before
    anchors.prove(opened(tmp_path), before)


def test_a_tail_that_was_cut_off_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    before = anchor(tmp_path)
    last = segments(tmp_path)[-1]
    lines = last.read_bytes().split(b"\n")
    (tmp_path / "log" / "LOCK").unlink()
    last.write_bytes(b"\n".join(lines[:-2]) + b"\n")
    verified(tmp_path)  # all that is left fits together
    with pytest.raises(Disproved, match="cut off") as raised:
        anchors.prove(opened(tmp_path), before)
    assert raised.value.exit_code == 7


def test_a_past_that_was_written_anew_is_found(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    after = anchor(tmp_path / "a")
    with pytest.raises(Disproved, match="not what the anchor says"):
        anchors.prove(opened(tmp_path / "b"), after)
    for wrong in (
        after._replace(crc="00000000"),
        after._replace(sha256="0" * 64),
        after._replace(head=after.head - 1),
    ):
        with pytest.raises(Disproved):
            anchors.prove(opened(tmp_path / "a"), wrong)
    anchors.prove(opened(tmp_path / "a"), Anchor(0, "00000000", "0" * 64))


def test_where_the_original_is_gone_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = opened(tmp_path)
    log.append([batch("a", "b")])
    inside = anchor(tmp_path)
    while len(segments(tmp_path)) < 2:
        log.append([batch(*"bcdgk")])
    header = decode_header(segments(tmp_path)[1].read_bytes().split(b"\n")[0])[0]
    at_its_end = Anchor(header.first - 1, header.previous_crc, header.previous_sha256)
    compacted(tmp_path)
    for one in (inside, at_its_end):
        anchors.prove(opened(tmp_path), one)
    shutil.rmtree(tmp_path / "archive")
    with pytest.raises(QueuectlError, match="cannot be told") as raised:
        anchors.prove(opened(tmp_path), inside)
    assert raised.value.exit_code == 1
    anchors.prove(opened(tmp_path), at_its_end)


@pytest.mark.parametrize("text", ["", "head 1", "head 1 crc 1 sha256 1", "head x crc y sha256 z"])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        anchors.parse(text)
