"""Waiting for an append: the system wakes whoever waits, and nobody waits for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from conformance import batch
from filelogs import FileLog

from queuectl.host import Host


class Watched(Host):
    """Tells how it waited."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.woken: list[bool] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def wait(self, descriptors: Iterable[int], timeout_s: float) -> set[int]:
        found = super().wait(descriptors, timeout_s)
        self.woken.append(bool(found))
        return found


def logs(root: Path) -> tuple[FileLog, FileLog, Watched]:
    (root / "log").mkdir()
    host = Watched()
    writer = FileLog(str(root / "log"))
    writer.append([batch("a")])
    return writer, FileLog(str(root / "log"), host), host


def test_an_append_by_another_wakes_and_nothing_is_slept_through(tmp_path: Path) -> None:
    writer, reader, host = logs(tmp_path)
    reader.wait(60)
    assert (host.slept, host.woken) == ([], []), "what was before is not known"
    thread = threading.Thread(target=lambda: writer.append([batch("b")]))
    thread.start()
    reader.wait(60)
    thread.join()
    assert host.woken == [True]
    # What came in between is told, too, and once.
    for _ in range(3):
        writer.append([batch("c")])
    reader.wait(60)
    reader.wait(0)
    assert host.woken == [True, True, False]
    assert host.slept == []
    reader.close()


def test_a_watch_is_made_anew_now_and_then(tmp_path: Path) -> None:
    writer, reader, host = logs(tmp_path)
    reader.wait(0)
    os.remove(writer.lock_path)
    writer.append([batch("b")])
    while not host.woken or host.woken[-1]:
        reader.wait(0)
    reader.wait(0)
    writer.append([batch("c")])
    reader.wait(60)
    assert host.woken[-1]
    reader.close()


def test_where_the_system_cannot_wake_it_is_looked_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, reader, host = logs(tmp_path)
    monkeypatch.setattr(host, "make_watch", lambda: -1)
    reader.wait(60)
    reader.wait(0.01)
    assert host.slept == [0.05, 0.01]


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    host = Watched()
    reader = FileLog(str(tmp_path / "log"), host)
    reader.wait(60)
    assert host.slept == [0.05]
    FileLog(str(tmp_path / "log")).append([batch("a")])
    reader.wait(60)
    assert host.slept == [0.05]
    reader.close()
