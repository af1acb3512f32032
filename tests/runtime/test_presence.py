"""What the files under `run/` say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hosts import SteadyHost

from queuectl.home import Home
from queuectl.processes import Session
from queuectl.runtime.presence import Presence, Trace, read_trace, session_of, write_trace


class Container(SteadyHost):
    """A machine that counts its processes anew in each container."""

    namespace = 1

    def pid_namespace(self) -> int:
        return self.namespace

    def start_of(self, pid: int) -> int:
        return pid + 1

    def ticks(self) -> int:
        return 99


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path))


def test_a_slot_tells_the_run_and_then_its_session(home: Home) -> None:
    host = Container()
    presence = Presence(home, host, "w")
    assert read_trace(home, host, "w", 1) is None
    presence.hold_slots([1])
    assert read_trace(home, host, "w", 1) == Trace(0, 0, 0)
    write_trace(host, presence.free[1], 7, 1234)
    assert read_trace(home, host, "w", 1) == Trace(7, 1234, 1235)
    # The session of the run before is not the one of the next.
    write_trace(host, presence.free[1], 8)
    assert read_trace(home, host, "w", 1) == Trace(8, 0, 0)
    presence.leave()
    presence.close()
    assert host.names(home.run) == []


def test_a_session_means_something_only_where_its_number_does(home: Home) -> None:
    host = Container()
    presence = Presence(home, host, "w")
    run = Trace(7, 1234, 1235)
    assert session_of(home, host, "w", run) == Session(1234, 1235, 99)
    assert session_of(home, host, "w", Trace(7, 0, 0)) is None
    host.namespace = 2
    assert session_of(home, host, "w", run) is None
    presence.leave()
    assert session_of(home, host, "w", run) is None
    presence.close()


def test_where_its_files_are_gone_it_holds_nothing_and_says_so(home: Home) -> None:
    presence = Presence(home, Container(), "w")
    assert presence.show()
    shutil.rmtree(home.run)
    presence.hold_slots([1])
    assert presence.free == {}
    assert not presence.show()
    presence.leave()
    presence.close()


def test_one_that_starts_waits_until_nobody_looks_after_it_any_more(home: Home) -> None:
    class Looked(Container):
        looks = 3

        def hold(self, path: str) -> int | None:
            self.looks -= 1
            return None if self.looks >= 0 else super().hold(path)

    host = Looked()
    presence = Presence(home, host, "w")
    assert host.is_held(home.worker_lock("w"))
    presence.leave()
    presence.close()
