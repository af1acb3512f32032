"""The documents that the API answers with, for the OpenAPI file: the tests compare them with what
is really answered."""

from __future__ import annotations

from typing import Any

from queuectl.domain.job import STATES
from queuectl.domain.submission import ALIASES, FIELDS

Schema = dict[str, Any]


def _of(*types: str) -> Schema:
    return {"type": list(types) if len(types) > 1 else types[0]}


TEXT, NUMBER, WHOLE, FLAG = _of("string"), _of("number"), _of("integer"), _of("boolean")
MAYBE_TEXT, MAYBE_NUMBER = _of("string", "null"), _of("number", "null")
MAYBE_WHOLE, MAYBE_FLAG = _of("integer", "null"), _of("boolean", "null")
TIME: Schema = {"type": "string", "format": "date-time"}
MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
STATE: Schema = {"type": "string", "enum": list(STATES)}
ANY: Schema = {}


def listed(items: Schema) -> Schema:
    """A list of such."""
    return {"type": "array", "items": items}


def document(**properties: Schema) -> Schema:
    """An object that has all of these, and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def ref(name: str) -> Schema:
    """One of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


_PERCENTILES = document(p50=NUMBER, p95=NUMBER, p99=NUMBER, max=NUMBER)
_COUNTS = document(**dict.fromkeys(STATES, WHOLE))
_JOB = {
    "id": TEXT,
    "command": TEXT,
    "argv": {"type": ["array", "null"], "items": TEXT},
    "state": STATE,
    "attempts": WHOLE,
    "max_retries": WHOLE,
    "priority": WHOLE,
    "queue": TEXT,
    "tags": listed(TEXT),
    "created_at": TIME,
    "updated_at": TIME,
    "run_at": TIME,
    "started_at": MAYBE_TIME,
    "finished_at": MAYBE_TIME,
    "exit_code": MAYBE_WHOLE,
    "error": MAYBE_TEXT,
    "worker": MAYBE_TEXT,
    "timeout": NUMBER,
    "backoff": TEXT,
    "backoff_base": NUMBER,
    "cwd": TEXT,
    "env": {**listed(TEXT), "description": "Names alone."},
    "secret_env": listed(TEXT),
    "wait_seconds": MAYBE_NUMBER,
    "run_seconds": MAYBE_NUMBER,
    "actor": TEXT,
    "redacted": {**listed(TEXT), "description": "Fields of which the values were taken out."},
    "payloads": {
        **listed(TEXT),
        "description": "Fields of which only the beginning is here, each with the SHA-256 of all.",
    },
}
_RUN = document(
    number=WHOLE,
    round=WHOLE,
    token=WHOLE,
    worker=TEXT,
    slot=WHOLE,
    started_at=MAYBE_TIME,
    ended_at=MAYBE_TIME,
    outcome=TEXT,
    reason=MAYBE_TEXT,
    exit_code=MAYBE_WHOLE,
    error=MAYBE_TEXT,
    wait_seconds=MAYBE_NUMBER,
    run_seconds=MAYBE_NUMBER,
    cpu_seconds=MAYBE_NUMBER,
    stdout_bytes=MAYBE_WHOLE,
    stderr_bytes=MAYBE_WHOLE,
)
_WORKER = document(
    id=TEXT,
    host=TEXT,
    pid=WHOLE,
    alive=MAYBE_FLAG,
    stopping=FLAG,
    slots=WHOLE,
    queues={"type": ["array", "null"], "items": TEXT},
    started_at=TIME,
    heartbeat_at=TIME,
    jobs=listed(TEXT),
    current_job=MAYBE_TEXT,
)
_EVENT: Schema = {
    "type": "object",
    "description": "What happened; docs/events.md says what else there is to each type.",
    "properties": {"offset": WHOLE, "at": TIME, "type": TEXT, "job": TEXT},
    "required": ["offset", "at", "type"],
}
_CAUSE: Schema = {
    "type": "object",
    "properties": {"cause": TEXT, "event": MAYBE_WHOLE, "at": MAYBE_TIME, "text": TEXT},
    "required": ["cause", "event", "at", "text"],
}
_STATS = document(
    total_jobs=WHOLE,
    completed_jobs=WHOLE,
    dead_jobs=WHOLE,
    total_commands={**WHOLE, "description": "How many runs there were."},
    failed_runs=WHOLE,
    lost_runs=WHOLE,
    retries=WHOLE,
    failure_rate=NUMBER,
    uptime={**NUMBER, "description": "The age of the log, in seconds."},
    throughput_per_second=NUMBER,
    average_runtime=NUMBER,
    max_runtime=NUMBER,
    wait_seconds=_PERCENTILES,
    run_seconds=_PERCENTILES,
)
_DURATION: Schema = {
    "type": ["string", "number"],
    "description": "500ms, 30s, 5m, 1h30m, or a number of seconds.",
}
_FIELD: dict[str, Schema] = {
    "id": {
        "type": "string",
        "pattern": "^[A-Za-z0-9_:][A-Za-z0-9._:-]{0,127}$",
        "not": {"pattern": "^key\\."},
        "description": "What begins with key. is made of an Idempotency-Key, and refused here.",
    },
    "command": {"type": "string", "minLength": 1, "description": "A command line for /bin/sh."},
    "argv": {**listed(TEXT), "minItems": 1, "description": "Instead: a program, its arguments."},
    "max_retries": {"type": "integer", "minimum": 0, "description": "How many runs in all."},
    "priority": WHOLE,
    "run_at": TIME,
    "delay": _DURATION,
    "timeout": _DURATION,
    "backoff": {"type": "string", "description": "As in: queuectl enqueue --backoff."},
    "backoff_base": NUMBER,
    "queue": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}$"},
    "cwd": {"type": "string", "description": "By default where the server was started."},
    "env": {"type": "object", "additionalProperties": TEXT},
    "secret_env": {**listed(TEXT), "description": "What the worker is to give it of its own."},
    "tags": listed({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}$"}),
}
_SUBMISSION: Schema = {
    "type": "object",
    "properties": {
        **{name: _FIELD[name] for name in FIELDS},
        **{alias: _FIELD[name] for alias, name in ALIASES.items()},
    },
    "additionalProperties": False,
}
COMPONENTS: dict[str, Schema] = {
    "Job": document(**_JOB),
    "JobWithRuns": document(**_JOB, attempts_made=listed(ref("Run"))),
    "Run": _RUN,
    "Worker": _WORKER,
    "Event": _EVENT,
    "Cause": _CAUSE,
    "Stats": _STATS,
    "Counts": _COUNTS,
    "Submission": _SUBMISSION,
    "Problem": {
        "type": "object",
        "description": "What went wrong, as RFC 9457 has it.",
        "properties": {
            "title": TEXT,
            "status": WHOLE,
            "detail": TEXT,
            "exit_code": {**WHOLE, "description": "What the command line would have ended with."},
        },
        "required": ["title", "status", "detail"],
    },
}
