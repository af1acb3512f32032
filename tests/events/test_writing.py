"""What the fast ways of writing owe to the plain ones: the same bytes."""

from __future__ import annotations

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from queuectl.events import codec
from queuectl.events import vocabulary as v

AT = "2026-11-22T02:31:00.000214Z"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FACTS = st.builds(
    v.JobEnqueued,
    job=TEXTS,
    command=TEXTS,
    argv=st.none() | st.lists(TEXTS),
    priority=st.integers(-(2**53), 2**53),
    # Beyond these the two write exponents differently, and no setting goes there.
    backoff_base=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    timeout_own=st.booleans(),
)


@given(FACTS)
def test_an_independent_writer_and_reader_agree_with_encode(fact: v.JobEnqueued) -> None:
    """msgspec both writes and reads a log; a slip of it in both directions would show here."""
    line = codec.encode(fact)
    plain = msgspec.to_builtins(fact)
    assert orjson.loads(line) == plain
    assert orjson.loads(orjson.dumps(plain)) == orjson.loads(line)
    assert msgspec.json.decode(orjson.dumps(plain), type=v.AnyEvent) == fact


@given(st.lists(FACTS, max_size=5), st.integers(0, 2**32 - 1), st.integers(1, 2**53))
def test_a_batch_is_framed_as_its_lines_are(
    facts: list[v.JobEnqueued], crc: int, offset: int
) -> None:
    payloads = [codec.encode(fact) for fact in facts]
    batch = codec.frame_batch(payloads, crc, offset, AT)
    lines = []
    for index, payload in enumerate(payloads, 1):
        line, crc = codec.frame(payload, crc, offset, AT, more=index < len(payloads))
        lines.append(line)
        offset += 1
    assert batch == (b"".join(lines), crc)
