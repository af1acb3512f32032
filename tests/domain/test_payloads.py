"""Jobs that are too long for a line: nothing of them is lost, and lines keep their limit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.domain import payloads
from queuectl.domain.payloads import BEGINNING_CHARACTERS, is_short, named, parted, whole
from queuectl.domain.redaction import FIELDS, TEXT, redacted
from queuectl.errors import Invalid
from queuectl.events import codec
from queuectl.events.vocabulary import JobEnqueued

# Some characters take six bytes in JSON.
texts = st.builds(
    lambda text, times: text * times,
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.integers(0, 3000),
)
lists = st.none() | st.lists(texts, max_size=6)
jobs = st.builds(
    lambda **fields: JobEnqueued(job="j", queue="default", attempt=0, **fields),
    command=texts,
    argv=lists,
    env=lists,
    secret_env=lists,
)


@given(jobs)
def test_it_fits_and_nothing_is_lost(spec: JobEnqueued) -> None:
    short, kept = parted(spec)
    line, _ = codec.frame(codec.encode(short), 0, 1 << 53, "2026-11-22T02:31:00.000214Z", True)
    assert len(line) <= codec.LINE_BYTES_MAX
    assert whole(short, kept.__getitem__) == spec
    assert set(named(short).values()) == set(kept)
    assert spec.command.startswith(short.command)
    if not kept:
        assert short is spec
    else:
        assert len(codec.encode_whole(spec)) > codec.FACT_BYTES_MAX


@given(jobs)
def test_what_is_called_short_fits(spec: JobEnqueued) -> None:
    if is_short(spec):
        assert parted(spec) == (spec, {})


def test_nearly_every_job_is_called_short_at_once() -> None:
    assert is_short(JobEnqueued(job="j", command="x" * 1500, cwd="/srv/somewhere"))
    assert is_short(JobEnqueued(job="j", command="x", env=["A=" + "x" * 100] * 10))


def test_the_longest_goes_first_and_what_is_short_stays() -> None:
    spec = JobEnqueued(job="j", command="echo $A", env=["A=" + "x" * 20_000], tags=["t"])
    short, kept = parted(spec)
    assert list(named(short)) == ["env"]
    assert (short.command, short.env, short.tags) == ("echo $A", None, ["t"])
    assert payloads.shown(short) == "echo $A"
    spec = JobEnqueued(job="j", command="y" * 20_000, env=["A=1"])
    short, kept = parted(spec)
    assert list(named(short)) == ["command"]
    assert (short.command, short.env) == ("y" * BEGINNING_CHARACTERS, ["A=1"])
    assert payloads.shown(short) == short.command + "…"
    assert [msgspec.json.decode(content) for content in kept.values()] == [spec.command]


def test_the_same_text_is_kept_once() -> None:
    one, other = (JobEnqueued(job=job, command="y" * 20_000) for job in "ab")
    assert parted(one)[1] == parted(other)[1]


def test_what_cannot_be_made_to_fit_is_refused() -> None:
    spec = JobEnqueued(job="j", command="true", tags=["x" * 100] * 1000)
    with pytest.raises(Invalid, match="too long together"):
        parted(spec)


@pytest.mark.parametrize("field", ["command", "env", "secret_env"])
def test_what_is_kept_elsewhere_is_redacted_with_it(field: str) -> None:
    value = ["x" * 20_000] if field != "command" else "x" * 20_000
    given: dict[str, Any] = {"command": "true", field: value}
    spec, kept = parted(JobEnqueued(job="j", **given))
    assert kept
    after = redacted(spec, [field])
    assert after.payloads is None and after.redacted == [field]
    assert getattr(after, field) == (TEXT if field == "command" else [TEXT])
    assert redacted(after, [field]) is after
    assert redacted(spec, ["tags"]) is spec


def test_of_the_words_of_an_argv_nothing_stays_either() -> None:
    words = ["printf", *["x" * 1000] * 30]
    spec, _ = parted(JobEnqueued(job="j", command=" ".join(words), argv=words, env=["A=1"]))
    assert set(named(spec)) == {"command", "argv"}
    after = redacted(spec, FIELDS)
    assert after == msgspec.structs.replace(
        spec,
        command=TEXT,
        argv=[TEXT],
        env=[TEXT],
        payloads=None,
        redacted=["argv", "command", "env"],
    )
