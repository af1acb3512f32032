"""The parts, one by one: `pytest bench --benchmark-only`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from bench import history
from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.domain.decide import decide
from queuectl.domain.evolve import evolve
from queuectl.domain.job import Job
from queuectl.engines.file import FileLog
from queuectl.engines.memory import MemoryLog
from queuectl.events import codec
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.projections.state import State

_EVENTS = 20_000
_LATER = "2999-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileLog]:
    """A log of twenty thousand events."""
    root = history.make(str(tmp_path_factory.mktemp("history") / "data"), _EVENTS)
    log = FileLog(os.path.join(root, "log"))
    yield log
    log.close()


@pytest.fixture(scope="module")
def events(log: FileLog) -> list[v.Event]:
    return [event for piece in log.read() for event in piece]


@pytest.fixture
def job() -> Job:
    spec = v.JobEnqueued(job="a", command="true", offset=1, at="2026-11-22T02:31:00.000214Z")
    made = evolve(None, spec)
    assert made is not None
    return made


def test_encode(benchmark: Any, events: list[v.Event]) -> None:
    benchmark(lambda: [codec.encode(event) for event in events])


def test_frame_batch(benchmark: Any, events: list[v.Event]) -> None:
    payloads = [codec.encode(event) for event in events]

    benchmark(codec.frame_batch, payloads, 0, 1, "2026-11-22T02:31:00.000214Z")


def test_decode(benchmark: Any, log: FileLog) -> None:
    path = log.segments.path(log.segments.list()[0])
    with open(path, "rb") as file:
        _, crc = codec.decode_header(file.readline()[:-1])
        data = file.read()
    decoded, _ = benchmark(codec.decode, data, crc)
    assert len(decoded) == _EVENTS


def test_append(benchmark: Any, tmp_path: Any) -> None:
    log = FileLog(str(tmp_path))
    benchmark(lambda: log.append([Batch([v.JobEnqueued(job="a", command="true")])]))
    log.close()


def test_fold(benchmark: Any, events: list[v.Event]) -> None:
    state = benchmark(_folded, events)
    assert state.offset == _EVENTS


def _folded(events: list[v.Event]) -> State:
    state = State()
    state.apply(events)
    return state


def test_fold_with_indexes(benchmark: Any, events: list[v.Event]) -> None:
    def fold() -> None:
        state = State()
        assert not state.counts["dead"]
        state.apply(events)

    benchmark(fold)


def test_ready_index(benchmark: Any, events: list[v.Event]) -> None:
    def first_eight() -> list[Job]:
        return state.ready.due(_LATER, 8, None, ())

    state = _folded(events)
    assert len(first_eight()) == 8
    benchmark(first_eight)


def test_decide(benchmark: Any, job: Job) -> None:
    claim = c.Claim(job="a", now=_LATER, worker="w", slot=1, until=_LATER)
    assert len(benchmark(decide, job, claim)) == 1


def test_enqueue_in_memory(benchmark: Any, tmp_path: Any) -> None:
    queue = Queue(tmp_path, log=MemoryLog())
    jobs = [{"command": f"echo {number}"} for number in range(1000)]
    benchmark.pedantic(queue.enqueue_all, args=(jobs,), rounds=20)
