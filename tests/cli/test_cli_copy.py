"""`log copy`: the copy is the queue as it was, whole, or there is none."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from unittest import mock

import pytest
from hosts import FaultyHost, Killed
from programs import Answer, Shell, tree

from queuectl import Queue
from queuectl.host import Host
from queuectl.runtime.copying import copy
from queuectl.runtime.sinks import Sinks

LASTING = ("log", "archive", "payloads", "cursors", "sinks", "output")
ANSWERS = (
    ("status", "--json"),
    ("list", "--limit", "0", "--json"),
    ("history", "job3", "--json"),
    ("history", "job9", "--json"),
    ("config", "list", "--json"),
    ("logs", "loud"),
    ("ship", "list", "--json"),
    ("log", "tail", "--lines", "0", "--show-env"),
)


@pytest.fixture
def queue(old: Shell) -> Shell:
    """A queue that has something of everything that lasts."""
    old.ok("log", "compact")
    old.ok("enqueue", "--id", "loud", "-c", "echo out; echo err >&2")
    old.ok("enqueue", "--id", "long", "--delay", "1h", "-c", f"true {'x' * 60_000}")
    old.ok("worker", "start", "--burst=now")
    old.ok("ship", "add", "elsewhere", "--to", f"jsonl:{old.directory}/shipped")
    old.ok("ship", "run", "--once")
    assert all((old.data / name).is_dir() for name in LASTING)
    return old


def names(shell: Shell) -> set[str]:
    return {path.name for path in shell.directory.iterdir()}


def snapshot_of(place: Path) -> int:
    """The event that a start begins with."""
    with Queue(place) as queue:
        return queue.known.since


def test_a_copy_gives_the_same_answers_and_verifies(queue: Shell) -> None:
    before = tree(queue.data)
    answer = queue.ok("log", "copy", "copy")
    assert answer.err.startswith("copied to copy, and verified up to event ")
    assert tree(queue.data) == before
    there = ("--data", "copy")
    assert snapshot_of(queue.directory / "copy") == snapshot_of(queue.data) > 0
    for words in ANSWERS:
        assert queue.ok(*there, *words).out == queue.ok(*words).out, words
    assert queue.ok(*there, "log", "verify").out == answer.out == queue.ok("log", "verify").out
    anchor = answer.out.strip()
    queue.ok("enqueue", "true")
    queue.ok("log", "verify", "--anchor", anchor)
    assert queue.gives_way.called


def test_a_copy_is_private_and_goes_its_own_way(queue: Shell) -> None:
    before = tree(queue.data)
    mask = os.umask(0)
    try:
        queue.ok("log", "copy", "copy")
    finally:
        os.umask(mask)
    for path in [queue.directory / "copy", *(queue.directory / "copy").rglob("*")]:
        assert not path.stat().st_mode & 0o077, path
    there = ("--data", "copy")
    assert queue.ok(*there, "enqueue", "--id", "after", "true").lines == ["after"]
    queue.ok(*there, "worker", "start", "--burst=now")
    assert queue.ok(*there, "show", "after", "--json").json["state"] == "completed"
    queue.ok(*there, "log", "compact")
    queue.ok(*there, "log", "verify")
    assert tree(queue.data) == before
    assert queue("show", "after").code == 3


def test_what_lives_with_its_processes_stays_where_it_is(queue: Shell) -> None:
    (queue.data / "log" / "cut-1-2-3").write_text("kept aside")
    (queue.data / "cursors" / "new-elsewhere-000000000000").write_text("1\n")
    running = queue.worker("--queue", "nobody")
    queue.ok("log", "copy", "copy")
    running.process.send_signal(signal.SIGTERM)
    copied = tree(queue.directory / "copy")
    assert not [name for name in copied if name.startswith("run/")]
    assert {name.split("/")[0] for name in copied} == {*LASTING, "run", "snapshots"}
    assert "snapshots/past" not in copied
    assert not [name for name in copied if "cut-" in name or "new-" in name or "LOCK" in name]


def test_what_was_printed_by_runs_that_the_copy_knows_nothing_of_stays(queue: Shell) -> None:
    # Their tokens will be given to other runs there.
    output = queue.data / "output" / "0" / "loud.999.out"
    output.write_text("later")
    queue.ok("log", "copy", "copy")
    assert not (queue.directory / "copy" / "output" / "0" / output.name).exists()
    assert queue.ok("--data", "copy", "logs", "loud").out == "out\n"


def test_an_empty_queue_is_copied_too(shell: Shell) -> None:
    with Queue(shell.data):
        pass
    assert shell.ok("log", "copy", "copy").out == shell.ok("log", "verify").out
    shell.ok("--data", "copy", "enqueue", "true")


# ---- refused


def test_a_place_that_will_not_do_is_refused(queue: Shell) -> None:
    (queue.directory / "file").touch()
    (queue.directory / "empty").mkdir()
    (queue.directory / "link").symlink_to(queue.data / "log")
    (queue.directory / "dangling").symlink_to("nowhere")
    before, inside = names(queue), tree(queue.data)
    refusals = {
        "file": (4, "file is there already: name another place, or remove it"),
        "empty": (4, "is there already"),
        "dangling": (4, "is there already"),
        "data": (4, "is there already"),
        "data/copy": (2, "is inside of the queue that is to be copied: name another place"),
        "link/copy": (2, "is inside of the queue that is to be copied"),
        "nowhere/copy": (3, f"there is no directory {queue.directory}/nowhere: make it first"),
    }
    for place, (code, why) in refusals.items():
        answer = queue("log", "copy", place)
        assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1), answer
        assert why in answer.err
    assert names(queue) == before
    assert tree(queue.data) == inside
    nowhere = queue("--data", "nowhere", "log", "copy", "copy")
    assert (nowhere.code, nowhere.out) == (3, "")


def spoil_log(data: Path) -> str:
    path = max((data / "log").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"loud", b"LOUD", 1))
    return "log is damaged"


def cut_log(data: Path) -> str:
    path = max((data / "log").glob("*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    return "log is damaged"


def spoil_archive(data: Path) -> str:
    path = min((data / "archive").glob("*.gz"))
    path.write_bytes(path.read_bytes()[:-9])
    return "archive is damaged"


def lose_payload(data: Path) -> str:
    next((data / "payloads").glob("[0-9a-f]*")).unlink()
    return "is gone, and with it a part of a job"


@pytest.mark.parametrize("spoil", [spoil_log, cut_log, spoil_archive, lose_payload])
def test_what_is_not_as_it_was_is_not_copied(queue: Shell, spoil: Callable[[Path], str]) -> None:
    why = spoil(queue.data)
    before = names(queue)
    answer = queue("log", "copy", "copy")
    assert (answer.code, answer.out, answer.err.count("\n")) == (7, "", 1), answer
    assert why in answer.err
    assert f"{queue.data}/" in answer.err, "where it is still to be seen"
    assert names(queue) == before


def on(host: Host, shell: Shell, *words: str) -> Answer:
    with mock.patch("queuectl.queueview.Host", lambda: host):
        return shell(*words)


def test_where_there_is_no_room_nothing_is_begun(queue: Shell) -> None:
    host = FaultyHost()
    before = names(queue)
    with mock.patch.object(host, "free_bytes", lambda path: 1000):
        answer = on(host, queue, "log", "copy", "copy")
    assert (answer.code, answer.out) == (9, "")
    assert "KiB, and" in answer.err and "has room for 1000B: free some" in answer.err
    assert host.calls.count("create") == 0
    assert names(queue) == before


def test_whatever_fails_there_is_no_copy_and_whenever_it_ends_none_that_is_half(
    queue: Shell,
) -> None:
    # Every seventh call, for each takes a copy; and the last ones, by which it gets its name.
    words = ("log", "copy", "copy")
    whole = FaultyHost()
    assert on(whole, queue, *words).code == 0
    total = len(whole.calls)
    remove(queue)
    for error in (OSError(28, "full"), OSError(5, "Input/output error"), Killed()):
        for number in chain(range(0, total, 7), range(total - 4, total + 1)):
            host = FaultyHost()
            host.watch(lambda made, name, n=number, e=error: e if made == n else None)
            before = names(queue)
            try:
                answer = on(host, queue, *words)
            except Killed:
                answer = None
            if len(host.calls) <= number:
                assert answer is not None and answer.code == 0
                break
            if answer is not None and answer.code:
                assert answer.code in (1, 9) and answer.out == "", answer
                assert answer.err.count("\n") == 1 and "copy" in answer.err
            if names(queue) - before == {"copy"}:
                queue.ok("--data", "copy", "log", "verify")
            elif answer is not None:
                assert answer.code == (9 if error.args[0] == 28 else 1), answer
                assert names(queue) == before, "nor half of one"
            remove(queue)
        remove(queue)


def remove(shell: Shell) -> None:
    for path in shell.directory.glob("*copy*"):
        Host().remove_tree(str(path))


# ---- others at work


class Waiting(FaultyHost):
    """A machine on which somebody compacts until others have waited a little."""

    def __init__(self, path: Path, *, patience: int) -> None:
        super().__init__()
        self.file = path.open("ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        self.left = patience

    def sleep(self, seconds: float) -> None:
        self.left -= 1
        if not self.left:
            self.file.close()


def test_a_compaction_is_waited_for(queue: Shell) -> None:
    path = queue.data / "log" / "COMPACTING"
    assert on(Waiting(path, patience=50), queue, "log", "copy", "copy").code == 0
    host = Waiting(path, patience=1_000_000)
    refused = on(host, queue, "log", "copy", "other")
    host.file.close()
    assert (refused.code, refused.out) == (9, "")
    assert "somebody else is compacting the log" in refused.err
    assert not (queue.directory / "other").exists()


def test_nothing_in_a_copy_is_ahead_of_its_log(queue: Shell) -> None:
    place = queue.directory / "copy"
    with Queue(queue.data) as one, Queue(queue.data) as other:

        def busy(done: int, total: int) -> None:
            other.enqueue_many([{"command": "true", "cwd": "/"}] * 100)
            Sinks(other.home, other.host).move("elsewhere", other.log.head())
            other.keep_snapshot()

        copy(one, str(place), busy)
    with Queue(place) as there:
        assert Sinks(there.home, there.host).cursor("elsewhere") <= there.log.head()
        assert there.known.since <= there.log.head()
    queue.ok("--data", "copy", "log", "verify")


def test_on_a_terminal_it_says_how_far_it_is(queue: Shell) -> None:
    with mock.patch("queuectl.cli.log.copy.Progress") as progress:
        queue.ok("log", "copy", "copy")
    told = [call.args for call in progress.return_value.__enter__.return_value.call_args_list]
    assert told == sorted(told) and len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]


def test_interrupted_it_leaves_nothing(queue: Shell) -> None:
    before = names(queue)
    with mock.patch("queuectl.cli.log.copy.Progress") as progress:
        bar = progress.return_value.__enter__.return_value
        bar.side_effect = [None, None, KeyboardInterrupt]
        answer = queue("log", "copy", "copy")
    assert (answer.code, answer.out, answer.err.strip()) == (130, "", "queuectl: interrupted")
    assert names(queue) == before
