"""A lock file that somebody deletes while processes have it open: nobody is alone any more, and
yet nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conformance import batch, everything, jobs_of
from filelogs import FileLog
from hosts import SteadyHost

from queuectl.engines.file.verify import verify
from queuectl.errors import Damaged, QueuectlError

_WRITER = """
import sys
from queuectl.engines.file import FileLog
from queuectl.events.log import Batch
from queuectl.events.vocabulary import JobEnqueued

log = FileLog(sys.argv[1], segment_bytes_max=5000)
for round in sys.stdin:
    for number in range(5):
        log.append([Batch([JobEnqueued(job=f"{sys.argv[2]}.{round.strip()}.{number}")])])
    print("appended", flush=True)
"""


@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20])
def test_two_who_had_it_open_go_on_one_after_the_other(
    tmp_path: Path, host: SteadyHost, segment_bytes_max: int
) -> None:
    one, two, reader = (
        FileLog(str(tmp_path), host, segment_bytes_max=segment_bytes_max) for _ in range(3)
    )
    jobs = []
    for number in range(4):
        for name, log in (("one", one), ("two", two), ("one again", one)):
            jobs.append(f"{name}.{number}")
            log.append([batch(jobs[-1])])
            assert jobs_of(everything(reader)) == jobs
            # Also when the other has not looked since the time before.
            if number != 2:
                (tmp_path / "LOCK").unlink()
            assert jobs_of(everything(reader)) == jobs
    for log in (one, two, reader):
        assert jobs_of(everything(log)) == jobs
        assert verify(log).events == len(jobs)


def test_two_processes_go_on_after_each_time_that_it_is_deleted(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(2)
    ]
    try:
        for round in range(10):
            for writer in writers:
                assert writer.stdin
                writer.stdin.write(f"{round}\n")
                writer.stdin.flush()
            for writer in writers:
                assert writer.stdout and writer.stdout.readline() == "appended\n"
            (tmp_path / "LOCK").unlink()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    log = FileLog(str(tmp_path))
    expected = [f"{w}.{round}.{n}" for w in range(2) for round in range(10) for n in range(5)]
    assert sorted(jobs_of(everything(log))) == expected
    assert verify(log).events == len(expected)


def test_deleted_during_an_append_it_acknowledges_nothing(tmp_path: Path) -> None:
    class Deleting(SteadyHost):
        armed = False

        def fdatasync(self, fd: int) -> None:  # type: ignore[override]
            super().fdatasync(fd)
            if self.armed:
                (tmp_path / "LOCK").unlink()

    host = Deleting()
    log = FileLog(str(tmp_path), host)
    log.append([batch("a")])
    host.armed = True
    with pytest.raises(QueuectlError, match="deleted during an append"):
        log.append([batch("b")])
    host.armed = False
    # It was whole, and nobody else had come: so it counts, and is read before the next one.
    log.append([batch("c")])
    assert jobs_of(everything(log)) == ["a", "b", "c"]


def test_a_log_that_was_deleted_with_it_is_not_begun_anew(tmp_path: Path, host: SteadyHost) -> None:
    log = FileLog(str(tmp_path), host)
    log.append([batch("a", "b")])
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(Damaged, match="events up to 2 were there and are gone"):
        everything(log)
    with pytest.raises(Damaged):
        log.append([batch("c")])
    assert not list(tmp_path.glob("*.jsonl"))
    # Nor is one that somebody else has begun there taken for the same.
    FileLog(str(tmp_path), host).append([batch("d")])
    with pytest.raises(Damaged):
        log.append([batch("c")])
