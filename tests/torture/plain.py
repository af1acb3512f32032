"""What a queue should do, as plainly as it can be said: a dictionary of jobs and no log.

Written from the documents and not from the code; times are microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ENDED = ("completed", "dead", "cancelled")
MS = 1000


class No(Exception):
    """What was asked for is refused, and nothing changes."""


@dataclass
class PlainJob:
    id: str
    queue: str
    priority: int
    runs_max: int
    delays_ms: list[int]
    number: int
    """In the order of enqueueing."""
    runnable_us: int
    state: str = "pending"
    attempts: int = 0
    held: bool = False
    """A worker has it, so its processes may be alive."""
    token: int = 0

    def due(self, now_us: int) -> bool:
        return not self.held and self.state in ("pending", "failed") and self.runnable_us <= now_us


@dataclass
class PlainQueue:
    jobs: dict[str, PlainJob] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    max_retries: int = 3
    enqueued: int = 0

    def enqueue(
        self,
        now_us: int,
        id: str,
        queue: str,
        priority: int,
        delay_ms: int,
        max_retries: int | None,
        delays_ms: list[int],
    ) -> None:
        if id in self.jobs:
            raise No
        self.enqueued += 1
        runs_max = self.max_retries if max_retries is None else max_retries
        self.jobs[id] = PlainJob(
            id=id,
            queue=queue,
            priority=priority,
            runs_max=max(1, runs_max),
            delays_ms=delays_ms,
            number=self.enqueued,
            runnable_us=now_us + delay_ms * MS,
        )

    def next(self, now_us: int, count: int, queues: set[str] | None) -> list[PlainJob]:
        """What is to be claimed, best first."""
        due = [
            job
            for job in self.jobs.values()
            if job.due(now_us)
            and job.queue not in self.paused
            and (queues is None or job.queue in queues)
        ]
        due.sort(key=lambda job: (-job.priority, job.runnable_us, job.number))
        return due[:count]

    def claim(self, job: PlainJob, token: int) -> None:
        job.state, job.held, job.token = "processing", True, token
        job.attempts += 1

    def lease(self, id: str, token: int) -> PlainJob | None:
        """The job, if that token is still the right to it."""
        job = self.jobs.get(id)
        return job if job and job.held and job.token == token else None

    def finish(self, now_us: int, id: str, token: int, success: bool) -> None:
        job = self.lease(id, token)
        if job is None:
            return
        job.held = False
        if job.state == "cancelled":
            return
        if success:
            job.state = "completed"
        elif job.attempts >= job.runs_max:
            job.state = "dead"
        else:
            job.state = "failed"
            delay_ms = job.delays_ms[min(job.attempts, len(job.delays_ms)) - 1]
            job.runnable_us = now_us + delay_ms * MS

    def release(self, id: str, token: int) -> None:
        job = self.lease(id, token)
        if job is not None:
            job.held = False
            if job.state == "processing":
                job.state = "pending"
                job.attempts -= 1

    def expire(self, id: str, token: int) -> None:
        job = self.lease(id, token)
        if job is not None:
            job.held = False
            if job.state == "processing":
                job.state = "dead" if job.attempts >= job.runs_max else "pending"

    def cancel(self, ids: list[str]) -> None:
        jobs = [self._get(id) for id in ids]
        if any(job.state in ("completed", "dead") for job in jobs):
            raise No
        for job in jobs:
            job.state = "cancelled"

    def retry(self, now_us: int, ids: list[str]) -> None:
        jobs = [self._get(id) for id in ids]
        if any(job.held or job.due(now_us) for job in jobs):
            raise No
        for job in jobs:
            job.state, job.attempts, job.token, job.runnable_us = "pending", 0, 0, now_us

    def prune(self, ids: list[str]) -> None:
        if any(job.held or job.state not in ENDED for job in map(self._get, ids)):
            raise No
        for id in ids:
            self.jobs.pop(id, None)

    def _get(self, id: str) -> PlainJob:
        if id not in self.jobs:
            raise No
        return self.jobs[id]
