"""Makes a small data directory in which something of everything has happened, as one is kept here
for each format that was released: `python tests/golden/making.py tests/golden/format-N`.

What is kept is never made anew: it shows what was written then.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hosts import Somewhere, SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.engines.file.repair import repairing
from queuectl.engines.file.verify import verify
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.runtime.compacting import compact

PURGED = "purged-3"


def known(queue: Queue) -> dict[str, Any]:
    """What has to come of the events for ever, as plain values."""
    state = queue.state
    report = verify(queue.log)  # type: ignore[arg-type]
    done = state.statistics
    return {
        "head": report.head,
        "crc": report.crc,
        "sha256": report.sha256,
        "jobs": {
            job.id: [job.state, job.attempts, job.queue, job.spec.command, job.error]
            for job in state.jobs.select()
        },
        "counts": dict(state.counts),
        "paused": sorted(state.paused),
        "max_retries": state.settings.max_retries,
        "workers": {row.id: [row.slots, row.stop_requested] for row in state.workers.rows.values()},
        "totals": {
            name: getattr(done, name)
            for name in ("enqueued", "runs", "completed", "failed_runs", "lost_runs", "retries")
        },
        "wait_ms": [done.wait.percentile_ms(share) for share in (0.5, 1)],
        "run_ms": [done.run.percentile_ms(share) for share in (0.5, 1)],
        "history": [v.wire_name(event) for event in queue.history(PURGED)],
    }


def _work(queue: Queue, host: SteadyHost, worker: str, outcomes: str) -> None:
    """Claim as many jobs as there are outcomes: (c)omplete, (f)ail, (r)elease, (l)ose."""
    host.advance(1)
    claims = queue.turn([], worker=worker, slots=range(1, len(outcomes) + 1), renew=True)
    host.advance(2)
    ends: list[c.JobCommand] = []
    claimed = [event for event in claims if isinstance(event, v.JobClaimed)]
    for claim, outcome in zip(claimed, outcomes, strict=False):
        told: dict[str, Any] = {"job": claim.job, "token": claim.offset, "now": queue.now()}
        match outcome:
            case "c":
                ends.append(c.Finish(**told, exit_code=0, run_ms=1500, stdout_bytes=7))
            case "f":
                ends.append(c.Finish(**told, exit_code=3, reason="exit", error="“no”", run_ms=90))
            case "r":
                ends.append(c.Release(**told, reason="stopping"))
            case "l":
                ends.append(c.Expire(**told, reason="its worker died"))
    queue.turn(ends, worker=worker, slots=[])


def make(root: Path) -> dict[str, Any]:
    host = Somewhere()
    for name in ("", "log"):
        os.mkdir(root / name, 0o700)
    with _queue(root, host) as queue:
        for worker in ("w1", "w2"):
            started = v.WorkerStarted(worker=worker, host="host1", pid=7, slots=4)
            queue.transact(lambda started=started: [Batch([started])])
        queue.set("max-retries", "2")
        for round in range(6):
            ids = [f"purged-{round * 4 + n}" for n in range(4)]
            queue.enqueue_many([{"id": id, "command": f"echo {id} “\u2028”"} for id in ids])
            _work(queue, host, "w1", "cccc")
            queue.prune(*ids, reason="old")
        queue.transact(lambda: [Batch([v.WorkerStopRequested(worker="w1", actor="ann@host1")])])
        queue.transact(lambda: [Batch([v.WorkerStopped(worker="w1", reason="asked to")])])
        queue.enqueue_many(
            [
                {"id": "flaky", "command": "./flaky", "tags": ["a", "b"], "priority": 5},
                {"id": "argv", "argv": ["printf", "%s\n", "two words"], "env": {"A": "1"}},
                {"id": "late", "command": "true", "delay": "10d", "queue": "mail"},
            ]
        )
        for outcomes in ("fc", "f", "r", "l"):
            _work(queue, host, "w2", outcomes)
            queue.enqueue_many([{"command": "true", "delay": "10d"} for _ in range(2)])
        queue.retry("flaky", reason="try again")
        queue.cancel("late", reason="not needed")
        queue.pause("mail", reason="maintenance")
        queue.resume("mail")
        queue.pause("other")
        for _ in compact(queue):
            pass
    _damage_and_repair(root, host)
    with _queue(root, host) as queue:
        return known(queue)


def _queue(root: Path, host: SteadyHost) -> Queue:
    log = FileLog(str(root / "log"), host, segment_bytes_max=3000, archive=str(root / "archive"))
    return Queue(root, host=host, log=log)


def _damage_and_repair(root: Path, host: SteadyHost) -> None:
    """One renewal of a lease is lost in a segment that was not compacted."""
    *sealed, _ = sorted((root / "log").glob("*.jsonl"))
    path = next(path for path in sealed if b'"covers"' not in path.read_bytes())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"lease.renewed", b"lease.renowed", 1))
    log = FileLog(str(root / "log"), host)
    with repairing(log) as repair:
        repair.carry_out(repair.plan("ann@host1"))
    log.close()
    for aside in (root / "log").glob("aside-*"):
        shutil.rmtree(aside)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    expected = make(place)
    (place / "log" / "LOCK").unlink()
    (place / "log" / "COMPACTING").unlink()
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (place / "expected.json").write_text(text + "\n", encoding="utf-8")
