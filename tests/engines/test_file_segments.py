"""Segments: how they are named, sealed and chained, and that readers cross them unnoticed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from conformance import batch, everything
from filelogs import FileLog
from hosts import FaultyHost, SteadyHost

from queuectl.engines.file.segments import Segments
from queuectl.events.log import Batch
from queuectl.events.vocabulary import JobEnqueued


def headers(directory: Path) -> list[dict[str, object]]:
    files = sorted(directory.glob("*.jsonl"))
    return [json.loads(file.read_bytes().split(b"\n")[0]) for file in files]


def test_each_segment_names_the_one_before_it_and_its_sha256(
    tmp_path: Path, host: SteadyHost
) -> None:
    log = FileLog(str(tmp_path), host, segment_bytes_max=1000)
    for number in range(40):
        log.append([batch(f"job{number}", f"job{number}b")])
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 5
    previous_crc, previous_sha256, identity = "00000000", "", headers(tmp_path)[0]["log"]
    for file in files:
        lines = file.read_bytes().split(b"\n")
        header = json.loads(lines[0])
        first = json.loads(lines[1])
        assert header["type"] == "log.segment"
        assert header.get("previous_sha256", "") == previous_sha256
        assert header.get("previous_crc", "00000000") == previous_crc
        assert header["log"] == identity
        assert int(file.stem) == header.get("first", 1) == first["offset"]
        # A batch is never spread over two segments.
        assert "more" not in json.loads(lines[-2])
        previous_crc = json.loads(lines[-2])["crc"]
        previous_sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(everything(FileLog(str(tmp_path), host))) == 80


def test_two_logs_have_two_identities(tmp_path: Path, host: SteadyHost) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        FileLog(str(tmp_path / name), host).append([batch("job")])
    assert headers(tmp_path / "a")[0]["log"] != headers(tmp_path / "b")[0]["log"]


def test_another_handle_follows_a_rotation(tmp_path: Path, host: SteadyHost) -> None:
    reader = FileLog(str(tmp_path), host)
    writer = FileLog(str(tmp_path), host, segment_bytes_max=300)
    seen = []
    for number in range(20):
        writer.append([batch(f"job{number}")])
        seen += everything(reader, reader.head() - 1)
    assert seen == everything(writer)
    assert reader.append([batch("mine", mine=0)])[0].offset == 21


def test_a_sealed_segment_keeps_no_blocks_set_aside(tmp_path: Path, host: SteadyHost) -> None:
    log = FileLog(str(tmp_path), host, segment_bytes_max=100)
    log.append([batch("a")])
    log.append([batch("b")])
    sealed = sorted(tmp_path.glob("*.jsonl"))[0].stat()
    assert sealed.st_blocks * 512 < sealed.st_size + 64 * 1024


def test_readings_of_one_handle_do_not_disturb_each_other(tmp_path: Path, host: SteadyHost) -> None:
    # Segments longer than what is read at a time, so that a reading stops inside one.
    log = FileLog(str(tmp_path), host, segment_bytes_max=600_000)
    for _ in range(100):
        log.append([Batch([JobEnqueued(job="a", command="x" * 15_000)])])
    assert len(list(tmp_path.glob("*.jsonl"))) > 1
    expected = everything(FileLog(str(tmp_path), host))
    readings = [log.read(), log.read(99), log.read()]
    results: list[list[object]] = [[], [], []]
    while any(readings):
        for number, reading in enumerate(readings):
            piece = next(reading, None)
            results[number] += piece or []
        if piece is None:
            break
    assert results == [expected, expected[99:], expected]


def test_files_are_private_whatever_the_umask(tmp_path: Path, host: SteadyHost) -> None:
    before = os.umask(0)
    try:
        log = FileLog(str(tmp_path), host, segment_bytes_max=1)
        log.append([batch("a")])
        log.append([batch("b")])
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_a_big_file_is_synced_a_piece_at_a_time(tmp_path: Path) -> None:
    # Whoever appends beside waits for all that one sync has to store.
    host = FaultyHost()
    segments = Segments(str(tmp_path), host)
    assert segments.put(1, [b"x" * (1 << 19)] * 5) == 5 << 19
    written = [call for call in host.calls if call in ("write", "fdatasync", "fsync", "rename")]
    two = ["write"] * 2
    assert written == [*two, "fdatasync", *two, "fdatasync", "write", "fsync", "rename"]
