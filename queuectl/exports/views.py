"""The three tables that a queue is to others, `events`, `jobs` and `runs`: their columns, and rows
of values. Knows no formats."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import orjson

from queuectl.domain.job import Job
from queuectl.events import schema
from queuectl.events import vocabulary as v
from queuectl.events.schema import Key
from queuectl.projections.runs import Run


class JobRow(msgspec.Struct, kw_only=True, gc=False):
    """One job as it stands. What is not known, or cannot be, is None."""

    id: str
    """Its name."""
    queue: str
    """The queue it is in."""
    state: str
    """`pending`, `processing`, `completed`, `failed` (waits for its retry), `dead`, `cancelled`."""
    command: str
    """What to run: a shell command, or for `argv` jobs the same words quoted for reading."""
    argv: list[str] | None
    """The words of a command that runs without a shell."""
    cwd: str
    """The directory it runs in."""
    env: list[str] | None
    """What was given with --env: names, or with --show-env `NAME=value`."""
    secret_env: list[str] | None
    """Names whose values the worker must have in its own environment."""
    tags: list[str] | None
    """Its labels; None where it has none."""
    priority: int
    """Higher runs sooner."""
    max_retries: int
    """How many runs a round has in all."""
    timeout_ms: int
    """How long one run may take, in milliseconds; 0 for as long as it likes."""
    backoff: str
    """How the delay before the next run grows."""
    backoff_base: float
    """The base of that delay, in seconds."""
    actor: str
    """Who asked for it: user@host."""
    enqueued: int
    """The offset of the event that enqueued it."""
    enqueued_at: str
    """When that was."""
    updated: int
    """The offset of the last event about it."""
    updated_at: str
    """When that was."""
    runnable_at: str
    """From when on it may run, or could have run."""
    started_at: str | None
    """When its last run was claimed."""
    finished_at: str | None
    """When its last run ended."""
    attempts: int
    """Runs started in this round, without those handed back unfinished."""
    worker: str | None
    """The worker of the last run."""
    token: int | None
    """The fencing token of the last run."""
    exit_code: int | None
    """The exit code of the last run; None when it did not exit by itself."""
    error: str | None
    """Why the last run failed, in one line."""
    wait_ms: int | None
    """How long it waited to be claimed, in milliseconds."""
    run_ms: int | None
    """How long the last run took, in milliseconds."""


def job_row(job: Job) -> JobRow:
    spec = job.spec
    return JobRow(
        id=spec.job,
        queue=spec.queue,
        state=job.state,
        command=spec.command,
        argv=spec.argv,
        cwd=spec.cwd,
        env=spec.env,
        secret_env=spec.secret_env,
        tags=spec.tags,
        priority=spec.priority,
        max_retries=spec.max_retries,
        timeout_ms=spec.timeout_ms,
        backoff=spec.backoff,
        backoff_base=spec.backoff_base,
        actor=spec.actor,
        enqueued=spec.offset,
        enqueued_at=spec.at,
        updated=job.offset,
        updated_at=job.updated_at,
        runnable_at=job.runnable_at,
        started_at=job.started_at or None,
        finished_at=job.finished_at or None,
        attempts=job.attempts,
        worker=job.worker or None,
        token=job.token or None,
        exit_code=job.exit_code,
        error=job.error or None,
        wait_ms=job.wait_ms if job.finished_at else None,
        run_ms=job.run_ms if job.finished_at else None,
    )


class View(NamedTuple):
    """One table."""

    name: str
    columns: tuple[Key, ...]
    key: str
    """The column that tells its rows apart."""

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


def _columns(struct: type[msgspec.Struct]) -> tuple[Key, ...]:
    fields = msgspec.structs.fields(struct)
    return tuple(Key(field.name, schema.kind_of(field.name, field.type), {}) for field in fields)


EVENTS = View(
    "events",
    tuple(key for key in schema.line_keys() if key.name != "crc"),
    "offset",
)
JOBS = View("jobs", _columns(JobRow), "id")
RUNS = View("runs", _columns(Run), "token")
VIEWS = {view.name: view for view in (EVENTS, JOBS, RUNS)}


class Shape:
    """Which columns the rows of one struct have something in, and what."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        fields = msgspec.structs.fields(struct)
        self.names = [field.name for field in fields]
        self._get = attrgetter(*self.names)
        self._nothing = [schema.nothing(field) for field in fields]
        self._lists = [
            place
            for place, field in enumerate(fields)
            if schema.kind_of(field.name, field.type) in schema.LISTS
        ]
        self._constant: list[object] = []
        if issubclass(struct, v.Event):
            self.names.append("type")
            self._constant = [v.wire_name(struct)]

    def values(self, row: msgspec.Struct) -> list[Any]:
        """The values of a row, one for each of `names`; lists as JSON, None for nothing.

        What a line of the log leaves out stands here: a figure that is 0 is not one that is absent.
        """
        values = [
            None if value == nothing else value
            for value, nothing in zip(self._get(row), self._nothing, strict=True)
        ]
        for place in self._lists:
            if values[place] is not None:
                values[place] = orjson.dumps(values[place]).decode()
        return values + self._constant


class Shapes(dict[type, Shape]):
    """By struct; made when first asked for."""

    def __missing__(self, struct: type) -> Shape:
        shape = self[struct] = Shape(struct)
        return shape
