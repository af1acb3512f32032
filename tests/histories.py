"""Histories for simulations: the real queue, a clock that is set, workers that run nothing."""

from __future__ import annotations

import random
from typing import Any

from hosts import SteadyHost

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.engines.memory import MemoryLog
from queuectl.errors import Rejected
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.whatif.schedule import NOTHING_LEFT

US = 1_000_000


class Played:
    """Jobs that run as chance has it, by a queue that is real but for its disk and its clock."""

    def __init__(self, seed: int, *, settings: dict[str, str] | None = None) -> None:
        self.chance = random.Random(seed)
        self.host = SteadyHost()
        self.log = MemoryLog(self.host)
        self.queue = Queue("/nowhere", host=self.host, log=self.log)
        self.start_us = self.host.us
        for key, value in (settings or {}).items():
            self.queue.set(key, value)
        self.slots: dict[str, list[int]] = {}
        """By worker those that are free."""
        self.claims: list[str] = []
        """The workers that take jobs, in the order in which they started."""
        self.served: dict[str, frozenset[str] | None] = {}
        self.ends: list[tuple[int, str, int, c.JobCommand]] = []
        """When, which worker, which slot, and how."""

    @property
    def at_s(self) -> float:
        return (self.host.us - self.start_us) / US

    # ---- what comes from outside

    def worker(self, name: str, slots: int, queues: list[str] | None = None) -> None:
        started = v.WorkerStarted(worker=name, slots=slots, queues=queues)
        self.queue.transact(lambda: [Batch([started])])
        self.slots[name] = list(range(1, slots + 1))
        self.served[name] = frozenset(queues) if queues else None
        self.claims.append(name)
        self.turns()

    def stop(self, name: str) -> None:
        """Somebody asks it to: it takes nothing more, and stops when all of it is over."""
        self.claims.remove(name)
        asked = v.WorkerStopRequested(worker=name)
        self.queue.transact(lambda: [Batch([asked])])
        self.leave(name)

    def leave(self, name: str, reason: str = "stopped") -> None:
        if name not in self.claims and not any(end[1] == name for end in self.ends):
            stopped = v.WorkerStopped(worker=name, reason=reason)
            self.queue.transact(lambda: [Batch([stopped])])

    def add(self, **fields: Any) -> str:
        id = self.queue.enqueue("convert a.png", **fields).id
        self.turns()
        return id

    def ask(self, verb: str, id: str) -> bool:
        try:
            getattr(self.queue, verb)(id)
        except Rejected:
            return False
        job = self.queue.get(id)
        if job.ending:
            (end,) = (end for end in self.ends if end[3].job == id)
            self.ends.remove(end)
            released = c.Release(job=id, now="", token=job.token, reason="cancelled")
            self.turn(end[1], end[2], released)
        self.turns()
        return True

    # ---- what follows

    def until(self, at_s: float) -> None:
        """Let time pass, with everything that comes due."""
        last_us = self.start_us + round(at_s * US)
        self.turns()
        while True:
            times = [end[0] for end in self.ends]
            due_at = self.queue.state.ready.next_at(self.queue.now())
            if due_at is not None:
                times.append(instants.to_us(due_at))
            next_us = min(times, default=last_us)
            if next_us > last_us:
                break
            self.host.us = next_us
            for end in sorted(end for end in self.ends if end[0] <= next_us):
                self.ends.remove(end)
                self.turn(*end[1:])
            self.turns()
            if next_us == last_us:
                break
        self.host.us = last_us

    def turns(self) -> None:
        for worker in self.claims:
            self.turn(worker)

    def turn(self, worker: str, slot: int = 0, ended: c.JobCommand | None = None) -> None:
        free = self.slots[worker]
        if slot:
            free.append(slot)
        ends = []
        if ended is not None:
            fields = {name: getattr(ended, name) for name in ended.__struct_fields__}
            ends.append(type(ended)(**{**fields, "now": self.queue.now()}))
        events = self.queue.turn(
            ends,
            worker=worker,
            slots=list(free) if worker in self.claims else [],
            queues=self.served[worker],
        )
        if slot:
            self.leave(worker)
        for event in events:
            if isinstance(event, v.JobClaimed):
                free.remove(event.slot)
                end = self.how(event)
                self.ends.append((self.host.us + self.took_us(), worker, event.slot, end))

    # ---- what runs are like

    def took_us(self) -> int:
        return round(self.chance.expovariate(1 / 2) * US) + 1

    def how(self, claim: v.JobClaimed) -> c.JobCommand:
        drawn = self.chance.random()
        if drawn < 0.03:
            return c.Release(reason="stopping", **about(claim))
        if drawn < 0.06:
            return c.Expire(reason="the worker died", **about(claim))
        return ending(claim, fails=drawn < 0.36)


def about(claim: v.JobClaimed) -> dict[str, Any]:
    return {"job": claim.job, "token": claim.offset, "now": ""}


def ending(claim: v.JobClaimed, *, fails: bool) -> c.Finish:
    if fails:
        return c.Finish(reason="exit", exit_code=1, error="no", **about(claim))
    return c.Finish(exit_code=0, **about(claim))


def busy(seed: int, *, settings: dict[str, str] | None = None) -> Played:
    """A history with something of everything in it."""
    played = Played(seed, settings={"backoff-base": "1.3", **(settings or {})})
    chance = played.chance
    played.worker("w1", 2)
    played.worker("w2", 1, ["mail"])
    ids: list[str] = []
    at_s = 0.0
    for number in range(200):
        at_s += chance.expovariate(1.2) + 0.001
        played.until(at_s)
        drawn = chance.random()
        if number == 60:
            played.worker("w3", 2)
        elif number == 90:
            played.stop("w1")
        elif number in (30, 40):
            (played.queue.pause if number == 30 else played.queue.resume)("mail")
            played.turns()
        elif ids and drawn < 0.1:
            played.ask(chance.choice(["cancel", "retry"]), chance.choice(ids))
        else:
            ids.append(
                played.add(
                    queue=chance.choice(["default", "mail"]),
                    priority=chance.choice([0, 0, 1, 5]),
                    **({"delay": chance.randint(1, 20)} if drawn > 0.9 else {}),
                )
            )
    played.until(at_s + chance.choice([0, 5, 500]))
    if not played.ends:
        played.claims.clear()
        played.leave("w2", NOTHING_LEFT)
    return played
