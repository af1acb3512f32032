"""Any bytes at all, given to what reads lines, headers and marks: an answer or a plain refusal."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from zlib import crc32

import fuzzing
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nursery import ENV
from tallies import SEED, Tally

SECONDS = 60

EVENT = b'{"crc":"00000000","offset":1,"at":"","type":"job.enqueued","job":"a"}'
PIECES = st.sampled_from(
    [
        *[
            EVENT,
            EVENT[9:],
            b'"type":"job.claimed","job":"a"',
            b"{",
            b"}",
            b'"',
            b",",
            b"\n",
            b"\0",
        ],
        *[
            b'"offset":',
            b'"more":true',
            b"null",
            b"1e999",
            b"-1",
            b"[[[[",
            b"\xe2\x80\xa8",
            b"\xff",
        ],
        *[b'"format":2', b'"first":1', b'"type":"log.segment"', b"ok      ", b"0" * 20, b"-"],
    ]
)
BYTES = st.lists(PIECES | st.binary(max_size=8), max_size=12).map(b"".join)


@given(BYTES)
@settings(max_examples=300)
@example(b"")
@example(b"1 2 3 4 5 6 7 8 9")
def test_any_pieces(data: bytes) -> None:
    fuzzing.check(data)


@pytest.mark.torture
def test_whatever_atheris_finds(tmp_path: object, tally: Tally) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is missing: .venv/bin/pip install atheris")
    done = subprocess.run(
        [sys.executable, fuzzing.__file__, str(SECONDS), str(crc32(SEED.encode()) % 2**31 or 1)],
        capture_output=True,
        text=True,
        env=ENV,
        cwd=str(tmp_path),
        timeout=SECONDS * 4,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = re.search(r"Done (\d+) runs", done.stderr)
    assert found, done.stderr[-1000:]
    tally(f"inputs in {SECONDS} s", found[1])
