"""Damage: whatever bit or line is touched, it is found, and never a wrong state in silence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from zlib import crc32

import pytest
from conformance import batch, everything, jobs_of
from filelogs import FileLog
from hosts import OtherBoot, SteadyHost
from msgspec.structs import replace

from queuectl.engines.file.verify import verify
from queuectl.errors import Damaged, Newer
from queuectl.events.codec import decode_header, frame_header
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, JobCancelled


def write(directory: Path, host: SteadyHost, segment_bytes_max: int = 1 << 20) -> list[Path]:
    log = FileLog(str(directory), host, segment_bytes_max=segment_bytes_max)
    log.append([batch("a")])
    log.append([batch("b", "c")])
    log.append([Batch([JobCancelled(job="a")]), batch("d")])
    log.close()
    return sorted(directory.glob("*.jsonl"))


def readable(log: FileLog) -> tuple[list[Event], Exception | None]:
    """What can be read, and what stopped the reading."""
    events: list[Event] = []
    try:
        for piece in log.read():
            events += piece
    except (Damaged, Newer) as error:
        return events, error
    return events, None


@pytest.mark.parametrize("machine", [SteadyHost, OtherBoot], ids=["same boot", "after a restart"])
def test_every_bit_flipped_is_found_or_changes_nothing(
    tmp_path: Path, host: SteadyHost, machine: type
) -> None:
    log = FileLog(str(tmp_path), host)
    log.append([batch("a")])
    log.append([batch("b", "c")])
    (segment,) = tmp_path.glob("*.jsonl")
    data = segment.read_bytes()
    true = everything(log)
    after = machine()
    fd = os.open(segment, os.O_RDWR)
    for number in range(len(data) * 8):
        position, bit = divmod(number, 8)
        # In place: to write the whole file anew costs a hundred times as much.
        os.pwrite(fd, bytes([data[position] ^ 1 << bit]), position)
        log = FileLog(str(tmp_path), after)
        events, error = readable(log)
        assert events == true[: len(events)], number
        if error is None:
            # Only the newline at the very end: without it the last batch is a tear, which after a
            # restart nobody can tell from an append that was never acknowledged.
            assert (machine, position) == (OtherBoot, len(data) - 1), number
            assert len(events) == 1, number
        elif machine is OtherBoot:
            with pytest.raises((Damaged, Newer)):
                log.append([batch("x")])
        os.pwrite(fd, data[position : position + 1], position)
    os.close(fd)
    assert segment.read_bytes() == data


def delete_line(lines: list[bytes], index: int) -> None:
    del lines[index]


def repeat_line(lines: list[bytes], index: int) -> None:
    lines.insert(index, lines[index])


def swap_lines(lines: list[bytes], index: int) -> None:
    lines[index - 1], lines[index] = lines[index], lines[index - 1]


def change_case(lines: list[bytes], index: int) -> None:
    start, crc, rest = lines[index][:8], lines[index][8:16], lines[index][16:]
    lines[index] = start + (crc.upper() if crc != crc.upper() else b"ABCDEF01") + rest


@pytest.mark.parametrize("edit", [delete_line, repeat_line, swap_lines, change_case])
@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_lines_that_are_not_where_they_were(
    tmp_path: Path, host: SteadyHost, edit: object, index: int
) -> None:
    (segment,) = write(tmp_path, host)
    true = everything(FileLog(str(tmp_path), host))
    lines = segment.read_bytes().splitlines(keepends=True)
    edit(lines, index)  # type: ignore[operator]
    segment.write_bytes(b"".join(lines))
    events, error = readable(FileLog(str(tmp_path), host))
    assert isinstance(error, Damaged)
    assert events == true[: len(events)]
    with pytest.raises(Damaged):
        verify(FileLog(str(tmp_path), host))


@pytest.mark.parametrize("machine", [SteadyHost, OtherBoot], ids=["same boot", "after a restart"])
def test_damage_is_told_with_file_position_and_offset(
    tmp_path: Path, host: SteadyHost, machine: type
) -> None:
    (segment,) = write(tmp_path, host)
    good = segment.read_bytes()
    lines = good.splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b"true", b"rm *")
    bad = b"".join(lines)
    segment.write_bytes(bad)
    after = machine()
    if machine is SteadyHost:
        (tmp_path / "LOCK").unlink()
    for _ in range(2):
        log = FileLog(str(tmp_path), after)
        # Everything before it can be read, and each reading that comes so far hears of it.
        for start in (0, 4):
            events = []
            with pytest.raises(Damaged) as raised:
                for piece in log.read(start):
                    events += piece
            assert [event.offset for event in events] == list(range(start + 1, 5))
            assert raised.value.file == str(segment)
            assert raised.value.position == len(bad) - len(lines[-1])
            assert raised.value.offset == 4
            assert raised.value.exit_code == 7
            assert str(segment) in str(raised.value)
        with pytest.raises(Damaged):
            log.append([batch("x")])
        with pytest.raises(Damaged):
            FileLog(str(tmp_path), after).append([batch("x")])
    assert segment.read_bytes() == bad, "nothing was appended"
    assert list(tmp_path.glob("cut-*")) == []


def test_it_is_told_where_it_is_to_who_asks_for_what_comes_later(
    tmp_path: Path, host: SteadyHost
) -> None:
    (segment,) = write(tmp_path, host)
    lines = segment.read_bytes().splitlines(keepends=True)
    for index in range(1, len(lines) - 1):
        before, line, after = b"".join(lines[:index]), lines[index], b"".join(lines[index + 1 :])
        segment.write_bytes(before + line.replace(b'"type"', b'"tipe"') + after)
        with pytest.raises(Damaged) as raised:
            list(FileLog(str(tmp_path), host).read(len(lines) - 2))
        assert (raised.value.position, raised.value.offset) == (len(before), index - 1)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_segment_is_found(tmp_path: Path, host: SteadyHost, missing: int) -> None:
    segments = write(tmp_path, host, segment_bytes_max=1)
    assert len(segments) == 3
    true = everything(FileLog(str(tmp_path), host))
    segments[missing].unlink()
    log = FileLog(str(tmp_path), host)
    events, error = readable(log)
    assert isinstance(error, Damaged)
    assert events == true[: len(events)]
    with pytest.raises(Damaged):
        verify(FileLog(str(tmp_path), host))


def test_a_segment_of_another_log_is_found(tmp_path: Path, host: SteadyHost) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here = write(tmp_path / "a", host, segment_bytes_max=1)
    there = write(tmp_path / "b", host, segment_bytes_max=1)
    shutil.copy(there[1], here[1])
    events, error = readable(FileLog(str(tmp_path / "a"), host))
    assert jobs_of(events) == ["a"]
    assert isinstance(error, Damaged)


def test_a_sealed_segment_that_is_cut_is_found(tmp_path: Path, host: SteadyHost) -> None:
    segments = write(tmp_path, host, segment_bytes_max=1)
    data = segments[1].read_bytes()
    for cut in range(len(data)):
        segments[1].write_bytes(data[:cut])
        events, error = readable(FileLog(str(tmp_path), host))
        assert isinstance(error, Damaged), cut
        assert jobs_of(events) in (["a"], ["a", "b"])
        assert error.file in (str(segments[1]), str(segments[2]))


def test_a_log_of_a_newer_format_is_refused_with_advice(tmp_path: Path, host: SteadyHost) -> None:
    (segment,) = write(tmp_path, host)
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"format":1', b'"format":3'))
    log = FileLog(str(tmp_path), host)
    with pytest.raises(Newer, match="use a newer queuectl"):
        everything(log)


def test_verify_passes_a_sound_log_and_counts_it(tmp_path: Path, host: SteadyHost) -> None:
    segments = write(tmp_path, host, segment_bytes_max=1)
    report = verify(FileLog(str(tmp_path), host))
    assert (report.segments, report.events, report.head) == (3, 5, 5)
    assert report.size == sum(path.stat().st_size for path in segments)


def test_a_log_without_any_segment_is_not_an_empty_log(tmp_path: Path, host: SteadyHost) -> None:
    (segment,) = write(tmp_path, host)
    segment.unlink()
    with pytest.raises(Damaged):
        everything(FileLog(str(tmp_path), host))
    with pytest.raises(Damaged):
        FileLog(str(tmp_path), host).append([batch("x")])
    assert list(tmp_path.glob("*.jsonl")) == []


def test_verify_finds_a_history_that_was_written_anew(tmp_path: Path, host: SteadyHost) -> None:
    # A forger who makes every checksum of the last segment right again: only the hash of the whole
    # segment before it, which its first line names, gives the forgery away.
    last = write(tmp_path, host, segment_bytes_max=1)[-1]
    header, *lines, _ = last.read_bytes().split(b"\n")
    previous_crc = decode_header(header)[0].previous_crc
    forged = replace(decode_header(header)[0], previous_sha256="0" * 64)
    content, crc = frame_header(forged)
    for line in lines:
        crc = crc32(line[16:], crc)
        content += b'{"crc":"%08x%s\n' % (crc, line[16:])
    last.write_bytes(content)
    (tmp_path / "LOCK").unlink()
    assert previous_crc == forged.previous_crc
    assert len(everything(FileLog(str(tmp_path), host))) == 5
    with pytest.raises(Damaged, match="predecessor"):
        verify(FileLog(str(tmp_path), host))
