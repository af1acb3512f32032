"""queuectl as somebody uses it: as a program, on a terminal, or, where a process adds nothing,
by the same entry within this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from workers import PATIENCE_S, eventually

from queuectl.cli import run
from queuectl.host import Host

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = (sys.executable, "-W", "error", "-m", "queuectl")


class Answer(NamedTuple):
    """What a command line answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def tree(directory: Path) -> dict[str, bytes | None]:
    """Everything below a directory, with the bytes of the files: to be compared."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
        if not path.is_fifo()
    }


class Shell:
    """Somebody in a directory of their own, with a clean environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._started: list[Background] = []
        self.gives_way = mock.Mock()
        """Called by commands within this process that let others go first."""

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("QUEUECTL_", "NO_COLOR", "COLUMNS", "PYTEST_"))
        }
        return {**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}

    # ---- three ways to run a command line

    def __call__(self, *words: str, stdin: bytes = b"", **env: str) -> Answer:
        """Within this process."""
        given = io.TextIOWrapper(io.BytesIO(stdin))
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
        with (
            contextlib.chdir(self.directory),
            mock.patch.dict(os.environ, self.environment(env), clear=True),
            mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err),
            # That cannot be taken back.
            mock.patch.object(Host, "give_way", self.gives_way),
        ):
            code = run(list(words))
        return Answer(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))

    def program(self, *words: str | bytes, stdin: bytes = b"", **env: str) -> Answer:
        """As a process."""
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=self.directory,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def terminal(self, *words: str | bytes, keys: bytes = b"", **env: str) -> Answer:
        """As a process on a terminal of its own; `out` is all that the terminal got."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.directory,
            env=self.environment(env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.write(ours, keys)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error to Linux
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        return Answer(process.wait(PATIENCE_S), shown.decode(errors="replace"), "")

    def pipeline(self, text: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        """A script of a real shell, in which `queuectl` is this program."""
        program = " ".join(f"'{word}'" for word in PROGRAM)
        return subprocess.run(
            ["bash", "-c", f'queuectl() {{ {program} "$@"; }}\n{text}'],
            cwd=self.directory,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )

    # ---- what tests say often

    def ok(self, *words: str, stdin: bytes = b"", **env: str) -> Answer:
        answer = self(*words, stdin=stdin, **env)
        assert answer.code == 0, answer
        return answer

    def add(self, *words: str) -> str:
        """Enqueue one job; returns its id."""
        (id,) = self.ok("enqueue", *words).lines
        return id

    def job(self, id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ok("show", id, "--json").json
        return document

    def state(self, id: str) -> str:
        return str(self.job(id)["state"])

    def history(self, id: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.ok("history", id, "--json").json
        return events

    def drain(self, *options: str) -> Answer:
        """Let a worker run everything there is."""
        answer = self.program("worker", "start", "--burst", *options)
        assert answer.code == 0, answer
        return answer

    def reaches(self, id: str, state: str) -> None:
        eventually(lambda: self.state(id) == state)

    # ---- programs that go on

    def start(self, *words: str, **env: str) -> Background:
        """A program in the background."""
        return self._start((*PROGRAM, *words), env)

    def start_changed(self, code: str, *words: str) -> Background:
        """The same, once `code` has changed something of it."""
        script = f"import sys\n{code}\nfrom queuectl.cli import run\nsys.exit(run(sys.argv[1:]))"
        return self._start((sys.executable, "-W", "error", "-c", script, *words), {})

    def _start(self, words: tuple[str, ...], env: dict[str, str]) -> Background:
        number = len(self._started)
        process = Background(self, words, env, self.directory / f".background-{number}")
        self._started.append(process)
        return process

    def worker(self, *options: str) -> Background:
        """A worker in the background, once it is up."""
        started = self.start("worker", "start", *options)
        eventually(lambda: " started: " in started.err or started.process.poll() is not None)
        return started

    def close(self) -> None:
        """End what a test left running, jobs included."""
        for background in self._started:
            background.kill()
        needle = f"QUEUECTL_DATA={self.data}\0".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if needle in Path(f"/proc/{name}/environ").read_bytes():
                    os.kill(int(name), signal.SIGKILL)


class Background:
    """A program that goes on while the test does."""

    def __init__(
        self, shell: Shell, words: tuple[str, ...], env: dict[str, str], notes: Path
    ) -> None:
        self._out, self._err = notes.with_suffix(".out"), notes.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=shell.directory,
                env=shell.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def ended(self, timeout_s: float = PATIENCE_S) -> Answer:
        """What it answered, once it has ended by itself."""
        return Answer(self.process.wait(timeout_s), self.out, self.err)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
