"""The wall clock jumps, by a second or ten years, there and back: order, due times and leases stay
as promised."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import SteadyHost
from nursery import Nursery, pause
from tallies import Tally
from workers import AGES_S, SetClock, Site, eventually

from queuectl import Queue, instants
from queuectl.engines.file import FileLog
from queuectl.engines.file.verify import verify
from queuectl.events import vocabulary as v

JUMPS = 100
YEAR_S = 365 * 86_400
SIZES_S = (1, 60, 3600, 86_400, YEAR_S, 10 * YEAR_S)


class Jumping(SteadyHost):
    """A machine whose wall clock is set apart from the one that nobody can set."""

    shift_us = 0

    def now_us(self) -> int:
        return self.us + self.shift_us

    def jump(self, seconds: int) -> None:
        self.shift_us += seconds * 1_000_000


def jumps(chance: random.Random, count: int) -> Iterator[int]:
    """In seconds, either way; together they stay where years have four digits."""
    at = 0
    for _ in range(count):
        size = chance.choice(SIZES_S)
        back = chance.random() < 0.5 if abs(at + size) < 30 * YEAR_S else at > 0
        at += -size if back else size
        yield -size if back else size


def jump_about(place: Path, chance: random.Random, count: int) -> int:
    """How many jobs became due just when they should, over so many jumps."""
    host = Jumping()
    queue, other = Queue(place, host=host), Queue(place, host=host)
    seen = 0
    for jump in jumps(chance, count):
        delay_s = chance.choice([1, 5, 30])
        before = queue.now()
        who = chance.choice([queue, other])
        # One that has seen a later time than the other, of which the log tells nothing, stays
        # ahead of it: a job may then start before its time, and not after it.
        ahead = before > who.now()
        job = who.enqueue("true", delay=f"{delay_s}s")
        waited_s = chance.randrange(delay_s)
        host.advance(waited_s)
        host.jump(jump)
        # The time by which jobs are due goes on, however the clock was set.
        after = queue.now()
        assert after >= instants.later(before, waited_s * 1000)
        queue.catch_up()
        due = job.runnable_at <= after
        claimed = queue.turn((), worker="w", slots=[1])
        if not due:
            assert claimed == [], "not before its time"
            left_ms = instants.between_ms(after, job.runnable_at)
            assert left_ms <= (delay_s - waited_s) * 1000, "and not after it"
            host.advance(left_ms / 1000 + 0.002)
            claimed = queue.turn((), worker="w", slots=[1])
        assert not due or jump > 0 or ahead
        assert [event.job for event in claimed if isinstance(event, v.JobClaimed)] == [job.id]
        seen += 1
    events = list(itertools.chain.from_iterable(queue.log.read()))
    assert [event.offset for event in events] == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)
    queue.close()
    other.close()
    return seen


def test_a_few_jumps(ram: Path, chance: random.Random, tally: Tally) -> None:
    tally("jumps", jump_about(ram / "data", chance, 20))


@pytest.mark.torture
def test_a_hundred_jumps(ram: Path, chance: random.Random, tally: Tally) -> None:
    tally("jumps", jump_about(ram / "data", chance, JUMPS))


@pytest.mark.torture
def test_workers_under_a_hundred_jumps(ram: Path, chance: random.Random, tally: Tally) -> None:
    """No lease is lost by it, nothing runs twice, and nothing waits for a clock to catch up."""
    site = Site(ram)
    clock = ram / "clock"
    clock.write_text("0")
    site.queue.close()
    site.queue = Queue(site.place, host=SetClock(str(clock)))
    site.queue.set("lease", "30s")
    at = 0
    try:
        with Nursery() as nursery:
            workers = [
                nursery.fork(
                    "worker",
                    ram / f"notes-{number}",
                    place=str(site.place),
                    options={"slots": 2, "clock": str(clock)},
                )
                for number in range(2)
            ]
            for jump in jumps(chance, JUMPS):
                jobs = [
                    {"command": site.exclusive("sleep 0.1")},
                    {"command": site.exclusive("true"), "delay": "100ms"},
                    {"command": "[ $QUEUECTL_ATTEMPT -gt 1 ]", "backoff": "50ms"},
                ]
                ids = site.queue.enqueue_all(jobs)
                pause(chance.random() * 0.1)
                at += jump
                beside = ram / "clock-new"
                beside.write_text(str(at))
                os.rename(beside, clock)
                done = lambda: all(site.state(id) == "completed" for id in ids)  # noqa: B023, E731
                eventually(done, AGES_S)
            for worker in workers:
                worker.kill()
        assert site.count(v.LeaseExpired) == 0
        assert site.count(v.JobCompleted) == 3 * JUMPS
        assert site.count(v.JobFailed) == JUMPS
        assert not [line for line in site.marked() if "overlap" in line]
        assert isinstance(site.queue.log, FileLog)
        assert verify(site.queue.log).head == site.queue.log.head()
    finally:
        site.close()
    tally("jumps under two workers", JUMPS)
    tally("jobs run meanwhile", 3 * JUMPS)
