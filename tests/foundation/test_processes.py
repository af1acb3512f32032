"""Finding processes that nobody has kept in sight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from queuectl.host import Host
from queuectl.processes import Session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


class Family(NamedTuple):
    """A session of two, of which nothing but that is known."""

    leader: subprocess.Popen[str]
    child: int
    start: int
    """When the leader was started."""
    born: int
    """When the child was."""

    def found(self, session: Session) -> set[int]:
        return set(Host().processes_of(["NO=SUCH"], [], [session]))


@pytest.fixture
def family() -> Iterator[Family]:
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout
    child = int(leader.stdout.readline())
    host = Host()
    yield Family(leader, child, host.start_of(leader.pid), host.start_of(child))
    os.killpg(leader.pid, signal.SIGKILL)
    leader.communicate()


def test_a_session_is_known_by_when_its_leader_started(family: Family) -> None:
    leader, child, start, _ = family
    assert family.found(Session(leader.pid, start, 0)) == {leader.pid, child}
    assert family.found(Session(leader.pid, start + 1, 1 << 60)) == set()
    assert family.found(Session(child, start, 1 << 60)) == set()


def test_without_its_leader_it_is_known_by_who_was_born_in_time(family: Family) -> None:
    leader, child, start, born = family
    leader.kill()
    leader.wait()
    assert family.found(Session(leader.pid, start, born + 1)) == {child}
    # Born later, it may be in another session, whose leader had the number after ours.
    assert family.found(Session(leader.pid, start, born)) == set()


def test_a_leader_that_waits_to_be_reaped_still_leads(family: Family) -> None:
    leader, child, start, _ = family
    os.kill(leader.pid, signal.SIGKILL)
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert family.found(Session(leader.pid, start, 0)) == {child}
    assert family.found(Session(leader.pid, start + 1, 1 << 60)) == set()


def test_a_stranger_is_there_and_no_child(family: Family) -> None:
    leader, child, *_ = family
    assert Host().is_stranger(child)
    assert not Host().is_stranger(leader.pid)
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not Host().is_stranger(gone.pid)


def test_starts_are_told_by_a_clock_that_can_be_read() -> None:
    host = Host()
    before = host.ticks()
    process = subprocess.Popen(["true"])
    start = host.start_of(process.pid)
    process.wait()
    assert before <= start <= host.ticks()
    assert host.start_of(process.pid) == 0
