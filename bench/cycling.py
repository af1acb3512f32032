"""The queue alone: enqueue, claim and complete jobs that nobody runs, against huey's SQLite."""

from __future__ import annotations

import os
import warnings

from bench.measure import Result, Row, Run, alternate, seconds
from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v

_BATCH = 100
_WORKER = "bench"


def _cycle(queue: Queue) -> None:
    """A hundred jobs in three durable appends."""
    queue.enqueue_many([{"command": "true"}] * _BATCH)
    events = queue.turn([], worker=_WORKER, slots=range(1, _BATCH + 1))
    now = queue.now()
    ended = [
        c.Finish(job=event.job, token=event.offset, now=now, exit_code=0, run_ms=1)
        for event in events
        if isinstance(event, v.JobClaimed)
    ]
    assert len(queue.turn(ended, worker=_WORKER, slots=())) == _BATCH


def _measure(run: Run) -> Result:
    with warnings.catch_warnings():
        # Its imports may be deprecated ones; that is not ours to report.
        warnings.simplefilter("ignore")
        from huey import SqliteHuey  # type: ignore[import-untyped]

    place = run.fresh("huey")
    os.mkdir(place)
    # Every commit is synced, as ours are.
    huey = SqliteHuey("bench", filename=os.path.join(place, "huey.db"), fsync=True)
    batches = run.times(10, 3)

    @huey.task()  # type: ignore[untyped-decorator]
    def nothing() -> None:
        pass

    with Queue(run.fresh("cycle")) as queue:

        def ours() -> float:
            def loop() -> None:
                for _ in range(batches):
                    _cycle(queue)

            return batches * _BATCH / seconds(loop)

        def reference() -> float:
            def loop() -> None:
                for _ in range(batches):
                    for _ in range(_BATCH):
                        nothing()
                    for _ in range(_BATCH):
                        task = huey.dequeue()
                        assert task is not None
                        huey.execute(task)

            return batches * _BATCH / seconds(loop)

        pairs = alternate(run.times(9, 3), ours, reference)
    huey.storage.close()
    return Result(pairs, "batches of 100: three appends of ours; huey has no batches")


ROWS = [
    Row(
        "cycle",
        "enqueue, claim and complete of no-op jobs through `Queue`, durable",
        "huey's SqliteHuey with `fsync=True`, same disk",
        "jobs/s",
        5.0,
        False,
        _measure,
    )
]
