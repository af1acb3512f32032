"""A sink behind OTLP: what arrives is right by the official definitions, and the same however often
and from wherever it is sent."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hosts import Untroubled
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from receivers import Receiver, cuts, receiving, says, take
from shipping_logs import Site

from queuectl import Queue, instants
from queuectl.domain import commands as c
from queuectl.errors import Invalid
from queuectl.events import vocabulary as v
from queuectl.ship.sink import Refused

MESSAGES = {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def played(site: Site) -> Site:
    """A queue in which something of everything has happened, and a name was used twice."""
    host = site.host
    with Queue(site.home.root, host=host) as queue:

        def run(*ids: str, **end: Any) -> None:
            claims = queue.turn([], worker="w", slots=range(1, 1 + len(ids)))
            host.advance(2)
            finishes = []
            for claim in claims:
                assert isinstance(claim, v.JobClaimed) and claim.job in ids
                finish = c.Finish(job=claim.job, token=claim.offset, now=queue.now(), **end)
                finishes.append(finish)
            queue.turn(finishes, worker="w", slots=[])

        queue.enqueue("echo one", id="good", env={"TOKEN": "hush"})
        queue.enqueue("exit 3", id="bad", max_retries=2, backoff="fixed", backoff_base=1)
        host.advance(1)
        run("good", "bad", exit_code=0, run_ms=1500)
        queue.enqueue("exit 4", id="worse", max_retries=1, queue="mail")
        run("worse", exit_code=4, run_ms=900, reason="exit", error="no such file")
        queue.retry("worse")
        run("worse", exit_code=0, run_ms=100)
        queue.prune("good")
        queue.enqueue("echo two", id="good")
        run("good", exit_code=0, run_ms=50)
        queue.enqueue("sleep 9", id="lost", max_retries=2)
        (claim,) = queue.turn([], worker="w", slots=[1])
        host.advance(5)
        queue.submit([c.Expire(job="lost", now=queue.now(), token=claim.offset, reason="it died")])
        queue.pause("mail", reason="down")
    return site


def message(request: Any) -> Any:
    """The request as the official definitions read it; OTLP writes ids in hex, and they base64."""

    def based(value: Any) -> Any:
        if isinstance(value, list):
            return [based(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: base64.b64encode(bytes.fromhex(each)).decode()
            if key in ("traceId", "spanId", "parentSpanId")
            else based(each)
            for key, each in value.items()
        }

    assert request.headers["content-type"] == "application/json"
    document = based(msgspec.json.decode(request.body))
    return json_format.ParseDict(document, MESSAGES[request.path]())


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def spans(receiver: Receiver) -> list[Any]:
    found = []
    for request in receiver.requests:
        if request.path == "/v1/traces":
            for resource in message(request).resource_spans:
                assert values(resource.resource.attributes)["service.name"] == "queuectl"
                found += chain.from_iterable(scope.spans for scope in resource.scope_spans)
    return found


def records(receiver: Receiver) -> list[Any]:
    found = []
    for request in receiver.requests:
        if request.path == "/v1/logs":
            for resource in message(request).resource_logs:
                found += chain.from_iterable(scope.log_records for scope in resource.scope_logs)
    return found


def posting(site: Site, receiver: Receiver, name: str = "a", **given: Any) -> None:
    url = receiver.url.removesuffix("/in")
    site.add(name, f"otlp:{url}", **given)


def test_a_job_is_a_trace_and_each_of_its_runs_a_span(played: Site, receiver: Receiver) -> None:
    posting(played, receiver)
    played.ship("a")
    found = spans(receiver)
    traces: dict[bytes, list[Any]] = {}
    for span in found:
        assert len(span.trace_id) == 16 and len(span.span_id) == 8
        traces.setdefault(span.trace_id, []).append(span)
    assert len({span.span_id for span in found}) == len(found)
    told = []
    for trace in traces.values():
        (enqueued,) = (span for span in trace if not span.parent_span_id)
        assert enqueued.kind == enqueued.SPAN_KIND_PRODUCER
        for span in trace:
            assert (
                values(span.attributes)["process.command_line"]
                == (values(enqueued.attributes)["process.command_line"])
            )
            if span is not enqueued:
                assert span.parent_span_id == enqueued.span_id
                assert span.kind == span.SPAN_KIND_CONSUMER
                assert enqueued.start_time_unix_nano <= span.start_time_unix_nano
            about = values(span.attributes)
            told.append(
                (
                    about["queuectl.job"],
                    about["process.command_line"],
                    about.get("queuectl.outcome", "enqueued"),
                    (span.end_time_unix_nano - span.start_time_unix_nano) // 1_000_000,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )
            )
    assert sorted(told) == [
        ("bad", "exit 3", "completed", 1500, False),
        ("bad", "exit 3", "enqueued", 0, False),
        ("good", "echo one", "completed", 1500, False),
        ("good", "echo one", "enqueued", 0, False),
        ("good", "echo two", "completed", 50, False),
        ("good", "echo two", "enqueued", 0, False),
        ("lost", "sleep 9", "enqueued", 0, False),
        ("lost", "sleep 9", "expired", 5000, True),
        ("worse", "exit 4", "completed", 100, False),
        ("worse", "exit 4", "enqueued", 0, False),
        ("worse", "exit 4", "failed", 900, True),
    ]
    (failed,) = (span for span in found if values(span.attributes).get("error.type") == "exit")
    assert failed.status.message == "no such file"
    assert values(failed.attributes)["process.exit.code"] == 4


def test_each_event_is_a_log_record(played: Site, receiver: Receiver) -> None:
    posting(played, receiver)
    played.ship("a")
    events = [event for piece in played.log.read() for event in piece]
    found = records(receiver)
    assert len(found) == len(events)
    known = {(span.trace_id, span.span_id) for span in spans(receiver)}
    for event, record in zip(events, found, strict=True):
        assert record.event_name == v.wire_name(event)
        assert record.time_unix_nano == instants.to_us(event.at) * 1000
        body = msgspec.json.decode(record.body.string_value)
        assert (body["offset"], body["type"]) == (event.offset, v.wire_name(event))
        assert values(record.attributes)["queuectl.offset"] == event.offset
        assert values(record.attributes)["log.record.uid"].endswith(f"-{event.offset}")
        if isinstance(event, v.JobEvent):
            assert (record.trace_id, record.span_id) in known
        else:
            assert not record.trace_id
    severities = {record.event_name: record.severity_text for record in found}
    assert severities["job.dead"] == "ERROR"
    assert severities["job.failed"] == severities["lease.expired"] == "WARN"
    assert severities["job.completed"] == "INFO"
    assert b"hush" not in b"".join(request.body for request in receiver.requests)


def test_it_is_the_same_from_wherever_it_is_sent(
    played: Site, receiver: Receiver, tmp_path: Path
) -> None:
    """Nothing of what was sent before has to be known."""
    posting(played, receiver, "whole")
    head = played.ship("whole")

    def seen() -> dict[bytes, bytes]:
        items = [*spans(receiver), *records(receiver)]
        receiver.requests.clear()
        return {
            one.span_id + values(one.attributes).get("log.record.uid", "").encode(): (
                one.SerializeToString()
            )
            for one in items
        }

    whole = seen()
    for after in range(head):
        posting(played, receiver, f"part{after}", send_events=1 + after % 3)
        played.sinks.reset(f"part{after}", after)
        played.ship(f"part{after}")
        part = seen()
        assert part and part.items() <= whole.items()
    posting(played, receiver, "one", send_events=1)
    played.ship("one")
    assert seen() == whole


def test_it_is_sent_again_until_both_are_taken(played: Site, receiver: Receiver) -> None:
    posting(played, receiver)
    receiver.answers = [take, says(503)]
    shipping = played.shipping("a")
    shipping.turn()
    assert shipping.cursor == 0
    played.host.advance(5)
    receiver.answers = [cuts]
    shipping.turn()
    played.host.advance(5)
    shipping.turn()
    shipping.close()
    assert shipping.cursor == played.log.head()
    paths = [request.path[4:] for request in receiver.requests]
    assert paths == ["traces", "logs", "traces", "traces", "logs"]
    assert receiver.requests[0].body == receiver.requests[3].body


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_only_what_is_wanted_is_sent(played: Site, receiver: Receiver, signal: str) -> None:
    posting(played, receiver, signals=(signal,))
    played.ship("a")
    assert {request.path for request in receiver.requests} == {f"/v1/{signal}"}


def test_a_shipment_without_spans_sends_none(site: Site, receiver: Receiver) -> None:
    with Queue(site.home.root, host=Untroubled()) as queue:
        queue.set("max-retries", "5")
    posting(site, receiver)
    site.ship("a")
    assert [request.path for request in receiver.requests] == ["/v1/logs"]


@pytest.mark.parametrize("rejected", ["3", 3])
def test_what_was_taken_only_in_part_stops_it(
    played: Site, receiver: Receiver, rejected: object
) -> None:
    posting(played, receiver)
    partial = {"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "too old"}}
    receiver.answers = [says(200, msgspec.json.encode(partial))]
    shipping = played.shipping("a")
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    assert "all but 3 of" in str(shipping.error) and "too old" in str(shipping.error)
    assert shipping.cursor == 0


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b'{"partialSuccess": {"errorMessage": "slow down"}}', b"\x0a\x00", b"[]"]
)
def test_other_answers_that_all_is_well_are_enough(
    played: Site, receiver: Receiver, answer: bytes
) -> None:
    posting(played, receiver)
    receiver.choose = lambda: says(200, answer)
    assert played.ship("a") == played.log.head()


def test_what_is_no_address(site: Site) -> None:
    for to in ("otlp:", "otlp:host:4318", "otlp:ftp://host/"):
        with pytest.raises(Invalid, match="no URL"):
            site.add("a", to)
    with pytest.raises(Invalid, match="traces, logs"):
        site.add("a", "otlp:http://host:4318", signals=("metrics",))
