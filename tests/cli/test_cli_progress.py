"""The bar that is shown while something takes long."""

from __future__ import annotations

import sys

import pytest
from programs import Shell

from queuectl.cli import progress as module
from queuectl.cli.progress import Progress
from queuectl.cli.root import App
from queuectl.errors import Damaged


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "wanted"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_progress_is_told_on_a_terminal_past_a_second(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
    quiet: bool,
    wanted: bool,
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with Progress(App("data", quiet, False)) as progress:
        progress(1000, 200_000)
        assert capsys.readouterr().err == ""
        now = 1.5
        progress(100_000, 200_000)
        shown = capsys.readouterr().err
        assert shown == (f"\r[{'#' * 15:<30}] 100,000 of 200,000\x1b[K" if wanted else "")
    assert capsys.readouterr().err == ("\r\x1b[K" if wanted else "")


def test_it_is_gone_before_an_error_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, 2.0]).__next__)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(Damaged), Progress(App("data", False, False)) as progress:
        progress(1, 2)
        raise Damaged("bad", file="f", position=0, offset=0)
    assert capsys.readouterr().err.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    "words",
    ["log verify", "log compact", "proof job1", "enqueue true", "export --to a.csv"],
)
def test_who_takes_long_shows_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    shell.add("--id", "job1", "true")
    made: list[str] = []
    real = Progress.__init__

    def init(self: Progress, *arguments: object) -> None:
        made.append(words)
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Progress, "__init__", init)
    shell.ok(*words.split())
    assert made == [words]
