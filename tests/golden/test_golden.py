"""A log of every format that was ever released, replayed for ever: it says what it said then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hosts import Untroubled
from making import known

from queuectl import Queue
from queuectl.engines.file import anchors
from queuectl.engines.file.verify import verify
from queuectl.projections.audit import Audit
from queuectl.runtime.compacting import compact

FORMATS = sorted(Path(__file__).parent.glob("format-*"))


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what was kept, as private as a queue has to be."""
    root = shutil.copytree(request.param, tmp_path / "data")
    root.chmod(0o700)
    return root


def expected(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((root / "expected.json").read_text(encoding="utf-8"))
    return document


def test_there_is_one_of_every_format() -> None:
    assert [path.name for path in FORMATS] == ["format-1"]


def test_it_says_what_it_said_then(kept: Path) -> None:
    with Queue(kept, create=False, host=Untroubled()) as queue:
        assert known(queue) == expected(kept)


def test_it_verifies_and_its_past_can_be_proved(kept: Path) -> None:
    with Queue(kept, create=False, host=Untroubled()) as queue:
        state = queue.state
        log: Any = queue.log
        report = verify(log, lambda: Audit(state, log.compactions()))
        assert report.archives > 3
        past = expected(kept)
        anchors.prove(log, anchors.Anchor(past["head"], past["crc"], past["sha256"]))


def test_it_can_be_used(kept: Path) -> None:
    with Queue(kept, create=False, host=Untroubled()) as queue:
        before = expected(kept)
        (argv,) = queue.jobs(states=("completed",))
        queue.prune(argv.id)
        queue.enqueue("true", id="new")
        list(compact(queue))
        after = known(queue)
        assert after["history"] == before["history"]
        assert after["totals"] == {**before["totals"], "enqueued": before["totals"]["enqueued"] + 1}
        log: Any = queue.log
        anchors.prove(log, anchors.Anchor(before["head"], before["crc"], before["sha256"]))
