"""What is sent at a time: all of the log once, in order, within its limits, and no secrets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from shipping_logs import SECRETS, Site, expected

from queuectl.errors import Damaged
from queuectl.ship.shipment import Shipment, Shipments


def shipments(site: Site, after: int = 0, events: int = 0, size: int = 1 << 20) -> Shipments:
    return Shipments(site.log, after, events_max=events, bytes_max=size, show_env=False)


def all_of(source: Shipments) -> list[Shipment]:
    found = []
    while (shipment := source.next()) is not None:
        found.append(shipment)
    return found


@pytest.mark.parametrize(
    "events, size", [(0, 1 << 20), (1, 1 << 20), (7, 1 << 20), (0, 1), (0, 900)]
)
def test_each_event_is_in_one_shipment_and_shipments_are_within_their_limits(
    site: Site, events: int, size: int
) -> None:
    site.append(60)
    for after in (0, 1, 31, 60):
        found = all_of(shipments(site, after, events, size))
        first = after + 1
        for shipment in found:
            assert shipment.first == first
            assert len(shipment.texts) == shipment.last - shipment.first + 1
            assert not events or len(shipment.texts) <= events
            assert len(shipment.data) <= size or len(shipment.texts) == 1
            first = shipment.last + 1
        texts = [msgspec.json.decode(text) for shipment in found for text in shipment.texts]
        assert texts == expected(site.log)[after:]


def test_a_shipment_is_as_full_as_it_may_be(site: Site) -> None:
    site.append(60)
    found = all_of(Shipments(site.log, 0, events_max=0, bytes_max=900, show_env=True))
    for shipment, after in pairwise(found):
        assert len(shipment.data) + len(after.texts[0]) + 1 > 900


def test_it_goes_on_with_what_is_appended(site: Site) -> None:
    source = shipments(site)
    assert source.next() is None
    for number in range(1, 4):
        site.append(5)
        shipment = source.next()
        assert shipment is not None
        assert (shipment.first, shipment.last) == (number * 5 - 4, number * 5)
        assert (
            shipment.key == f"{site.log.segments.log_of_first()}-{shipment.first}-{shipment.last}"
        )
        assert source.next() is None


def test_a_shipment_can_be_made_to_end_where_it_ended_before(site: Site) -> None:
    site.append(20)
    for last in (1, 7, 20):
        source = shipments(site)
        shipment = source.next(last)
        assert shipment is not None and (shipment.first, shipment.last) == (1, last)
        rest = source.next()
        assert rest is None if last == 20 else rest is not None and rest.first == last + 1
    shipment = shipments(site, 5).next(3)
    assert shipment is not None and (shipment.first, shipment.last) == (6, 20), (
        "that one was before"
    )


def test_values_given_with_a_job_are_kept_back(site: Site) -> None:
    site.append(9)
    (shipment,) = all_of(shipments(site))
    assert b"hush" not in shipment.data and "hüsh".encode() not in shipment.data
    assert msgspec.json.decode(shipment.texts[2])["env"] == ["TOKEN", "EMPTY", "UMLAUT"]
    shown = Shipments(site.log, 0, events_max=0, bytes_max=1 << 20, show_env=True).next()
    assert shown is not None
    assert [msgspec.json.decode(text) for text in shown.texts] == expected(site.log, show_env=True)
    assert msgspec.json.decode(shown.texts[2])["env"] == SECRETS


def test_damage_is_told_once_all_before_it_was_given(site: Site) -> None:
    site.append(40)
    path = Path(site.log.segments.path(site.log.segments.list()[2]))
    path.write_bytes(path.read_bytes()[:-30] + b"y" + path.read_bytes()[-29:])
    site.log.close()
    source = shipments(site, 0, 3)
    found = []
    with pytest.raises(Damaged) as damage:
        while shipment := source.next():
            found.append(shipment)
    assert found[-1].last == damage.value.offset
    with pytest.raises(Damaged):
        source.next()
