"""A sink behind OTLP/HTTP: a job is a trace, each of its runs a span, and each event a log record.

In OTLP's JSON encoding. All ids are derived from the log and its offsets, so what is sent twice is
the same twice. See https://opentelemetry.io/docs/specs/otlp/.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from queuectl import __version__, instants
from queuectl.errors import Invalid
from queuectl.events import vocabulary as v
from queuectl.events.codec import decode_unverified
from queuectl.host import Host
from queuectl.runtime.sinks import Sink
from queuectl.ship import http
from queuectl.ship.origins import Origins
from queuectl.ship.shipment import Shipment
from queuectl.ship.sink import Opening, Refused

_SCHEME = "otlp:"
SIGNALS = ("traces", "logs")
DEFAULTS = {**http.DEFAULTS, "send_events": 1000, "signals": SIGNALS}
_PRODUCER, _CONSUMER = 4, 5
_ERROR = 2
_INFO, _WARN, _SEVERE = (9, "INFO"), (13, "WARN"), (17, "ERROR")
_SEVERITIES = {
    v.JobFailed: _WARN,
    v.JobDead: _SEVERE,
    v.LeaseExpired: _WARN,
    v.LogRepaired: _WARN,
    v.SinkLost: _WARN,
}
Attributes = list[dict[str, Any]]


class _Signal(NamedTuple):
    """How one signal is sent: the end of the URL, and what OTLP calls its parts."""

    path: str
    resource: str
    scope: str
    items: str
    rejected: str


_TRACES = _Signal("traces", "resourceSpans", "scopeSpans", "spans", "rejectedSpans")
_LOGS = _Signal("logs", "resourceLogs", "scopeLogs", "logRecords", "rejectedLogRecords")


def checked(sink: Sink, host: Host) -> Sink:
    """Raises `Invalid` for what is not the URL of something to post to."""
    http.check_url(sink.to.removeprefix(_SCHEME))
    if set(sink.signals) - set(SIGNALS):
        raise Invalid(f"--signal: it is one of {', '.join(SIGNALS)}")
    return http.with_token(replace(sink, to=sink.to.rstrip("/")), host)


def outlet(opening: Opening) -> Otlp:
    return Otlp(opening)


class Otlp:
    """Posts the spans of a shipment, then its log records; both have to be acknowledged."""

    def __init__(self, opening: Opening) -> None:
        self._sink = opening.sink
        self._url = opening.sink.to.removeprefix(_SCHEME)
        self._poster = http.Poster(opening.sink, opening.host)
        self._origins = Origins(opening.home, opening.host)

    def send(self, shipment: Shipment) -> None:
        try:
            told = [*_Telling(shipment, self._origins).all()]
        finally:
            self._origins.rest()
        spans = [span for found, _ in told for span in found]
        if spans and "traces" in self._sink.signals:
            self._post(_TRACES, spans, shipment)
        if "logs" in self._sink.signals:
            self._post(_LOGS, [record for _, record in told], shipment)

    def close(self) -> None:
        """Nothing is held between two shipments."""

    def _post(self, signal: _Signal, items: list[Any], shipment: Shipment) -> None:
        of = {"service.name": "queuectl", "service.instance.id": shipment.log}
        scope = {"name": "queuectl", "version": __version__}
        document = {
            signal.resource: [
                {
                    "resource": {"attributes": attributes(of)},
                    signal.scope: [{"scope": scope, signal.items: items}],
                }
            ]
        }
        headers = {"Content-Type": "application/json"}
        body = msgspec.json.encode(document)
        answer = _read(self._poster.post(f"{self._url}/v1/{signal.path}", body, headers))
        rejected = answer.get(signal.rejected)
        if rejected not in (None, 0, "0"):
            why = str(answer.get("errorMessage") or "it does not say why")
            raise Refused(
                f"{self._url} has taken all but {rejected} of {len(items)} {signal.path} of events"
                f" {shipment.first} to {shipment.last}: {why}"
            )


def _read(answer: bytes) -> dict[str, Any]:
    """What an answer says of what was not taken, if it is one that says so."""
    try:
        found = msgspec.json.decode(answer, type=dict[str, Any]).get("partialSuccess")
    except msgspec.MsgspecError:
        return {}
    return found if isinstance(found, dict) else {}


class _Telling:
    """A shipment as spans and log records."""

    def __init__(self, shipment: Shipment, origins: Origins) -> None:
        self._shipment = shipment
        self._log = shipment.log
        self._origins = origins

    def all(self) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
        """(spans, log record) of each event."""
        events = decode_unverified(self._shipment.data)
        for event, text in zip(events, self._shipment.texts, strict=True):
            self._origins.see(event)
            job = self._origins.job(event) if isinstance(event, v.JobEvent) else None
            trace = self._trace(event, job) if isinstance(event, v.JobEvent) else ""
            yield [*self._spans(event, job, trace)], self._record(event, text, trace, job)

    def _trace(self, event: v.JobEvent, job: v.JobEnqueued | None) -> str:
        """The id of the trace of a job; of one whose beginning is lost, that of its name."""
        return self._id(f"job {job.offset if job is not None else event.job}", 16)

    def _span(self, offset: int) -> str:
        """The id of the span that begins with that event."""
        return self._id(f"span {offset}", 8)

    def _id(self, what: str, size: int) -> str:
        return sha256(f"{self._log} {what}".encode()).hexdigest()[: 2 * size]

    def _spans(
        self, event: v.Event, job: v.JobEnqueued | None, trace: str
    ) -> Iterator[dict[str, Any]]:
        match event:
            case v.JobEnqueued():
                yield {
                    "traceId": trace,
                    "spanId": self._span(event.offset),
                    "name": f"enqueue {event.queue}",
                    "kind": _PRODUCER,
                    "startTimeUnixNano": _nano(event.at),
                    "endTimeUnixNano": _nano(event.at),
                    "attributes": attributes(
                        {**_about(event), "process.command_line": event.command}
                    ),
                }
            case v.FinishEvent() | v.JobReleased() | v.LeaseExpired():
                yield self._run(event, job, trace)

    def _run(self, event: v.AttemptEvent, job: v.JobEnqueued | None, trace: str) -> dict[str, Any]:
        end_us = instants.to_us(event.at)
        if isinstance(event, v.FinishEvent):
            start_us = end_us - event.run_ms * 1000
        else:
            start_us = instants.to_us(self._origins.claimed_at(event))
        span: dict[str, Any] = {
            "traceId": trace,
            "spanId": self._span(event.token),
            "name": f"run {event.queue}",
            "kind": _CONSUMER,
            "startTimeUnixNano": str(start_us * 1000),
            "endTimeUnixNano": str(end_us * 1000),
        }
        more: dict[str, Any] = {"queuectl.outcome": v.wire_name(event).partition(".")[2]}
        if job is not None:
            span["parentSpanId"] = self._span(job.offset)
            more["process.command_line"] = job.command
        if isinstance(event, v.FinishEvent):
            more |= {
                "process.exit.code": event.exit_code,
                "queuectl.wait_ms": event.wait_ms,
                "queuectl.cpu_ms": event.cpu_ms,
            }
        match event:
            case v.JobFailed():
                span["status"] = {"code": _ERROR, "message": event.error or event.reason}
                more["error.type"] = event.reason
            case v.LeaseExpired():
                span["status"] = {"code": _ERROR, "message": event.reason}
                more["error.type"] = "lost"
        span["attributes"] = attributes({**_about(event), **more})
        return span

    def _record(
        self, event: v.Event, text: bytes, trace: str, job: v.JobEnqueued | None
    ) -> dict[str, Any]:
        number, name = _SEVERITIES.get(type(event), _INFO)
        record = {
            "timeUnixNano": _nano(event.at),
            "observedTimeUnixNano": _nano(event.at),
            "severityNumber": number,
            "severityText": name,
            "eventName": v.wire_name(event),
            "body": {"stringValue": text.decode()},
            "attributes": attributes(
                {"log.record.uid": f"{self._log}-{event.offset}", **_about(event)}
            ),
        }
        if trace:
            record["traceId"] = trace
            began = getattr(event, "token", 0) or (job.offset if job is not None else 0)
            if isinstance(event, v.JobClaimed):
                began = event.offset
            if began:
                record["spanId"] = self._span(began)
        return record


def _about(event: v.Event) -> dict[str, Any]:
    """What spans and log records have in common."""
    found: dict[str, Any] = {"queuectl.offset": event.offset, "queuectl.type": v.wire_name(event)}
    for name in ("job", "queue", "attempt", "token", "worker", "actor"):
        value = getattr(event, name, None)
        if value not in (None, "", 0, -1):
            found[f"queuectl.{name}"] = value
    return found


def attributes(values: dict[str, Any]) -> Attributes:
    """In OTLP's form; what is None is left out."""
    return [
        {
            "key": key,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in values.items()
        if value is not None
    ]


def _nano(at: instants.Instant) -> str:
    return str(instants.to_us(at) * 1000)
