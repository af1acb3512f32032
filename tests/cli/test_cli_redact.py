"""`log redact`, as somebody uses it who has put a secret where it does not belong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from programs import Shell, tree
from test_cli_refusals import refused

from queuectl.engines.file import FileLog

SECRET = "hunter2-XYZZY"


def holders(shell: Shell) -> list[str]:
    """What `grep -r` finds in the data directory, in compressed files, too."""
    return sorted(
        str(path.relative_to(shell.data))
        for path in shell.data.rglob("*")
        if path.is_file() and SECRET.encode() in contents(path)
    )


def contents(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**FileLog.__init__.__kwdefaults__, "segment_bytes_max": 2000}  # type: ignore[dict-item]
    monkeypatch.setattr(FileLog.__init__, "__kwdefaults__", defaults)


def test_grep_finds_nothing_afterwards(shell: Shell) -> None:
    command = f"echo {SECRET}; echo $TOKEN >&2; exit 3"
    shell.add("--id", "job1", "--max-retries", "1", "--env", f"TOKEN={SECRET}", "-c", command)
    shell.add("--id", "job2", "true")
    shell.drain()
    # A repair keeps what it changes as it was.
    (segment,) = (shell.data / "log").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"job2"', b'"jub2"', 1))
    shell.ok("log", "repair", "--yes")
    for number in range(12):
        shell.add("--id", f"other{number}", "--delay", "1h", "true")
    shell.ok("cancel", "other0")
    shell.ok("dlq", "purge", "job1", "--reason", f"had {SECRET}")
    for number in range(12, 20):
        shell.add("--id", f"other{number}", "--delay", "1h", "true")
    shell.ok("log", "compact")
    anchor = shell.ok("log", "verify").out
    kinds = {path.split("/")[0] for path in holders(shell)}
    assert kinds == {"archive", "log"}
    fields = ("--field", "command", "--field", "env", "--field", "error", "--field", "reason")
    answer = shell.ok("log", "redact", "job1", *fields, "--reason", "leaked")
    assert [line.split("  ")[1] for line in answer.lines] == [
        "job.enqueued: command, env",
        "job.failed: error",
        "job.dead: error",
        "job.pruned: reason",
    ]
    asides = [path for path in holders(shell) if path.startswith("log/aside-")]
    assert asides
    assert holders(shell) == asides
    assert all(str(shell.data / "log" / Path(path).parts[1]) in answer.err for path in asides)
    verified = shell.ok("log", "verify", "--anchor", anchor)
    assert "job job1: command, env, error, reason of events " in verified.err
    assert ": leaked" in verified.err
    document = shell.ok("log", "verify", "--json").json
    assert document["unfinished"] == []
    assert [one["job"] for one in document["redactions"]] == ["job1"]
    history = shell.history("job1")
    assert history[0]["command"] == "[redacted]" and history[0]["redacted"] == ["command", "env"]
    assert "leaked" in shell.ok("history", "job1").out


def test_what_would_go_is_told_first(shell: Shell) -> None:
    shell.add("--id", "job1", "--env", f"TOKEN={SECRET}", "true")
    shell.ok("cancel", "job1")
    before = tree(shell.directory)
    would = shell.ok("log", "redact", "job1", "--field", "env", "--field", "argv", "--dry-run")
    assert would.lines == ["event 1  job.enqueued: command, env"]
    assert "nothing was changed" in would.err
    document = shell.ok("log", "redact", "job1", "--field", "env", "--dry-run", "--json").json
    assert document["events"] == [{"offset": 1, "type": "job.enqueued", "fields": ["env"]}]
    assert (document["redacted"], document["files"]) == (False, [])
    assert tree(shell.directory) == before
    assert shell.terminal("log", "redact", "job1", "--field", "env", keys=b"n\n").code == 0
    assert tree(shell.directory) == before
    asked = shell.terminal("log", "redact", "job1", "--field", "env", keys=b"y\n")
    assert "redact 1 event of job job1 for good?" in asked.out
    assert holders(shell) == []
    again = shell.ok("log", "redact", "job1", "--field", "env")
    assert (again.out, "has such a value" in again.err) == ("", True)


def test_a_worker_goes_on_meanwhile_and_forgets_it_too(shell: Shell) -> None:
    worker = shell.worker()
    shell.add("--id", "job1", "-c", f"echo {SECRET}")
    shell.reaches("job1", "completed")
    answer = shell.ok("log", "redact", "job1", "--field", "command")
    assert "in 2 files, may have the values, too: --output removes that" in answer.err
    assert {path.split("/")[0] for path in holders(shell)} == {"output"}
    answer = shell.ok("log", "redact", "job1", "--field", "command", "--output")
    assert "removed 2 files with what it has printed" in answer.err
    assert holders(shell) == []
    shell.add("--id", "job2", "true")
    shell.reaches("job2", "completed")
    worker.signal()
    assert worker.ended().code == 0
    assert holders(shell) == []
    assert shell.ok("log", "verify")


def test_what_cannot_be_is_refused(shell: Shell) -> None:
    shell.add("--id", "job1", "-c", f"echo {SECRET}")
    before = tree(shell.directory)
    refused(shell("log", "redact", "job1"), 2, "--field")
    refused(shell("log", "redact", "job1", "--field", "id"), 2, "id")
    refused(shell("log", "redact", "nobody", "--field", "env"), 3, "no job")
    refused(shell("log", "redact", "job1", "--field", "command"), 4, "needs its command")
    assert tree(shell.directory) == before
    shell.ok("cancel", "job1")
    shell.ok("log", "redact", "job1", "--field", "command")
    refused(shell("retry", "job1"), 4, "without what was redacted")
    worker = shell.worker()
    shell.add("--id", "long", "-c", f"echo {SECRET}; sleep 60")
    shell.reaches("long", "processing")
    refused(shell("log", "redact", "long", "--field", "tags", "--output"), 4, "is running")
    worker.signal()
    worker.signal()
