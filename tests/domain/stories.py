"""Given, when, then: a job told by its events, a command, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from queuectl import instants
from queuectl.domain import commands as c
from queuectl.domain.decide import decide
from queuectl.domain.evolve import evolve
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v

T0 = "2026-01-01T00:00:00.000000Z"


def at(seconds: float) -> str:
    return instants.later(T0, round(seconds * 1000))


class Story:
    """One job; each thing that is asked happens a second after the one before."""

    def __init__(self, **spec: Any) -> None:
        self.job: Job | None = None
        self.offset = 0
        self.seconds = 0.0
        self.told: list[v.Event] = []
        self._record(
            [
                v.JobEnqueued(
                    **{"job": "j", "queue": "default", "attempt": 0, "command": "true", **spec}
                )
            ]
        )

    def _record(self, facts: Sequence[v.Event]) -> None:
        for fact in facts:
            self.offset += 1
            event = msgspec.structs.replace(fact, offset=self.offset, at=at(self.seconds))
            self.job = evolve(self.job, event)
            self.told.append(event)

    def asked(self, kind: type[c.JobCommand], **arguments: Any) -> list[str]:
        """Ask, let it happen, and tell the wire names of what did."""
        facts = self.would(kind, **arguments)
        self._record(facts)
        return [v.wire_name(fact) for fact in facts]

    def would(self, kind: type[c.JobCommand], **arguments: Any) -> list[v.Event]:
        self.seconds += 1
        defaults: dict[str, Any] = {"job": "j", "now": at(self.seconds)}
        if kind is c.Claim:
            defaults |= {"worker": "w", "slot": 1, "until": at(self.seconds + 60)}
        if kind in (c.Finish, c.Release, c.Expire):
            defaults["token"] = self.job.token if self.job else 1
        if kind in (c.Release, c.Expire):
            defaults["reason"] = "because"
        if kind is c.Enqueue:
            defaults["spec"] = v.JobEnqueued(job="j", queue="default", attempt=0, command="false")
        return list(decide(self.job, kind(**{**defaults, **arguments})))

    def wait(self, seconds: float) -> Story:
        self.seconds += seconds
        return self

    def claimed(self) -> Story:
        assert self.asked(c.Claim) == ["job.claimed"]
        return self

    def failed(self) -> Story:
        self.claimed().asked(c.Finish, reason="exit", exit_code=1, error="oops")
        return self
