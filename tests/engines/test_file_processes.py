"""Four real processes at one log: nothing lost, nothing twice, one order for all."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from conformance import everything, jobs_of
from filelogs import FileLog

from queuectl.engines.file.verify import verify

WRITERS = 4
APPENDS = 40
_WRITER = """
import sys
from queuectl.engines.file import FileLog
from queuectl.errors import Conflict
from queuectl.events.log import Batch
from queuectl.events.vocabulary import JobEnqueued

directory, name, appends = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = FileLog(directory, segment_bytes_max=2000)
print("ready", flush=True)
sys.stdin.readline()
for number in range(appends):
    jobs = [JobEnqueued(job=f"{name}.{number}.{part}") for part in range(number % 3 + 1)]
    events = log.append([Batch(jobs)])
    print(*[event.offset for event in events], flush=True)
# One job that all of them want: exactly one gets it.
try:
    log.append([Batch([JobEnqueued(job="wanted")], {"wanted": 0})])
    print("won", flush=True)
except Conflict:
    print("lost", flush=True)
"""


def test_four_processes_append_at_once(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), f"w{number}", str(APPENDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for number in range(WRITERS)
    ]
    try:
        for writer in writers:
            assert writer.stdout and writer.stdout.readline() == "ready\n"
        answers = [writer.communicate("go\n", timeout=50)[0].splitlines() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * WRITERS

    log = FileLog(str(tmp_path))
    events = everything(log)
    assert all(low.offset < high.offset for low, high in pairwise(events))
    assert all(low.at <= high.at for low, high in pairwise(events))
    at = {event.offset: event for event in events}
    for number, answer in enumerate(answers):
        acknowledged = [[int(offset) for offset in line.split()] for line in answer[:-1]]
        assert len(acknowledged) == APPENDS
        for append, offsets in enumerate(acknowledged):
            # A batch stands together, as it was acknowledged.
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
            jobs = jobs_of([at[offset] for offset in offsets])
            assert jobs == [f"w{number}.{append}.{part}" for part in range(len(offsets))]
    assert len(events) == WRITERS * sum(number % 3 + 1 for number in range(APPENDS)) + 1
    assert sorted(answer[-1] for answer in answers) == ["lost"] * (WRITERS - 1) + ["won"]
    assert verify(log).segments > 3
