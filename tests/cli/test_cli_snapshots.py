"""Snapshots are a cache: without them every command answers the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import click
from programs import Answer, Shell
from test_cli_help import COMMANDS

from queuectl import Queue
from queuectl.host import Host

CHANGING = {
    *("enqueue", "worker start", "worker stop", "queue pause", "queue resume", "config set"),
    *("import", "log copy", "ship add", "ship run", "ship reset", "ship remove"),
    *("web link", "web token add", "web token remove"),
}
"""Commands that do nothing but change something …"""
ENDLESS = {"watch", "web serve"}
"""… and those that end only when they are told to. All others are tried."""
JOBS = ("good", "bad", "gone", "later", "runs", "purged", "nobody")
CHOICES = ("--all --dry-run", "--queue mail --dry-run", "bad --dry-run", "gone --dry-run")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("logs", "history", "proof"), JOBS),
    **dict.fromkeys(("show", "why"), (*JOBS, "good --at 4", "later --at 4")),
    **dict.fromkeys(("status", "stats", "config list"), ("", "--at 4")),
    **dict.fromkeys(("cancel", "retry", "dlq retry", "dlq purge"), CHOICES),
    "wait": tuple(f"{job} --timeout 0" for job in JOBS),
    "config get": ("max-retries", "lease"),
    "export": tuple(f"--to - --format jsonl --view {view}" for view in ("events", "jobs", "runs")),
    "schema": ("--for duckdb",),
    "diff": ("--from 1", "--from 1 --to 3"),
    "list": (
        "",
        "--limit 2",
        "--state dead --state completed",
        "--queue mail",
        "--tag a",
        "--at 4",
    ),
    "dlq list": ("", "--limit 1", "--queue mail", "--at 4"),
    "log compact": ("--dry-run",),
    "log redact": ("bad --field error --dry-run", "later --field command --dry-run"),
    "log tail": ("", "--lines 0", "--since 3", "--job bad", "--type job.enqueued"),
}
"""What a command is given, where it can or has to be given something."""


def _reading() -> Iterator[str]:
    for path, command in COMMANDS.items():
        name = " ".join(path)
        options = {option for param in command.params for option in param.opts}
        for words in ARGUMENTS.get(name, ("",) if "--json" in options else ()):
            yield f"{name} {words}"
            if "--json" in options:
                yield f"{name} {words} --json"


READING = tuple(_reading())


@contextmanager
def standing_still() -> Iterator[None]:
    """Meanwhile answers depend on nothing but the queue, in this process."""
    host = Host()
    now_us, monotonic_s = host.now_us(), host.monotonic_s()
    with mock.patch.multiple(
        Host,
        now_us=lambda self: now_us,
        monotonic_s=lambda self: monotonic_s,
        free_bytes=lambda self, path: 1 << 40,
    ):
        yield


def life(shell: Shell) -> Iterator[None]:
    """Ever more happens in a queue; what has happened so far is to be looked at in between."""
    shell.ok("config", "set", "max-retries", "1")
    shell.ok("config", "set", "lease", "1h")  # no renewal while two answers are compared
    shell.add("--id", "good", "--tag", "a", "-c", "echo out; echo err >&2")
    shell.add("--id", "bad", "--queue", "mail", "-c", "echo run; exit 3")
    shell.add("--id", "purged", "false")
    yield
    shell.drain()
    shell.add("--id", "later", "--delay", "1h", "--tag", "a", "true")
    shell.add("--id", "gone", "--delay", "1h", "true")
    shell.ok("cancel", "gone")
    shell.ok("queue", "pause", "mail")
    yield
    worker = shell.worker("-c", "2")
    shell.add("--id", "runs", "-c", "while [ ! -e done ]; do sleep 0.05; done")
    shell.reaches("runs", "processing")
    yield
    (shell.directory / "done").touch()
    shell.reaches("runs", "completed")
    worker.signal()
    assert worker.ended().code == 0
    shell.ok("dlq", "purge", "purged")
    yield
    shell.ok("retry", "bad")
    shell.ok("log", "compact")  # which keeps one, too
    yield


def answers(shell: Shell) -> dict[str, Answer]:
    return {words: shell(*words.split()) for words in READING}


def test_every_command_is_tried_or_changes_something() -> None:
    leaves = {" ".join(path) for path, one in COMMANDS.items() if not isinstance(one, click.Group)}
    tried = {name for name in leaves for words in READING if words.startswith(f"{name} ")}
    assert tried == leaves - CHANGING - ENDLESS, "put it into ARGUMENTS or CHANGING"
    assert ARGUMENTS.keys() <= tried


def test_deleting_them_at_any_time_changes_no_answer(shell: Shell) -> None:
    snapshots, aside = shell.data / "snapshots", shell.directory / "aside"
    codes = set()
    for stage, _ in enumerate(life(shell)):
        if stage % 2 == 0:
            # At every other stage, the answer lies in what came after it.
            with Queue(shell.data) as queue:
                queue.catch_up()
                queue.keep_snapshot()
        with standing_still():
            expected = answers(shell)
            with Queue(shell.data) as queue:
                assert queue.known.offset, "a start takes up the snapshot"
            snapshots.rename(aside)
            found = answers(shell)
            assert not snapshots.exists()
            aside.rename(snapshots)
        for words, answer in expected.items():
            assert answer.code != 2, (words, "say in ARGUMENTS what it has to be given")
            assert found[words] == answer, (stage, words)
            codes.add(answer.code)
    assert codes == {0, 1, 3, 4, 5}, "all kinds of answers were among them"
