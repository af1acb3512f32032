"""Jobs, runs, workers and events as every face shows them: with stable names and units.

Times are RFC 3339 text, durations are seconds, what is unknown is null.
"""

from __future__ import annotations

from typing import Any

import msgspec

from queuectl import instants
from queuectl.asking import Reasons
from queuectl.domain import settings as rules
from queuectl.domain.job import DEAD, Job
from queuectl.domain.settings import Settings
from queuectl.events.vocabulary import Event, wire_name
from queuectl.instants import Instant
from queuectl.projections.causes import Cause
from queuectl.projections.runs import Run
from queuectl.projections.state import State
from queuectl.projections.statistics import Histogram, Statistics
from queuectl.projections.workers import WorkerRow
from queuectl.telling.story import because

_SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def job_document(job: Job, *, show_env: bool = False) -> dict[str, Any]:
    spec = job.spec
    env = spec.env or []
    return {
        "id": job.id,
        "command": spec.command,
        "argv": spec.argv,
        "state": job.state,
        "attempts": job.attempts,
        "max_retries": spec.max_retries,
        "priority": spec.priority,
        "queue": spec.queue,
        "tags": spec.tags or [],
        "created_at": spec.at,
        "updated_at": job.updated_at,
        "run_at": job.runnable_at,
        "started_at": job.started_at or None,
        "finished_at": job.finished_at or None,
        "exit_code": job.exit_code,
        "error": job.error or None,
        "worker": job.worker or None,
        "timeout": spec.timeout_ms / 1000,
        "backoff": spec.backoff,
        "backoff_base": spec.backoff_base,
        "cwd": spec.cwd,
        "env": env if show_env else [pair.partition("=")[0] for pair in env],
        "secret_env": spec.secret_env or [],
        "wait_seconds": job.wait_ms / 1000 if job.started_at else None,
        "run_seconds": job.run_ms / 1000 if job.finished_at else None,
        "actor": spec.actor,
        "redacted": spec.redacted or [],
        "payloads": spec.payloads or [],
    }


def attempt_document(run: Run) -> dict[str, Any]:
    return {
        "number": run.attempt,
        "round": run.round,
        "token": run.token,
        "worker": run.worker,
        "slot": run.slot,
        "started_at": run.claimed_at,
        "ended_at": run.ended_at,
        "outcome": run.outcome,
        "reason": run.reason,
        "exit_code": run.exit_code,
        "error": run.error,
        "wait_seconds": _seconds(run.wait_ms),
        "run_seconds": _seconds(run.run_ms),
        "cpu_seconds": _seconds(run.cpu_ms),
        "stdout_bytes": run.stdout_bytes,
        "stderr_bytes": run.stderr_bytes,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def worker_document(row: WorkerRow, *, alive: bool | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "alive": alive,
        "stopping": row.stop_requested,
        "slots": row.slots,
        "queues": row.queues,
        "started_at": row.started_at,
        "heartbeat_at": row.heartbeat_at,
        "jobs": [job.id for job in row.holding.values()],
        "current_job": next((job.id for job in row.holding.values()), None),
    }


def queue_documents(state: State) -> list[dict[str, Any]]:
    """All queues by name, with their jobs by state."""
    return [
        {"queue": name, "paused": name in state.paused, **counts}
        for name, counts in sorted(state.queues.items())
    ]


def percentiles(histogram: Histogram) -> dict[str, float]:
    """Durations in seconds."""
    figures = {name: histogram.percentile_ms(share) / 1000 for name, share in _SHARES}
    return {**figures, "max": histogram.max_ms / 1000}


def stats_document(done: Statistics, counts: dict[str, int], now: Instant) -> dict[str, Any]:
    """What a queue has done, in numbers."""
    uptime_s = instants.between_ms(done.first_at, now) / 1000 if done.first_at else 0.0
    runs = done.completed + done.failed_runs
    return {
        "total_jobs": sum(counts.values()),
        "completed_jobs": done.completed,
        "dead_jobs": counts[DEAD],
        "total_commands": done.runs,
        "failed_runs": done.failed_runs,
        "lost_runs": done.lost_runs,
        "retries": done.retries,
        "failure_rate": done.failed_runs / runs if runs else 0.0,
        "uptime": uptime_s,
        "throughput_per_second": done.completed / uptime_s if uptime_s else 0.0,
        "average_runtime": done.run.average_ms / 1000,
        "max_runtime": done.run.max_ms / 1000,
        "wait_seconds": percentiles(done.wait),
        "run_seconds": percentiles(done.run),
    }


def reasons_document(found: Reasons, now: Instant) -> dict[str, Any]:
    """Why a job is as it is."""
    return {
        "id": found.id,
        "state": found.state,
        "at": now,
        "causes": [_cause_document(cause, now) for cause in found.causes],
    }


def _cause_document(cause: Cause, now: Instant) -> dict[str, Any]:
    event = cause.event
    return {
        "cause": cause.kind,
        "event": event.offset if event is not None else None,
        "at": event.at if event is not None else None,
        "text": because(cause, now),
        **cause.details,
    }


def settings_document(settings: Settings) -> dict[str, Any]:
    """Every setting as `config set` accepts it: counts and shares as numbers, others as text."""
    document: dict[str, Any] = {}
    for setting in rules.SETTINGS:
        value = getattr(settings, setting.field)
        plain = isinstance(value, float) or setting.show is str
        document[setting.key] = value if plain else setting.show(value)
    return document


def event_document(event: Event, *, show_env: bool = False) -> dict[str, Any]:
    document = msgspec.to_builtins(event)
    if document.get("env") and not show_env:
        document["env"] = [pair.partition("=")[0] for pair in document["env"]]
    return {
        "offset": event.offset,
        "at": event.at,
        "type": wire_name(event),
        **{name: value for name, value in document.items() if name not in _PLACED},
    }


_PLACED = frozenset(("offset", "at", "type", "more"))
