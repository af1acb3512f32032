"""How sinks are doing: what `ship status` and `doctor` tell of them."""

from __future__ import annotations

from typing import Any

from queuectl import instants
from queuectl.cli.text import columns
from queuectl.errors import Altered, Disproved
from queuectl.quantities import format_size
from queuectl.runtime.sinks import Condition
from queuectl.telling.words import printable, seconds

LOST = (
    "it lagged too far behind, so compaction waits for it no longer; what has left the log since"
    " comes from the archive, as far as that goes"
)


def sink_document(queue: Any, sinks: Any, name: str) -> dict[str, Any]:
    """How a sink is doing: as `ship status --json` prints it."""
    sink = sinks.get(name)
    now = queue.now()
    condition = sinks.condition(name)
    lag = sinks.lag(queue.log, name, now)
    running = sinks.is_served(name)
    cursor = None
    try:
        cursor = sinks.cursor(name, queue.log.head)
    except (Altered, Disproved) as error:
        condition = Condition(error=str(error), at=now, failures=1, stopped=True)
    failing = bool(condition.error)
    state = "stopped" if condition.stopped else "failing" if failing and running else ""
    return {
        "sink": name,
        "to": sink.to,
        "state": state or ("running" if running else "idle"),
        "lost": name in sinks.lost(),
        "cursor": cursor,
        "head": queue.log.head(),
        "lag_events": lag.events,
        "lag_seconds": lag.ms / 1000,
        "held_bytes": lag.bytes,
        "error": condition.error or None,
        "error_at": condition.at if failing else None,
        "failures": condition.failures,
        "retry_at": condition.retry_at if failing and running else None,
        "retry_seconds": _seconds_until(now, condition.retry_at) if failing and running else None,
    }


def _seconds_until(now: str, then: str) -> float | None:
    return instants.between_ms(now, then) / 1000 if then else None


def table(documents: list[dict[str, Any]]) -> str:
    rows = [
        (
            document["sink"],
            document["state"] + (", LOST" if document["lost"] else ""),
            "?" if document["cursor"] is None else str(document["cursor"]),
            f"{document['lag_events']}",
            seconds(document["lag_seconds"] * 1000) if document["lag_events"] else "-",
            format_size(document["held_bytes"]),
            printable(document["to"]),
        )
        for document in documents
    ]
    titles = ("SINK", "IS", "SHIPPED", "LAG", "BEHIND", "HELD", "TO")
    notes = [line for document in documents for line in _notes(document)]
    return "\n".join([columns(rows, titles), *notes])


def _notes(document: dict[str, Any]) -> list[str]:
    notes = []
    if document["error"]:
        text = f"{document['sink']}: {document['error']}"
        if document["retry_seconds"] is not None:
            text += (
                f" (try {document['failures'] + 1} in {seconds(1000 * document['retry_seconds'])})"
            )
        notes.append(printable(text))
    if document["lost"]:
        notes.append(f"{document['sink']}: {LOST}")
    return notes
