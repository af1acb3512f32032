"""Terminals, pipes and streams that are closed or full: colour where wanted, never raw control
characters, silence when nobody reads any more."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from programs import PROGRAM, Shell

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

SHOWING = ["list", "show evil", "history evil", "logs evil", "status", "log tail -n 0", "dlq",
           "list --json", "show evil --json", "log tail -n 0 --json", "history evil --jsonl",
           "stats --by command"]  # fmt: skip


@pytest.mark.parametrize("words", SHOWING)
def test_nothing_raw_reaches_a_terminal(played: Shell, words: str) -> None:
    answer = played.terminal(*words.split())
    assert answer.code == 0
    if "json" in words or words.startswith(("logs", "history", "log ")):
        assert "\x1b" not in answer.out, "these know no colours"
    assert not _UNSAFE.search(_COLOUR.sub("", answer.out).replace("\r\n", "\n"))
    if words == "logs evil":
        assert answer.out == "plain \\x1b[31mred\\x07 \\x9b \\u202eturned\r\n"


def test_json_on_a_terminal_is_the_same_document(played: Shell) -> None:
    shown = played.terminal("list", "--json").out
    assert shown.count("\n") > 20, "indented, for people"
    assert json.loads(shown) == played.ok("list", "--json").json


def test_a_worker_on_a_terminal(shell: Shell) -> None:
    """One living line, and safe words with -v."""
    shell.add(
        "--id", "a", "--max-retries", "1", "-c", "printf '\\033[31mboom\\n' >&2; exit 1 # \x1b"
    )
    answer = shell.terminal("worker", "--burst", "-v")
    assert "boom" in answer.out and "\x1b" not in answer.out
    shell.ok("enqueue", "-", stdin=b"true\n" * 3)
    answer = shell.terminal("worker", "--burst")
    assert set(re.findall("\x1b[^a-zA-Z]*[a-zA-Z]", answer.out)) == {"\x1b[K"}
    assert "3 completed" in answer.out


@pytest.mark.parametrize(
    "options, env, terminal, coloured",
    [
        ([], {}, True, True),
        ([], {"NO_COLOR": "1"}, True, False),
        ([], {"TERM": "dumb"}, True, False),
        (["--color", "never"], {}, True, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True, True),
        ([], {"QUEUECTL_COLOR": "never"}, True, False),
        ([], {}, False, False),
        (["--color", "always"], {}, False, True),
        (["--color", "auto"], {}, False, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["list", "status", "show good"])
def test_colour(
    played: Shell,
    command: str,
    options: list[str],
    env: dict[str, str],
    terminal: bool,
    coloured: bool,
) -> None:
    run = played.terminal if terminal else played
    answer = run(*options, *command.split(), **env)
    assert bool(_COLOUR.search(answer.out)) == coloured


def test_colours_do_not_move_columns(played: Shell) -> None:
    # The time goes on between the two: how long ago is nobody's column width here.
    plain, coloured = (
        re.sub(r"\d+s ago ?", "", _COLOUR.sub("", played.ok("--color", colour, "list").out))
        for colour in ("never", "always")
    )
    assert coloured == plain


PIPES = [
    "queuectl list --limit 0 | head -1",
    "queuectl log tail -n 0 | head -1",
    "queuectl list --limit 0 --json | head -c 10",
    "queuectl list --jsonl --limit 0 | head -1",
    "queuectl logs loud | head -1",
    "queuectl list --limit 0 | true",
]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """So many jobs that no pipe holds them."""
    shell = Shell(tmp_path_factory.mktemp("crowded"))
    shell.add("--id", "loud", "-c", "seq 100000")
    shell.drain()
    shell.ok("enqueue", "-", stdin=b"echo many many many many words\n" * 3000)
    return shell


@pytest.mark.parametrize("text", PIPES)
def test_whoever_stops_reading_is_left_in_peace(crowded: Shell, text: str) -> None:
    done = crowded.pipeline(f'{text}; echo "${{PIPESTATUS[0]}}" >&2')
    code, *more = done.stderr.decode().split("\n")
    assert code in ("0", "141") and more == [""]
    assert done.stdout.count(b"\n") <= 1


@pytest.mark.parametrize("words", ["list --limit 0", "list --json", "status", "log tail"])
def test_a_full_disk_behind_the_output(crowded: Shell, words: str) -> None:
    done = crowded.pipeline(f"queuectl {words} > /dev/full")
    assert (done.returncode, done.stderr) == (9, b"queuectl: No space left on device\n")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(shell: Shell, redirection: str) -> None:
    """And no file of the queue takes their place."""
    done = shell.pipeline(f"queuectl enqueue --id a -c 'echo hi' {redirection}")
    assert done.returncode == 0
    assert done.stdout == (b"" if ">&-" in redirection.split() else b"a\n")
    assert shell.pipeline(f"queuectl worker --burst {redirection}").returncode == 0
    assert shell.ok("logs", "a").out == "hi\n"
    assert shell.ok("log", "verify").code == 0
    assert shell.pipeline(f"queuectl list --json {redirection}").returncode == 0


def test_another_encoding(played: Shell) -> None:
    answer = played.program("--color", "always", "list", PYTHONIOENCODING="ascii")
    assert answer.code == 0 and "Traceback" not in answer.err
    answer = played.program("config", "set", "backoff", "wild…", PYTHONIOENCODING="ascii")
    assert answer.code == 2


def test_ctrl_c(shell: Shell) -> None:
    """On a terminal, where the whole group hears it."""
    import pty
    import time

    shell.add("--id", "a", "--delay", "1h", "true")
    ours, theirs = pty.openpty()

    def own() -> None:
        os.setsid()
        import fcntl
        import signal
        import termios

        # Whoever runs the tests in the background has it ignored, and so would this process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*PROGRAM, "wait", "a"],
        cwd=shell.directory,
        env=shell.environment({}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=own,
    )
    os.close(theirs)
    while process.poll() is None:
        os.write(ours, b"\x03")
        time.sleep(0.2)
    assert process.wait() in (130, -2)
    os.close(ours)
