"""A shell for every test, in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Untroubled
from programs import Shell

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch

SEGMENT_BYTES = 20_000


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**FileLog.__init__.__kwdefaults__, "segment_bytes_max": SEGMENT_BYTES}  # type: ignore[dict-item]
    monkeypatch.setattr(FileLog.__init__, "__kwdefaults__", defaults)


@pytest.fixture
def old(shell: Shell, small_segments: None) -> Shell:
    """A queue with a past: most of its jobs have been purged."""
    host = Untroubled()
    with Queue(shell.data, host=host) as queue:
        queue.set("retain-completed", "0")
        for worker in ("w1", "w2"):
            facts = [v.WorkerStarted(worker=worker), v.WorkerStopped(worker=worker)]
            queue.transact(lambda facts=facts: [Batch([fact]) for fact in facts])
        for start in range(0, 200, 10):
            ids = [f"job{n}" for n in range(start, start + 10)]
            queue.enqueue_many([{"id": id, "command": f"true {id}"} for id in ids])
            host.advance(1)
            claims = queue.turn([], worker="w3", slots=range(1, 11))
            host.advance(1)
            ended = [
                c.Finish(job=claim.job, token=claim.offset, now=queue.now(), exit_code=0, run_ms=9)
                for claim in claims
                if isinstance(claim, v.JobClaimed)
            ]
            queue.turn(ended, worker="w3", slots=[])
            queue.prune(*ids[:-1], reason="old")
    return shell


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue in which something of everything has happened; only to be read."""
    shell = Shell(tmp_path_factory.mktemp("played"))
    shell.ok("config", "set", "max-retries", "2")
    shell.ok("config", "set", "backoff", "fixed")
    shell.ok("config", "set", "backoff-base", "0.01")
    shell.add(
        "--id", "good", "--tag", "a", "--env", "SECRET=hidden", "-c", "echo out; echo err >&2"
    )
    shell.add("--id", "bad", "--queue", "mail", "-c", "echo run $QUEUECTL_ATTEMPT; exit 3")
    shell.add("--id", "evil", "-c", EVIL)
    shell.drain()
    shell.add("--id", "later", "--delay", "1h", "--tag", "a", "--tag", "b", "true")
    shell.add("--id", "gone", "--delay", "1h", "true")
    shell.ok("cancel", "gone", "--reason", "not needed")
    yield shell
    shell.close()


EVIL = r"printf 'plain \033[31mred\007 \302\233 \342\200\256turned\n' # " + "\x1b[31m\u202e\x9b"
"""A job whose command and output would both command a terminal."""
