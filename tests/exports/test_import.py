"""A queue that was exported and imported is the same queue; what was altered or cut makes none."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from programs import Shell, tree
from workers import eventually

from queuectl import Queue
from queuectl.engines.file import FileLog, founding
from queuectl.engines.file.verify import verify
from queuectl.events import vocabulary as v
from queuectl.events.exchange import Line
from queuectl.projections.audit import Audit, compare
from queuectl.projections.state import State


def exported(shell: Shell) -> Path:
    shell.ok("export", "--to", "a.jsonl", "--show-env")
    return shell.directory / "a.jsonl"


def imported(shell: Shell, place: str = "other") -> Path:
    shell.ok("--data", place, "import", "a.jsonl")
    return shell.directory / place


def rechained(lines: list[bytes]) -> bytes:
    """Lines with checksums made right, as somebody could who wants to deceive."""
    crc = 0
    data = b""
    for line in lines:
        crc = zlib.crc32(line[16:], crc)
        data += b'{"crc":"%08x' % crc + line[16:] + b"\n"
    return data


def test_it_is_the_same_queue(played: Shell) -> None:
    exported(played)
    other = imported(played)
    with Queue(played.data) as ours, Queue(other) as theirs:
        events, copied = (all_of(queue) for queue in (ours, theirs))
        assert copied[: len(events)] == events
        for job in ours.jobs():
            told = ours.history(job.id)
            assert theirs.history(job.id)[: len(told)] == told
        assert ours.identity() != theirs.identity()
        assert theirs.state.workers.rows == {}
        assert not [job for job in theirs.jobs() if job.held]
        assert all(
            isinstance(event, v.JobReleased | v.WorkerStopped) for event in copied[len(events) :]
        )
        known = State()
        known.compactions = ours.log.compactions()
        for pieces in (events, copied[len(events) :]):
            known.apply(pieces)
        assert compare(known, theirs.state) == ""


def test_its_log_verifies_and_goes_on(played: Shell) -> None:
    exported(played)
    other = imported(played)
    with Queue(other) as queue:
        log: Any = queue.log
        state = queue.state
        head = state.offset
        verify(log, lambda: Audit(state, log.compactions()))
        queue.enqueue("true", id="new")
        assert queue.get("new").offset == head + 1


def all_of(queue: Queue) -> list[v.Event]:
    return [event for events in queue.events() for event in events]


def test_it_gives_the_same_export_again(lively: Shell) -> None:
    first = exported(lively).read_bytes()
    imported(lively)
    lively.ok("--data", "other", "export", "--to", "b.jsonl", "--show-env")
    second = (lively.directory / "b.jsonl").read_bytes()
    # But for the checksums, which begin with the identity of the log.
    bodies = [[line[16:] for line in data.splitlines()[1:]] for data in (first, second)]
    assert bodies[0] == bodies[1][: len(bodies[0])]


def test_a_log_of_which_originals_are_gone_is_imported_as_it_is(golden: Shell) -> None:
    for path in (golden.data / "archive").iterdir():
        path.unlink()
    answer = golden.ok("export", "--to", "a.jsonl", "--show-env")
    assert "of events 1 to 107 only what the log has kept" in answer.err
    other = imported(golden)
    with Queue(golden.data) as ours, Queue(other) as theirs:
        assert list(ours.jobs()) == list(theirs.jobs())
        log: Any = theirs.log
        state = theirs.state
        verify(log, lambda: Audit(state, log.compactions()))


def test_it_can_come_through_a_pipe(lively: Shell) -> None:
    done = lively.pipeline(
        "queuectl export --to - --format jsonl --show-env | queuectl --data other import -"
    )
    assert done.returncode == 0, done.stderr
    with Queue(lively.data) as ours, Queue(lively.directory / "other") as theirs:
        events = all_of(ours)
        assert all_of(theirs)[: len(events)] == events


def test_workers_of_the_first_queue_are_left_alone_and_what_they_run_runs_here_too(
    lively: Shell,
) -> None:
    go = lively.directory / "go"
    id = lively.add(f"echo on; until [ -e '{go}' ]; do sleep 0.01; done; echo done")
    worker = lively.worker("-c", "1", "--queue", "default")
    lively.ok("cancel", "--tag", "a")
    eventually(lambda: lively("logs", id).out == "on\n")
    exported(lively)
    imported(lively)
    theirs = lively.start("--data", "other", "worker", "start", "--burst=now", "-c", "9")
    eventually(lambda: lively("--data", "other", "logs", id).out == "on\n")
    assert lively.state(id) == "processing"
    go.touch()
    assert theirs.ended().code == 0
    lively.reaches(id, "completed")
    assert [run["outcome"] for run in lively.job(id)["attempts_made"]] == ["completed"]
    runs = lively.ok("--data", "other", "show", id, "--json").json["attempts_made"]
    assert [run["outcome"] for run in runs] == ["released", "completed"]
    worker.signal()
    assert worker.ended().code == 0


def test_segments_end_with_a_batch_and_know_each_other(lively: Shell, tmp_path: Path) -> None:
    with Queue(lively.data) as queue:
        events = [event for events in queue.events() for event in events]
    data = b"".join(
        line
        for path in sorted((lively.data / "log").glob("*.jsonl"))
        for line in path.read_bytes().splitlines(keepends=True)[1:]
    )
    lines = [Line(line[16:], event) for line, event in zip(data.splitlines(), events, strict=True)]
    directory = tmp_path / "founded"
    directory.mkdir()
    with Queue(lively.data) as queue:
        head = founding.found(str(directory), lines, queue.host, bytes_max=500)
    log = FileLog(str(directory))
    assert head == events[-1].offset == verify(log).head
    assert len(list(directory.glob("*.jsonl"))) > 10
    assert [event for events in log.read() for event in events] == events
    log.close()


# ---- what makes none


def refused(shell: Shell, data: bytes, code: int = 7) -> str:
    """What is said of a file with these bytes, which leaves nothing behind."""
    (shell.directory / "bad.jsonl").write_bytes(data)
    before = os.listdir(shell.directory)
    answer = shell("--data", "none", "import", "bad.jsonl")
    assert (answer.code, answer.out) == (code, ""), answer
    assert os.listdir(shell.directory) == before
    assert len(answer.err.splitlines()) == 1
    assert "bad.jsonl, " in answer.err
    return answer.err


def test_every_line_that_is_cut_off_taken_out_repeated_or_moved_is_missed(lively: Shell) -> None:
    lines = exported(lively).read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines)):
        before, line, after = lines[:number], lines[number], lines[number + 1 :]
        refused(lively, b"".join(before), 7)
        if after:
            assert f"line {number + 1}:" in refused(lively, b"".join(before + after))
        assert f"line {number + 2}:" in refused(lively, b"".join([*before, line, line, *after]))
        moved = [*before[:-1], line, before[-1], *after]
        assert f"line {number}:" in refused(lively, b"".join(moved), 2 if number == 1 else 7)


def test_every_changed_byte_is_found(lively: Shell) -> None:
    lines = exported(lively).read_bytes().splitlines(keepends=True)
    for number in (2, len(lines) // 2, len(lines)):
        line = lines[number - 1]
        for place in range(0, len(line), 7):
            changed = bytearray(line)
            changed[place] ^= 1
            said = refused(lively, b"".join([*lines[: number - 1], changed, *lines[number:]]))
            assert f"line {number}:" in said


def test_a_file_that_ends_inside_a_line_is_cut_short(lively: Shell) -> None:
    data = exported(lively).read_bytes()
    last = len(data.splitlines())
    for cut in (1, 2, 40):
        assert f"line {last}: it is cut short" in refused(lively, data[:-cut])


def forged(lines: list[bytes], number: int, old: bytes, new: bytes) -> bytes:
    assert old in lines[number]
    return rechained([*lines[:number], lines[number].replace(old, new, 1), *lines[number + 1 :]])


def test_what_cannot_have_happened_is_refused_though_its_checksums_are_right(
    lively: Shell,
) -> None:
    lines = exported(lively).read_bytes().splitlines()
    number = next(n for n, line in enumerate(lines) if b'"type":"job.completed"' in line)
    job = json.loads(lines[number])["job"].encode()
    said = refused(lively, forged(lines, number, b'"job":"%s"' % job, b'"job":"other"'))
    assert f"job {job.decode()}" in said or "other" in said
    said = refused(lively, forged(lines, number, b'"attempt":1', b'"attempt":2'))
    assert f"line {number + 1}: job.completed of job {job.decode()} cannot have happened" in said
    said = refused(lively, forged(lines, number, b'"at":"2026', b'"at":"2025'))
    assert f"line {number + 1}: it does not come after" in said
    said = refused(lively, forged(lines, number, b"job.completed", b"job.complated"), 1)
    assert "newer" in said


def test_only_what_was_exported_whole_is_imported(lively: Shell) -> None:
    lively.ok("export", "--to", "part.jsonl", "--show-env", "--since", "2026-01-01T00:00:01Z")
    part = (lively.directory / "part.jsonl").read_bytes()
    assert "line 1: only a part was exported (--since, --until)" in refused(lively, part, 2)
    lively.ok("export", "--to", "hidden.jsonl")
    hidden = (lively.directory / "hidden.jsonl").read_bytes()
    assert "--show-env" in refused(lively, hidden, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"not json\n",
        b"\xff\xfe\n",
        b'{"type":"log.segment"}\n',
        b"x" * 3_000_000,
    ],
    ids=["empty", "blank", "object", "text", "binary", "segment", "endless"],
)
def test_another_file_is_no_export(shell: Shell, data: bytes) -> None:
    assert "line 1: no export begins so" in refused(shell, data, 2)


def test_a_newer_format_is_refused(lively: Shell) -> None:
    lines = exported(lively).read_bytes().splitlines()
    assert "newer" in refused(lively, forged(lines, 0, b'"format":1', b'"format":2'), 1)


def test_an_export_of_a_damaged_log_ends_before_its_end(lively: Shell) -> None:
    path = sorted((lively.data / "log").glob("*.jsonl"))[2]
    path.write_bytes(path.read_bytes().replace(b'"type"', b'"tipe"', 3))
    assert lively("export", "--to", "a.jsonl", "--show-env").code == 6
    said = refused(lively, (lively.directory / "a.jsonl").read_bytes())
    assert "the log was damaged there" in said


def test_it_is_imported_only_where_nothing_is(lively: Shell) -> None:
    exported(lively)
    before = tree(lively.data)
    answer = lively("import", "a.jsonl")
    assert (answer.code, tree(lively.data)) == (4, before)
    other = lively.directory / "other"
    other.mkdir(mode=0o700)
    (other / "note").write_text("mine")
    answer = lively("--data", "other", "import", "a.jsonl")
    assert (answer.code, os.listdir(other)) == (4, ["note"])
    assert "note" in answer.err
    (other / "note").unlink()
    lively.ok("--data", "other", "import", "a.jsonl")


def test_an_empty_directory_stays_empty_where_it_was_refused(shell: Shell) -> None:
    (shell.directory / "bad.jsonl").write_bytes(b"{}\n")
    place = shell.directory / "other"
    place.mkdir(mode=0o700)
    assert shell("--data", "other", "import", "bad.jsonl").code == 2
    assert os.listdir(place) == []
    place.chmod(0o777)
    assert "chmod 700" in shell("--data", "other", "import", "bad.jsonl").err
    assert shell("import", "nowhere.jsonl").code == 3
    assert os.listdir(place) == []
