"""Shipping to one sink: the cursor follows what was acknowledged, failures are tried again ever
later, and what will never be taken stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shipping_logs import Site

from queuectl import Queue
from queuectl.errors import Newer, NotFound, Rejected
from queuectl.runtime.redacting import redact
from queuectl.runtime.sinks import Sink
from queuectl.ship.shipment import Shipment
from queuectl.ship.shipping import Shipping
from queuectl.ship.sink import Opening, Refused, Unavailable


class Receiver:
    """A sink that obeys a test."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int]] = []
        self.data: list[bytes] = []
        self.opened: list[int] = []
        """The cursors that it was opened with."""
        self.closed = 0
        self.answers: list[Exception | None] = []
        """To the next shipments; afterwards it takes them."""

    def __call__(self, opening: Opening) -> Receiver:
        self.opened.append(opening.cursor)
        return self

    def send(self, shipment: Shipment) -> None:
        self.got.append((shipment.first, shipment.last))
        self.data.append(shipment.data)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def begin(site: Site, receiver: Receiver) -> Callable[[], Shipping]:
    site.add("a", f"jsonl:{site.root}/unused", send_events=4)
    return lambda: site.shipping("a", open_outlet=receiver)


def retry_s(shipping: Shipping, host: Any) -> float:
    """Let a turn fail; returns how long it wants to wait."""
    wait_s = shipping.turn() - host.monotonic_s()
    host.advance(wait_s + 0.001)
    return wait_s


def test_the_cursor_moves_when_the_sink_has_acknowledged(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(10)
    shipping = begin()
    receiver.answers = [None, Unavailable("not now")]
    shipping.turn()
    assert receiver.got == [(1, 4), (5, 8)]
    assert shipping.cursor == site.sinks.cursor("a") == 4
    site.host.advance(2)  # type: ignore[attr-defined]
    assert shipping.turn() == float("inf")
    assert receiver.got[2:] == [(5, 8), (9, 10)], "the same shipment again, and then the next"
    assert receiver.opened == [0, 4], "through an outlet opened anew"
    assert site.sinks.cursor("a") == 10
    shipping.close()
    assert receiver.closed == 2


def test_the_same_shipment_is_sent_again_after_a_crash(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(3)
    shipping = begin()
    receiver.answers = [Unavailable("cut off")]
    shipping.turn()
    shipping.close()  # as after a crash, nobody knows whether that shipment had arrived
    site.append(6)
    shipping = begin()
    shipping.turn()
    shipping.close()
    assert receiver.got == [(1, 3), (1, 3), (4, 7), (8, 9)]


def test_what_is_redacted_while_a_sink_is_down_does_not_leave_any_more(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    with Queue(site.home.root, host=site.host) as queue:
        queue.enqueue("echo s3cret", id="known")
        queue.cancel("known")
        shipping = begin()
        receiver.answers = [Unavailable("not now")]
        retry_s(shipping, site.host)
        redact(queue, "known", ["command"])
    site.append(3)
    shipping.turn()
    shipping.close()
    assert receiver.got == [(1, 2), (1, 2), (3, 6), (7, 7)], "the same shipment again"
    assert [b"s3cret" in data for data in receiver.data] == [True, False, False, False]
    assert b'"command":"[redacted]"' in receiver.data[1]


def test_each_failure_is_waited_for_longer_and_the_wait_is_spread(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    host = site.host
    site.append(1)
    shipping = begin()
    receiver.answers = [OSError(111, "Connection refused")] * 12
    waits = [retry_s(shipping, host) for _ in range(12)]
    for number, wait_s in enumerate(waits):
        plain = min(60, 0.5 * 2**number)
        assert plain <= wait_s <= plain * 1.5
    assert len({wait_s / min(60, 0.5 * 2**number) for number, wait_s in enumerate(waits)}) > 6
    condition = site.sinks.condition("a")
    assert (condition.error, condition.failures) == ("Connection refused", 12)
    assert condition.retry_at > condition.at
    assert site.notes == ["sink a: Connection refused; it is tried again"], "it is said once"
    shipping.turn()
    assert site.sinks.condition("a").error == ""
    assert site.notes[1:] == ["sink a: it goes on"]
    receiver.answers = [Unavailable("again")]
    site.append(1)
    assert retry_s(shipping, host) < 1, "the count begins anew"
    shipping.close()


def test_a_sink_may_ask_for_more_time(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(1)
    shipping = begin()
    receiver.answers = [Unavailable("busy", retry_s=120.0)]
    assert retry_s(shipping, site.host) == pytest.approx(120, abs=0.01)
    shipping.turn()
    shipping.close()
    assert receiver.got == [(1, 1), (1, 1)]


def test_before_its_time_nothing_is_tried(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(1)
    shipping = begin()
    receiver.answers = [Unavailable("busy")]
    until = shipping.turn()
    site.append(1)
    assert shipping.turn() == until
    assert len(receiver.got) == 1
    shipping.close()


def test_what_will_never_be_taken_stops_it(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(6)
    shipping = begin()
    receiver.answers = [None, Refused("no such field")]
    shipping.turn()
    assert shipping.is_over and shipping.cursor == 4
    condition = site.sinks.condition("a")
    assert condition.stopped and condition.error == "no such field"
    assert site.notes == ["sink a: no such field; nothing more is shipped to it"]
    shipping.close()
    shipping = begin()
    assert not site.sinks.condition("a").stopped, "somebody has seen to it"
    shipping.turn()
    shipping.close()
    assert shipping.cursor == 6


def test_one_that_is_stopped_can_be_seen_to_while_others_are_shipped_to(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(4)
    shipping = begin()
    receiver.answers = [Refused("no such field")]
    shipping.turn()
    assert not site.sinks.is_served("a")
    site.sinks.reset("a", 2)
    again = begin()
    shipping.close()
    assert site.sinks.is_served("a"), "by who began since"
    again.turn()
    again.close()
    assert receiver.got == [(1, 4), (3, 4)]


def test_whoever_wants_it_done_once_hears_that_it_cannot_be_done(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(6)
    shipping = begin()
    shipping.until = 4
    receiver.answers = [Unavailable(f"down {number}") for number in range(9)]
    for _ in range(5):
        assert not shipping.is_over
        retry_s(shipping, site.host)
    assert shipping.is_over and str(shipping.error) == "down 4"
    shipping.close()
    receiver.answers.clear()
    shipping = begin()
    shipping.until = 4
    shipping.turn()
    shipping.close()
    assert shipping.is_over and shipping.cursor == 4, "what came later is for the next time"


def test_asked_to_stop_it_begins_no_other_shipment(
    site: Site, receiver: Receiver, begin: Callable[[], Shipping]
) -> None:
    site.append(8)
    shipping = begin()
    receiver.send = lambda shipment: setattr(shipping, "stopping", True)  # type: ignore[method-assign]
    shipping.turn()
    assert shipping.is_over and shipping.cursor == 4
    shipping.close()


# ---- sinks


def test_one_ships_to_a_sink_at_a_time(site: Site, begin: Callable[[], Shipping]) -> None:
    shipping = begin()
    for act in (begin, lambda: site.sinks.remove("a"), lambda: site.sinks.reset("a", 0)):
        with pytest.raises(Rejected, match="somebody else is shipping to a"):
            act()
    assert site.sinks.is_served("a")
    shipping.close()
    assert not site.sinks.is_served("a")
    begin().close()


def test_a_sink_that_is_removed_holds_nothing_up(site: Site, begin: Callable[[], Shipping]) -> None:
    begin().close()
    assert site.host.names(site.home.cursors) == ["a"]
    with pytest.raises(Rejected, match="already"):
        site.add("a", f"jsonl:{site.root}/other")
    site.sinks.remove("a")
    assert site.host.names(site.home.cursors) == site.host.names(site.home.sinks) == []
    with pytest.raises(NotFound, match="no sink a"):
        site.shipping("a")


def test_a_definition_of_a_later_version_is_not_guessed_at(site: Site) -> None:
    site.add("a", f"jsonl:{site.root}/out")
    path = site.root / "data" / "sinks" / "a.json"
    path.write_text(path.read_text().replace('"name"', '"colour": "red", "name"'))
    with pytest.raises(Newer, match="sink a"):
        site.shipping("a")


@pytest.mark.parametrize("begins, cursor", [(0, 0), (3, 3)])
def test_where_a_cursor_is_gone_shipping_begins_where_it_began(
    site: Site, begins: int, cursor: int
) -> None:
    site.append(6)
    site.sinks.add(Sink(name="a", to="jsonl:/", start=begins))
    site.sinks.move("a", 5)
    assert site.sinks.cursor("a") == 5
    (site.root / "data" / "cursors" / "a").unlink()
    assert site.sinks.cursor("a") == cursor
