"""What the words on disk promise to those who read them without queuectl."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest

from queuectl.events import vocabulary as v

KINDS: tuple[type[v.Event], ...] = get_args(v.AnyEvent)
by_name = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_wire_names_are_unique() -> None:
    names = [v.wire_name(kind) for kind in KINDS]
    assert len(set(names)) == len(names) >= 18


def test_every_event_that_is_written_down_can_be_read() -> None:
    kinds = [
        thing
        for thing in vars(v).values()
        if isinstance(thing, type)
        and issubclass(thing, v.Event)
        and isinstance(thing.__struct_config__.tag, str)
    ]
    # A struct without a tag of its own is a base of others.
    written = {kind for kind in kinds if "." in v.wire_name(kind)}
    assert written == set(KINDS)


@by_name
def test_a_wire_name_is_a_storage_name_and_no_class_path(kind: type[v.Event]) -> None:
    assert re.fullmatch(r"(job|lease|worker|setting|queue|sink|log)\.[a-z_]+", v.wire_name(kind))
    assert v.wire_name(kind()) == v.wire_name(kind)


def test_a_key_has_one_json_type_in_all_events() -> None:
    types: dict[str, set[str]] = {}
    for kind in KINDS:
        for field in msgspec.structs.fields(kind):
            types.setdefault(field.name, set()).add(str(field.type).replace(" | None", ""))
    assert {key: found for key, found in types.items() if len(found) > 1} == {}
    # What the line itself carries is no key of an event.
    assert types.keys().isdisjoint({"crc", "type"})


@by_name
def test_every_field_can_be_missing(kind: type[v.Event]) -> None:
    line = b'{"type":"%s"}' % v.wire_name(kind).encode()
    assert msgspec.json.decode(line, type=v.AnyEvent) == kind()


@by_name
def test_events_do_not_change(kind: type[v.Event]) -> None:
    with pytest.raises(AttributeError):
        kind().offset = 1  # type: ignore[misc]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, v.JobEvent)])
def test_analysts_need_no_join_for_queue_and_attempt(kind: type[v.Event]) -> None:
    assert {"job", "queue", "attempt"} <= set(kind.__struct_fields__)


def test_the_end_of_a_run_carries_its_figures() -> None:
    for kind in (v.JobCompleted, v.JobFailed):
        assert {"wait_ms", "run_ms", "exit_code", "token"} <= set(kind.__struct_fields__)
