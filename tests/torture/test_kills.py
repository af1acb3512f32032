"""Processes killed without end, and stopped: everything acknowledged runs, nothing runs beside
itself, nothing is left over, and what comes too late is refused."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nursery import Child, Nursery, pause, told_in
from tallies import Tally
from workers import AGES_S, Site, eventually

from queuectl.engines.file import FileLog
from queuectl.engines.file.verify import verify

KILLS = 10_000
KILLS_A_ROUND = 100
TAKEOVERS = 1000
STOPPED = 100
STOPPED_AT_ONCE = 10
ROLES = ("enqueuer", "enqueuer", "enqueuer", "worker", "worker", "worker")
TAKEN_OVER_S_MAX = 30.0
"""Generous, because a test is no measurement; the figure itself is told. Leases are longer."""
SLEEP = "3661.375"
"""Longer than any of this takes. Nobody else sleeps so long: what is left over is found by it."""


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def site(ram: Path) -> Iterator[Site]:
    site = Site(ram)
    yield site
    site.close()


def left_over() -> list[int]:
    """Processes that sleep for jobs of this test."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes() == f"sleep\0{SLEEP}\0".encode():
                found.append(int(name))
        except OSError:
            pass
    return found


class Round:
    """A queue, and processes that work on it while they are killed."""

    def __init__(self, site: Site, nursery: Nursery, chance: random.Random) -> None:
        self.site, self.nursery, self.chance = site, nursery, chance
        self.told: list[Path] = []
        self.living = [(role, self.bear(role)) for role in ROLES]

    def bear(self, role: str) -> Child:
        place = str(self.site.place)
        if role == "worker":
            return self.nursery.fork("worker", place=place, options={"slots": 2, "grace_ms": 0})
        self.told.append(self.site.root / f"told-{len(self.told)}")
        body = self.chance.choice(["true", "sleep 0.01", "(setsid sleep 0.05 &)"])
        return self.nursery.fork(
            "enqueuer",
            place=place,
            told=str(self.told[-1]),
            name=f"j{len(self.told)}",
            every_s=0.02,
            job={
                "command": self.site.exclusive(body) if self.chance.random() < 0.3 else body,
                "max_retries": 1000,
                "backoff": "fixed",
                "backoff_base": 0,
            },
        )

    def kill_one(self) -> None:
        pause(self.chance.random() * 0.012)
        index = self.chance.randrange(len(self.living))
        role, child = self.living[index]
        child.kill()
        self.living[index] = role, self.bear(role)

    def end(self) -> int:
        """Kill all, run what is left, and see that nothing is missing; how many jobs there were."""
        for _, child in self.living:
            child.kill()
        site = self.site
        drain = self.nursery.fork(
            "worker",
            site.root / "drain",
            place=str(site.place),
            options={"slots": 8, "burst": "wait"},
        )
        assert drain.wait() == 0, (site.root / "drain").read_text()
        acknowledged = {id for told in self.told for id in told_in(told)}
        states = {job.id: job.state for job in site.queue.jobs()}
        assert acknowledged <= set(states)
        assert set(states.values()) <= {"completed"}
        assert not [line for line in site.marked() if "overlap" in line]
        assert isinstance(site.queue.log, FileLog)
        assert verify(site.queue.log).head == site.queue.log.head()
        return len(acknowledged)


def kill_without_end(
    root: Path, nursery: Nursery, chance: random.Random, kills: int, tally: Tally
) -> None:
    for number in range(kills // KILLS_A_ROUND):
        (root / f"round-{number}").mkdir()
        site = Site(root / f"round-{number}")
        try:
            those = Round(site, nursery, chance)
            for _ in range(KILLS_A_ROUND):
                those.kill_one()
            tally.add("jobs acknowledged, and run", those.end())
        finally:
            site.close()
        tally.add("kills", KILLS_A_ROUND)


def test_a_hundred_kills(ram: Path, nursery: Nursery, chance: random.Random, tally: Tally) -> None:
    kill_without_end(ram, nursery, chance, KILLS_A_ROUND, tally)


@pytest.mark.torture
@pytest.mark.parametrize("half", [1, 2])
def test_ten_thousand_kills(
    ram: Path, nursery: Nursery, chance: random.Random, half: int, tally: Tally
) -> None:
    kill_without_end(ram, nursery, chance, KILLS // 2, tally)


def first_run_only(site: Site, body: str) -> str:
    """A command that leaves the time of each start behind, and goes on for long the first time."""
    started = f": >'{site.root}/start.'$QUEUECTL_JOB.$QUEUECTL_ATTEMPT"
    return site.exclusive(f"{started}; [ $QUEUECTL_ATTEMPT -gt 1 ] || {{ {body}; }}")


def started_ns(site: Site, id: str, attempt: int) -> int:
    """When that run began, by the wall clock; 0 while it has not."""
    try:
        return os.stat(site.root / f"start.{id}.{attempt}").st_mtime_ns
    except FileNotFoundError:
        return 0


FORKING = [
    f"setsid sleep {SLEEP} & sleep {SLEEP}",
    f"trap '' TERM; sleep {SLEEP} & setsid sh -c 'sleep {SLEEP}; :' & sleep {SLEEP}",
    f"(setsid setsid sleep {SLEEP} & exec sleep {SLEEP}) & sleep {SLEEP}",
]


@pytest.mark.torture
@pytest.mark.parametrize("half", [1, 2])
def test_a_thousand_takeovers(
    site: Site, nursery: Nursery, chance: random.Random, half: int, tally: Tally
) -> None:
    how: dict[str, Any] = {"place": str(site.place), "options": {"slots": 4}}
    workers = {child.pid: child for child in (nursery.fork("worker", **how) for _ in range(3))}
    jobs = [
        {"command": first_run_only(site, body), "max_retries": 9, "backoff_base": 0}
        for body in FORKING[:2]
    ]
    took_s = []
    for _ in range(TAKEOVERS // 2):
        ids = site.queue.enqueue_all(chance.sample(jobs, 2))
        eventually(lambda: all(started_ns(site, id, 1) for id in ids), AGES_S)  # noqa: B023
        pause(chance.random() * 0.01)
        rows = site.queue.state.workers.rows
        doomed = workers.pop(rows[site.job(ids[0]).worker].pid)
        ids = [id for id in ids if rows[site.job(id).worker].pid == doomed.pid]
        killed_ns = time.time_ns()
        doomed.kill()
        eventually(lambda: all(started_ns(site, id, 2) for id in ids), AGES_S)  # noqa: B023
        took_s += [(started_ns(site, id, 2) - killed_ns) / 1e9 for id in ids]
        child = nursery.fork("worker", **how)
        workers[child.pid] = child
    for child in workers.values():
        child.kill()
    site.drain()
    assert set(site.queue.state.counts) >= {"completed"}
    assert site.queue.known.counts["completed"] == len(site.queue.known.jobs.rows)
    assert not [line for line in site.marked() if "overlap" in line]
    eventually(lambda: left_over() == [], AGES_S)
    took_s.sort()
    tally("workers killed", TAKEOVERS // 2)
    for name, share in (("p50", 0.5), ("p99", 0.99), ("at most", 1.0)):
        index = min(len(took_s) - 1, int(len(took_s) * share))
        tally(f"taken over, {name}", f"{took_s[index] * 1000:.0f} ms")
    assert took_s[int(len(took_s) * 0.99)] < TAKEN_OVER_S_MAX


def stopped_aside(worker: Child) -> bool:
    """Stop a worker, but not where it keeps everybody from going on: with the lock of the log, or
    with that of the slot in which it starts a job."""
    worker.stop()
    # One that it has for life is there for others to see that it lives.
    aside = len(worker.locks()) == 1
    if not aside:
        worker.send(signal.SIGCONT)
    return aside


@pytest.mark.torture
def test_a_hundred_workers_stopped_past_their_lease(
    site: Site, nursery: Nursery, tally: Tally
) -> None:
    how: dict[str, Any] = {"place": str(site.place)}
    refused = 0
    for number in range(STOPPED // STOPPED_AT_ONCE):
        notes = [site.root / f"notes-{number}-{one}" for one in range(STOPPED_AT_ONCE)]
        sleepers = [nursery.fork("worker", note, options={"slots": 1}, **how) for note in notes]
        command = first_run_only(site, f"sleep {SLEEP}")
        ids = site.queue.enqueue_all([{"command": command, "max_retries": 9}] * len(notes))
        eventually(lambda: all(started_ns(site, id, 1) for id in ids), AGES_S)  # noqa: B023
        for sleeper in sleepers:
            eventually(lambda: stopped_aside(sleeper), AGES_S)  # noqa: B023
        # Short only now: however slow this machine is, none of them was silent before.
        site.queue.set("lease", "600ms")
        other = nursery.fork("worker", options={"slots": 4}, **how)
        eventually(lambda: all(site.state(id) == "completed" for id in ids), AGES_S)  # noqa: B023
        site.queue.set("lease", "1h")
        for sleeper in sleepers:
            sleeper.send(signal.SIGCONT)
        eventually(lambda: all("too late" in note.read_text() for note in notes), AGES_S)  # noqa: B023
        refused += sum(note.read_text().count("too late") for note in notes)
        for child in (*sleepers, other):
            child.kill()
        for id in ids:
            assert site.types(id).count("job.completed") == 1
    assert refused == STOPPED
    assert not [line for line in site.marked() if "overlap" in line]
    tally("workers stopped past their lease", STOPPED)
    tally("late results refused", refused)
