"""One event, one line: what is written is what is read, and whatever is altered shows."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import Newer
from queuectl.events import vocabulary as v
from queuectl.events.codec import (
    FORMAT_MAX,
    BadLine,
    Header,
    decode,
    decode_header,
    encode,
    frame,
    frame_header,
)

AT = "2026-01-01T00:00:00.000000Z"
KINDS: tuple[type[v.Event], ...] = get_args(v.AnyEvent)
_VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: st.integers(-(1 << 53), 1 << 53),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int | None: st.none() | st.integers(-(1 << 31), 1 << 31),
    list[str] | None: st.none() | st.lists(st.text(), max_size=3),
    list[int] | None: st.none() | st.lists(st.integers(0, 1 << 53), max_size=3),
}


def facts(kind: type[v.Event]) -> st.SearchStrategy[v.Event]:
    place = ("offset", "at", "more")
    return st.builds(
        kind,
        **{
            field.name: _VALUES[field.type]
            for field in msgspec.structs.fields(kind)
            if field.name not in place
        },
    )


def lines_of(*given: v.Event, crc: int = 0) -> list[bytes]:
    lines = []
    for offset, fact in enumerate(given, 1):
        line, crc = frame(encode(fact), crc, offset, AT, offset < len(given))
        lines.append(line)
    return lines


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_event_comes_back_as_it_was(kind: type[v.Event]) -> None:
    @given(st.lists(facts(kind), min_size=1, max_size=3), st.integers(0, (1 << 32) - 1))
    def check(written: list[v.Event], crc: int) -> None:
        data = b"".join(lines_of(*written, crc=crc))
        read, last_crc = decode(data, crc)
        assert read == [
            msgspec.structs.replace(fact, offset=offset, at=AT, more=offset < len(written))
            for offset, fact in enumerate(written, 1)
        ]
        # One line each, plain JSON for everybody else, and the chain ends where the last line says.
        lines = data.split(b"\n")
        assert len(lines) == len(written) + 1
        assert json.loads(lines[-2]) == orjson.loads(lines[-2])
        assert int(json.loads(lines[-2])["crc"], 16) == last_crc

    check()


def test_the_crc_comes_first_and_has_a_fixed_width() -> None:
    (line,) = lines_of(v.JobEnqueued(job="a", command="true"))
    assert line.startswith(b'{"crc":"') and line[16:].startswith(b'","offset":1,"at":"')
    assert line.endswith(b"}\n")


@pytest.mark.parametrize(
    "text", ["\u2028", "\u2029", "\x85", "a\nb\r\nc", "\x1c\x1e\x0b", "\ufeff"]
)
def test_only_a_newline_ends_a_line(text: str) -> None:
    data = b"".join(lines_of(v.JobEnqueued(job="a", command=text), v.JobEnqueued(job="b")))
    assert data.count(b"\n") == 2
    assert decode(data, 0)[0][0].command == text  # type: ignore[attr-defined]


CHUNK = lines_of(
    v.JobEnqueued(job="a", command="true", tags=["x"]),
    v.JobClaimed(job="a", attempt=1, worker="w", until=AT),
    v.JobCompleted(job="a", exit_code=0, run_ms=12),
    v.SettingChanged(key="timeout", value="5s"),
)


def test_every_bit_that_is_flipped_is_found() -> None:
    chunk = b"".join(CHUNK)
    # Not those of the last newline: without it the last line would not be a whole one.
    for number in range((len(chunk) - 1) * 8):
        spoilt = bytearray(chunk)
        spoilt[number // 8] ^= 1 << number % 8
        with pytest.raises(BadLine):
            decode(bytes(spoilt), 0)


@pytest.mark.parametrize("index", range(len(CHUNK)))
@pytest.mark.parametrize(
    "edit",
    [
        lambda lines, index: lines.insert(index, lines[index]),
        lambda lines, index: lines.insert(0, lines.pop(index)),
        lambda lines, index: lines.append(lines.pop(index)),
        lambda lines, index: lines.pop(index),
        lambda lines, index: lines.insert(index, b"\n"),
        lambda lines, index: lines.insert(index, b"{}\n"),
        lambda lines, index: lines.__setitem__(
            index, lines[index][:8] + b"0" * 8 + lines[index][16:]
        ),
    ],
    ids=["repeated", "first", "last", "missing", "blank", "foreign", "zeroed"],
)
def test_lines_that_are_not_as_they_were_written_are_found(edit: Any, index: int) -> None:
    lines = list(CHUNK)
    edit(lines, index)
    if lines == CHUNK[: len(lines)]:
        pytest.skip("this edit changes nothing, or only cuts the end, which the mark guards")
    with pytest.raises(BadLine) as raised:
        decode(b"".join(lines), 0)
    # It says how far everything was right.
    good = len(raised.value.events)
    assert lines[:good] == CHUNK[:good]
    assert raised.value.position == sum(map(len, CHUNK[:good]))
    assert raised.value.crc == (int(CHUNK[good - 1][8:16], 16) if good else 0)


def test_a_crc_in_capitals_does_not_pass() -> None:
    facts = [v.JobEnqueued(job=str(number)) for number in range(20)]
    for line in (lines_of(fact)[0] for fact in facts):
        capital = line[:8] + line[8:16].upper() + line[16:]
        if capital != line:
            with pytest.raises(BadLine):
                decode(capital, 0)
            return
    pytest.fail("no checksum with a letter in it")


def test_a_line_counts_only_where_it_was_written() -> None:
    second = CHUNK[1]
    with pytest.raises(BadLine):
        decode(second, 0)
    assert decode(second, int(CHUNK[0][8:16], 16))[0][0].offset == 2


def test_nothing_is_decoded_to_nothing() -> None:
    assert decode(b"", 7) == ([], 7)


@pytest.mark.parametrize(
    "payload",
    [b'{"type":"job.teleported","job":"a"}', b'{"type":"job.enqueued","priority":"high"}', b"{}"],
    ids=["unknown kind", "another type", "no kind"],
)
def test_an_event_of_a_newer_program_is_not_taken_for_damage(payload: bytes) -> None:
    line, _ = frame(payload, 0, 1, AT, False)
    with pytest.raises(Newer, match="use a newer queuectl"):
        decode(line, 0)


def test_a_field_of_a_newer_program_is_passed_over() -> None:
    line, _ = frame(b'{"type":"job.dead","job":"a","colour":"red"}', 0, 1, AT, False)
    assert decode(line, 0)[0] == [v.JobDead(offset=1, at=AT, job="a")]


# ---- the first line of a segment


HEADER = Header(at=AT, log="0" * 32, first=7, previous_crc="0badcafe", previous_sha256="1" * 64)


def test_a_header_comes_back_as_it_was() -> None:
    line, crc = frame_header(HEADER)
    assert decode_header(line[:-1]) == (HEADER, crc)
    assert json.loads(line)["type"] == "log.segment"


def test_every_bit_of_a_header_that_is_flipped_is_found() -> None:
    line = frame_header(HEADER)[0][:-1]
    for number in range(len(line) * 8):
        spoilt = bytearray(line)
        spoilt[number // 8] ^= 1 << number % 8
        with pytest.raises((ValueError, Newer)):
            decode_header(bytes(spoilt))


def test_a_header_of_a_newer_format_is_refused_with_advice() -> None:
    line, _ = frame_header(msgspec.structs.replace(HEADER, format=FORMAT_MAX + 1))
    with pytest.raises(Newer, match="use a newer queuectl"):
        decode_header(line[:-1])
