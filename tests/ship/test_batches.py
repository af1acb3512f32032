"""What is sent at a time: all of the log once, in order, within its limits, and no secrets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from shipping_logs import SECRETS, Site, expected

from queuectl.engines.file import lines
from queuectl.errors import Damaged
from queuectl.ship.batch import Batch, Batches


def batches(site: Site, after: int = 0, events: int = 0, size: int = 1 << 20) -> Batches:
    return Batches(site.log, after, events_max=events, bytes_max=size, show_env=False)


def all_of(source: Batches) -> list[Batch]:
    found = []
    while (batch := source.next()) is not None:
        found.append(batch)
    return found


@pytest.mark.parametrize(
    "events, size", [(0, 1 << 20), (1, 1 << 20), (7, 1 << 20), (0, 1), (0, 900)]
)
def test_each_event_is_in_one_batch_and_batches_are_within_their_limits(
    site: Site, events: int, size: int
) -> None:
    site.append(60)
    for after in (0, 1, 31, 60):
        found = all_of(batches(site, after, events, size))
        first = after + 1
        for batch in found:
            assert batch.first == first
            assert len(batch.texts) == batch.last - batch.first + 1
            assert not events or len(batch.texts) <= events
            assert len(batch.data) <= size or len(batch.texts) == 1
            first = batch.last + 1
        texts = [msgspec.json.decode(text) for batch in found for text in batch.texts]
        assert texts == expected(site.log)[after:]


def test_a_batch_is_as_full_as_it_may_be(site: Site) -> None:
    site.append(60)
    found = all_of(Batches(site.log, 0, events_max=0, bytes_max=900, show_env=True))
    for batch, after in pairwise(found):
        assert len(batch.data) + len(after.texts[0]) + 1 > 900


def test_it_goes_on_with_what_is_appended(site: Site) -> None:
    source = batches(site)
    assert source.next() is None
    for number in range(1, 4):
        site.append(5)
        batch = source.next()
        assert batch is not None
        assert (batch.first, batch.last) == (number * 5 - 4, number * 5)
        assert batch.key == f"{lines.identity(site.log)}-{batch.first}-{batch.last}"
        assert source.next() is None


def test_a_batch_can_be_made_to_end_where_it_ended_before(site: Site) -> None:
    site.append(20)
    for last in (1, 7, 20):
        source = batches(site)
        batch = source.next(last)
        assert batch is not None and (batch.first, batch.last) == (1, last)
        rest = source.next()
        assert rest is None if last == 20 else rest is not None and rest.first == last + 1
    batch = batches(site, 5).next(3)
    assert batch is not None and (batch.first, batch.last) == (6, 20), "that one was before"


def test_values_given_with_a_job_are_kept_back(site: Site) -> None:
    site.append(9)
    (batch,) = all_of(batches(site))
    assert b"hush" not in batch.data and "hüsh".encode() not in batch.data
    assert msgspec.json.decode(batch.texts[2])["env"] == ["TOKEN", "EMPTY", "UMLAUT"]
    shown = Batches(site.log, 0, events_max=0, bytes_max=1 << 20, show_env=True).next()
    assert shown is not None
    assert [msgspec.json.decode(text) for text in shown.texts] == expected(site.log, show_env=True)
    assert msgspec.json.decode(shown.texts[2])["env"] == SECRETS


def test_damage_is_told_once_all_before_it_was_given(site: Site) -> None:
    site.append(40)
    path = Path(site.log.segments.path(site.log.segments.list()[2]))
    path.write_bytes(path.read_bytes()[:-30] + b"y" + path.read_bytes()[-29:])
    site.log.close()
    source = batches(site, 0, 3)
    found = []
    with pytest.raises(Damaged) as damage:
        while batch := source.next():
            found.append(batch)
    assert found[-1].last == damage.value.offset
    with pytest.raises(Damaged):
        source.next()
