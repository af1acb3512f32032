"""What happened, line by line: the same bytes whether a line is copied or was decoded before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from compacting import SIZE, Forget, compacted, segments, write
from conformance import batch, everything
from filelogs import FileLog
from hosts import Untroubled

from queuectl.engines.file import lines, reader
from queuectl.errors import Damaged
from queuectl.events import codec
from queuectl.events.codec import BODY
from queuectl.events.log import Batch, Missing, ignored
from queuectl.events.vocabulary import JobEnqueued, SettingChanged


def opened(root: Path) -> FileLog:
    return FileLog(
        str(root / "log"), Untroubled(), segment_bytes_max=SIZE, archive=str(root / "archive")
    )


def texts(log: FileLog, after: int = 0, missing: Missing = ignored) -> list[bytes]:
    """All of them; and that each stretch begins where it says that it does."""
    found: list[bytes] = []
    for stretch in lines.read(log, after, missing):
        some = stretch.data.split(b"\n")
        assert some.pop() == b""
        offsets = [json.loads(text)["offset"] for text in some]
        assert offsets == [*range(stretch.first, stretch.last + 1)]
        found += some
    return found


def test_a_line_is_copied_to_the_byte_but_for_what_chains_it(tmp_path: Path) -> None:
    written = [text for path in write(tmp_path) for text in copy_of(path.read_bytes())]
    log = opened(tmp_path)
    assert texts(log) == written
    for after in range(len(written) + 1):
        assert texts(log, after) == texts(log)[after:]


def test_what_was_decoded_comes_to_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path)
    log = opened(tmp_path)
    log.append([Batch([SettingChanged(key="“\u2028\x00\n", value='"type":"log.compacted"')])])
    events = everything(log)
    again = b"".join(stretch.data for stretch in codec.stretches(events)).split(b"\n")[:-1]
    assert again == texts(log)
    holes = [stretch.first for stretch in codec.stretches(events[:3] + events[5:6] + events[9:])]
    assert holes == [1, 6, 10]
    (whole,) = codec.stretches(events)
    for count in range(whole.events + 1):
        before, rest = whole.cut(count)
        assert (*before,) == (1, count, b"".join(text + b"\n" for text in again[:count]))
        assert rest == whole.after(count)
        assert rest.data == b"".join(text + b"\n" for text in again[count:])


def test_who_follows_gets_each_line_once(tmp_path: Path) -> None:
    write(tmp_path)
    log, other = opened(tmp_path), opened(tmp_path)
    seen = texts(log)
    for names in ("a", "xyz", "b"):
        other.append([batch(*names)])
        new = texts(log, len(seen))
        assert len(new) == len(names)
        seen += new
    assert seen == texts(opened(tmp_path))


@pytest.mark.parametrize("piece_bytes", [1 << 17, 300])
def test_what_compaction_took_out_comes_from_the_archive_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(reader, "_READ_BYTES", piece_bytes)
    write(tmp_path)
    before = texts(opened(tmp_path))
    assert compacted(tmp_path)
    log = opened(tmp_path)
    assert len(everything(log)) < len(before)
    for after in range(len(before)):
        assert texts(log, after) == before[after:]


def test_one_event_that_another_stands_for_is_missed_although_no_offset_is(
    tmp_path: Path,
) -> None:
    (tmp_path / "log").mkdir()
    log = opened(tmp_path)
    for job, size in (("a", 9), ("b", 3000), ("c", 9), ("d", 2000), ("e", 9)):
        log.append([Batch([JobEnqueued(job=job, command="x" * size)])])
    before = texts(log)
    log.close()
    assert compacted(tmp_path, forget=Forget("b"))
    log = opened(tmp_path)
    assert [event.offset for event in everything(log)] == [1, 2, 3, 4, 5]
    assert texts(log) == before


def test_where_the_archive_is_gone_what_is_left_comes_with_what_stands_for_the_rest(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    before = texts(opened(tmp_path))
    assert compacted(tmp_path)
    shutil.rmtree(tmp_path / "archive")
    log = opened(tmp_path)
    told: list[int] = []
    left = texts(log, missing=lambda first, last, why: told.append(first))
    assert [json.loads(text)["offset"] for text in left] == [
        event.offset for event in everything(log)
    ]
    assert set(left) - set(before), "what stands for them"
    assert told[0] == 1


def test_lines_of_every_released_format_are_the_same_either_way(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "format-1"
    log = FileLog(str(golden / "log"), archive=str(golden / "archive"))
    copied = [
        text for first in log.archive.list() for text in copy_of(b"".join(log.archive.read(first)))
    ]
    found = {json.loads(text)["offset"]: text for text in texts(log)}
    assert copied
    assert [found[json.loads(text)["offset"]] for text in copied] == copied


def copy_of(segment: bytes) -> list[bytes]:
    return [b"{" + line[BODY + 2 :] for line in segment.splitlines()[1:]]


def test_all_before_damage_is_read_and_then_it_is_told(tmp_path: Path) -> None:
    paths = write(tmp_path)
    whole = texts(opened(tmp_path))
    middle = segments(tmp_path)[len(paths) // 2]
    data = middle.read_bytes()
    middle.write_bytes(data[:-20] + b"x" + data[-19:])
    found: list[bytes] = []
    with pytest.raises(Damaged) as error:
        for stretch in lines.read(opened(tmp_path), 0):
            found += stretch.data.split(b"\n")[:-1]
    assert found == whole[: error.value.offset]
    assert 0 < len(found) < len(whole)
