"""A sink behind HTTP: a shipment is sent until it is acknowledged, whatever the receiver does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from receivers import (
    Answer,
    Receiver,
    cuts,
    cuts_in_the_answer,
    is_slow,
    receiving,
    says,
    take,
    takes_and_cuts,
    takes_twice,
    talks_nonsense,
)
from shipping_logs import Site, expected

from queuectl.errors import Invalid
from queuectl.runtime.sinks import Condition
from queuectl.ship.sink import Refused


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with receiving() as receiver:
        yield receiver


def posting(site: Site, receiver: Receiver, **given: Any) -> None:
    site.add("a", receiver.url, **{"send_events": 4, "timeout_ms": 5000, **given})


def refused(site: Site) -> str:
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert isinstance(shipping.error, Refused)
    return str(shipping.error)


def failing(site: Site) -> Condition:
    """What is known after a try that failed."""
    shipping = site.shipping("a")
    shipping.turn()
    shipping.close()
    assert shipping.error is None
    return site.sinks.condition("a")


def test_shipments_are_posted_as_json_lines_each_under_its_key(
    site: Site, receiver: Receiver
) -> None:
    site.append(10)
    posting(site, receiver)
    assert site.ship("a") == 10
    identity = site.log.segments.log_of_first()
    assert [request.headers["idempotency-key"] for request in receiver.requests] == [
        f'"{identity}-1-4"',
        f'"{identity}-5-8"',
        f'"{identity}-9-10"',
    ]
    for request in receiver.requests:
        assert request.path == "/in"
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["content-encoding"] == "gzip"
        assert request.headers["user-agent"].startswith("queuectl/")
        assert "authorization" not in request.headers
    found = [event for request in receiver.requests for event in request.events]
    assert found == expected(site.log)


def test_it_is_sent_uncompressed_if_so_wanted(site: Site, receiver: Receiver) -> None:
    site.append(1)
    posting(site, receiver, gzip=False)
    site.ship("a")
    (request,) = receiver.requests
    assert "content-encoding" not in request.headers
    assert request.events == expected(site.log)


PASSING: dict[str, tuple[Answer, str]] = {
    "500": (says(500, b"oops"), "answers 500 Internal Server Error: oops"),
    "502": (says(502), "502"),
    "503": (says(503), "503"),
    "408": (says(408), "408"),
    "409": (says(409, b"being processed"), "being processed"),
    "425": (says(425), "425"),
    "429": (says(429), "429"),
    "cut": (cuts, "no whole answer"),
    "cut after taking it": (takes_and_cuts, "no whole answer"),
    "cut in the answer": (cuts_in_the_answer, "no whole answer"),
    "slow": (is_slow(0.5), "timed out"),
    "nonsense": (talks_nonsense, "no whole answer"),
}


@pytest.mark.parametrize("answer, says_so", PASSING.values(), ids=PASSING)
def test_what_may_be_otherwise_later_is_tried_again(
    site: Site, receiver: Receiver, answer: Answer, says_so: str
) -> None:
    site.append(6)
    posting(site, receiver, timeout_ms=250 if answer is PASSING["slow"][0] else 5000)
    receiver.answers = [take, answer]
    condition = failing(site)
    assert says_so in condition.error
    assert receiver.url in condition.error
    assert site.sinks.cursor("a") == 4
    site.host.advance(5)
    assert site.ship("a") == 6
    assert receiver.offsets() == [1, 2, 3, 4, 5, 6]
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert keys[1] == keys[2], "the same shipment under the same key, from another process, too"


@pytest.mark.parametrize("code", [301, 307, 400, 401, 403, 404, 410, 413, 415, 422])
def test_what_will_never_be_taken_stops_it(site: Site, receiver: Receiver, code: int) -> None:
    site.append(6)
    posting(site, receiver)
    receiver.answers = [take, says(code, b'{"error": "no\n such"}', Location="/elsewhere")]
    text = refused(site)
    assert f" {code} " in text and '{"error": "no such"}' in text
    assert ("/elsewhere" in text) == (code < 400)
    assert site.sinks.cursor("a") == 4
    assert len(receiver.requests) == 2, "and is not sent where nobody wanted it"


@pytest.mark.parametrize(
    "value, wait_s",
    [
        ("7", 7),
        ("90000", 3600),
        ("date", 30),
        ("-5", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_a_receiver_says_when_to_come_again(
    site: Site, receiver: Receiver, value: str, wait_s: float
) -> None:
    if value == "date":
        moment = datetime.fromtimestamp(site.host.now_us() / 1e6 + 30, UTC)
        value = format_datetime(moment, usegmt=True)
    site.append(1)
    posting(site, receiver)
    receiver.answers = [says(503, Retry_After=value)]
    shipping = site.shipping("a")
    asked_s = shipping.turn() - site.host.monotonic_s()
    shipping.close()
    if wait_s:
        assert asked_s == pytest.approx(wait_s, abs=0.01)
    else:
        assert 0.5 <= asked_s <= 0.75


def test_an_answer_too_many_acknowledges_nothing(site: Site, receiver: Receiver) -> None:
    site.append(12)
    posting(site, receiver)
    receiver.answers = [takes_twice, cuts, takes_twice, takes_twice]
    shipping = site.shipping("a")
    shipping.turn()
    assert shipping.cursor == 4, "the second answer was not one to the second shipment"
    site.host.advance(5)
    shipping.turn()
    shipping.close()
    assert shipping.cursor == 12
    assert receiver.offsets() == [*range(1, 13)]


def test_an_answer_without_end_is_not_waited_for(site: Site, receiver: Receiver) -> None:
    def drips(handler: Any, request: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while True:
                handler.wfile.write(b"1\r\n.\r\n")
                site.host.advance(0.5)

    site.append(1)
    posting(site, receiver)
    receiver.answers = [drips] * 100  # its clock runs on, and there may be time for another try
    assert "timed out" in failing(site).error


def test_nobody_there(site: Site, receiver: Receiver) -> None:
    site.append(1)
    posting(site, receiver)
    receiver.close()
    assert failing(site).error == f"{receiver.url}: Connection refused"


def test_half_of_all_requests_may_fail(
    site: Site, receiver: Receiver, chance: random.Random
) -> None:
    site.append(200)
    bad = [answer for name, (answer, _) in PASSING.items() if name != "slow"] + [takes_twice]
    receiver.choose = lambda: chance.choice(bad) if chance.random() < 0.5 else take
    posting(site, receiver)
    assert site.ship("a", 400) == 200
    assert receiver.offsets() == [*range(1, 201)]
    assert len(receiver.requests) > 60


# ---- tokens


def test_the_token_is_read_for_each_shipment(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.append(4)
    file = site.root / "token"
    file.write_text("s3cret~1\n")
    monkeypatch.chdir(site.root)
    posting(site, receiver, token_file="token", send_events=2)
    receiver.answers = [lambda handler, request: (file.write_text("other"), take(handler, request))]
    monkeypatch.chdir("/")
    site.ship("a")
    assert [request.headers["authorization"] for request in receiver.requests] == [
        "Bearer s3cret~1",
        "Bearer other",
    ]


def test_a_token_from_the_environment(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.append(1)
    posting(site, receiver, token_env="SIEM_TOKEN")
    assert failing(site).error == "the variable SIEM_TOKEN holds no token"
    monkeypatch.setenv("SIEM_TOKEN", "s3cret")
    site.host.advance(5)
    site.ship("a")
    assert receiver.requests[-1].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize("content", [None, "", "two words", "line\r\nX-Evil: 1"])
def test_what_is_no_token_is_not_sent(site: Site, receiver: Receiver, content: str | None) -> None:
    site.append(1)
    file = site.root / "token"
    if content is not None:
        file.write_text(content)
    posting(site, receiver, token_file=str(file))
    assert str(file) in failing(site).error
    assert receiver.requests == []


def test_a_token_stands_nowhere(site: Site, receiver: Receiver) -> None:
    site.append(1)
    file = site.root / "token"
    file.write_text("s3cret")
    posting(site, receiver, token_file=str(file))
    receiver.answers = [says(401, b"s3cret is no good")]
    assert "… is no good" in refused(site)
    kept = [path for path in (site.root / "data").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]
    assert "s3cret" not in repr(site.notes)


# ---- what is refused at once


@pytest.mark.parametrize(
    "to, says_so",
    [
        ("http://", "no URL"),
        ("https://:80/", "no URL"),
        ("http://host:99999/", "no URL"),
        ("http://host/a b", "no URL"),
        ("http://hö.st/", "no URL"),
        ("https://ann:pass@host/", "password"),
        ("https://ann@host/", "password"),
        ("https://host/#part", "fragment"),
    ],
)
def test_what_is_no_url_to_post_to(site: Site, to: str, says_so: str) -> None:
    with pytest.raises(Invalid, match=says_so):
        site.add("a", to)


def test_options_of_other_kinds(site: Site, receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="--file-events"):
        site.add("a", receiver.url, file_events=3)
    with pytest.raises(Invalid, match="--no-gzip"):
        site.add("a", f"jsonl:{site.root}/out", gzip=False)
    with pytest.raises(Invalid, match="--token-file and --token-env"):
        site.add("a", receiver.url, token_file="x", token_env="Y")
