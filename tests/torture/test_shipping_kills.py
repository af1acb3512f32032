"""`ship run` killed without end while others append: files have every event exactly once, and a
receiver that fails half the time gets every event."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from killing import kill_without_end
from programs import Shell
from receivers import cuts, cuts_in_the_answer, receiving, says, take, takes_and_cuts, takes_twice
from shipping_logs import contents, expected, shipped
from tallies import Tally

from queuectl.engines.file import FileLog
from queuectl.engines.file.verify import verify

pytestmark = pytest.mark.torture

KILLS = 200
BAD = (says(500), says(503), cuts, takes_and_cuts, cuts_in_the_answer, takes_twice)


def test_killed_at_any_moment(
    ram: Path, tally: Tally, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shell = Shell(ram)
    shell.add("true")
    answering = random.Random(chance.random())
    with receiving() as receiver:
        receiver.choose = lambda: answering.choice(BAD) if answering.random() < 0.5 else take
        shell.ok("ship", "add", "a", "--to", "jsonl:a", "--file-events", "700")
        shell.ok("ship", "add", "b", "--to", "jsonl:b", "--file-events", "700")
        shell.ok("ship", "add", "c", "--to", "jsonl:c", "--file-bytes", "10k")
        shell.ok("ship", "add", "web", "--to", receiver.url, "--send-events", "100")
        head = kill_without_end(shell.directory, chance, KILLS, "a", "b", "c")
        receiver.choose = lambda: take
        shell.ok("ship", "run", "web", "--once")
        assert receiver.offsets() == [*range(1, head + 1)]
        tally("requests", len(receiver.requests))
    log = FileLog(str(shell.data / "log"))
    assert verify(log).head == head
    events = expected(log)
    log.close()
    for name in "abc":
        assert shipped(shell.directory / name) == events
    assert contents(shell.directory / "a") == contents(shell.directory / "b")
    tally("kills", KILLS)
    tally("events", head)
    shell.close()
