"""Queues in which something happens, at times that are always the same.

`python tests/playing.py bill data` makes the one of `docs/auditor.md` at `data`, and with `convert`
that of `docs/analyst.md`.
"""

from __future__ import annotations

import gzip
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts import Somewhere, SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.runtime.compacting import compact

SECRET = "s3cr=t“\u2028”"


def play(place: Path) -> None:
    """Let something of everything happen there, in many segments."""
    _let(place, _play)


def convert(place: Path) -> None:
    """Let some pictures be converted there, and two of them go wrong."""
    _let(place, _convert)


def bill(place: Path) -> None:
    """Let bills be written there, with people who intervene, and let the log be compacted."""
    _let(place, _bill)


def lose_an_end(place: Path) -> None:
    """Let a job run there and be forgotten, of which then only the beginning is left."""
    _let(place, _lose_an_end)
    ends = [path for path in sorted((place / "archive").iterdir()) if b'"token"' in _lines(path)]
    ends[0].unlink()


def _lines(path: Path) -> bytes:
    return b"".join(line for line in gzip.open(path) if b'"job":"gone"' in line)


class _Foreseen(Somewhere):
    """Chance is the same every time: so are the checksums of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(1).randbytes  # type: ignore[method-assign]


def _let(place: Path, happen: Callable[[Queue, Somewhere], None]) -> None:
    host = _Foreseen()
    place.mkdir(mode=0o700)
    for name in ("log", "run", "output"):
        (place / name).mkdir(mode=0o700)
    log = FileLog(str(place / "log"), host, segment_bytes_max=2500, archive=str(place / "archive"))
    with Queue(place, host=host, log=log) as queue:
        happen(queue, host)


def _convert(queue: Queue, host: Somewhere) -> None:
    started = v.WorkerStarted(worker="w1", host="lovelace", boot="b", pid=7, slots=4)
    queue.transact(lambda: [Batch([started])])
    queue.set("backoff-base", "0.5")
    for name in "abcd":
        queue.enqueue(f"convert {name}.png {name}.webp", id=name, queue="images", max_retries=2)
    work(queue, host, "w1", a="c", b="f", c="c", d="s")
    work(queue, host, "w1", b="c", d="f")
    queue.enqueue("report", id="report", tags=["nightly"])
    work(queue, host, "w1", report="l")
    work(queue, host, "w1", report="c")


def _bill(queue: Queue, host: Somewhere) -> None:
    started = v.WorkerStarted(worker="w1", host="lovelace", boot="b", pid=7, slots=4)
    queue.transact(lambda: [Batch([started])])
    for name in ("draft-1", "draft-2"):
        queue.enqueue(f"preview {name}", id=name, queue="drafts")
    work(queue, host, "w1", **{"draft-1": "c", "draft-2": "f"})
    queue.actor = "bob@lovelace"
    queue.cancel("draft-2", reason="typed by mistake")
    queue.actor = "ann@lovelace"
    token = {"TOKEN": "s3cret"}
    queue.enqueue("bill 7", id="bill-7", queue="bills", max_retries=2, backoff_base=1, env=token)
    work(queue, host, "w1", **{"bill-7": "f"})
    queue.prune("draft-1", "draft-2", reason="month is over")
    work(queue, host, "w1", **{"bill-7": "f"})
    host.advance(60)
    queue.actor = "bob@lovelace"
    queue.set("max-retries", "5")
    queue.pause("bills", reason="bank is closed")
    queue.resume("bills")
    queue.retry("bill-7", reason="bank is open again")
    work(queue, host, "w1", **{"bill-7": "c"})
    queue.enqueue("bill 8", id="bill-8", queue="bills")
    queue.enqueue("bill 9", id="bill-9", queue="bills", delay="1h")
    work(queue, host, "w1", **{"bill-8": "f"})
    list(compact(queue))


def _lose_an_end(queue: Queue, host: Somewhere) -> None:
    started = v.WorkerStarted(worker="w1", host="lovelace", boot="b", pid=7, slots=4)
    queue.transact(lambda: [Batch([started])])
    queue.enqueue("true", id="gone")
    (claim,) = work(queue, host, "w1", gone="")
    for more in range(3):
        queue.enqueue_many([{"id": f"other{more}{n}", "command": "true"} for n in range(15)])
        host.advance(60)
        if not more:
            end = c.Finish(job="gone", now=queue.now(), token=claim.offset, exit_code=0)
            queue.submit([end])
            queue.prune("gone", reason="so that it is worth while, " * 30)
    # The last that a worker said stays in the log.
    queue.transact(lambda: [Batch([v.LeaseRenewed(worker="w1", until=queue.now())])])
    list(compact(queue))


def _play(queue: Queue, host: Somewhere) -> None:
    for worker in ("w1", "w2"):
        started = v.WorkerStarted(worker=worker, host="lovelace", boot="b", pid=7, slots=4)
        queue.transact(lambda started=started: [Batch([started])])
    queue.set("backoff-base", "0.5")
    queue.enqueue("make report", id="good", tags=["a", "b"], env={"TOKEN": SECRET}, priority=5)
    queue.enqueue(argv=["printf", "%s\n", "two words"], id="argv", queue="mail", max_retries=1)
    queue.enqueue("line 1\nline 2\t“,\"'", id="odd", max_retries=1)
    queue.enqueue("sleep 99", id="slow", secret_env=["PASSWORD"])
    work(queue, host, "w1", good="c", argv="f", odd="s", slow="r")
    work(queue, host, "w2", slow="l")
    queue.retry("argv", reason="“again”")
    work(queue, host, "w2", argv="c", slow="x")
    queue.enqueue("flaky", id="flaky", max_retries=3)
    work(queue, host, "w1", flaky="f")
    queue.cancel("flaky", reason="not needed")
    queue.prune("flaky")
    queue.enqueue("another", id="flaky")
    queue.enqueue("true", id="late", delay="10d")
    queue.pause("mail", reason="maintenance")
    queue.resume("mail")
    queue.pause("default")
    queue.resume("default")
    queue.enqueue_many([{"id": f"many{n}", "command": f"echo {n}"} for n in range(12)])
    renewed = v.LeaseRenewed(worker="w1", until=queue.now())
    queue.transact(lambda: [Batch([renewed])])
    work(queue, host, "w1", flaky="")
    queue.transact(lambda: [Batch([v.WorkerStopRequested(worker="w2", actor="ann@host1")])])
    queue.transact(lambda: [Batch([v.WorkerStopped(worker="w2", reason="asked to")])])


def work(queue: Queue, host: SteadyHost, worker: str, **outcomes: str) -> list[v.JobClaimed]:
    """Claim each of these jobs and end it so: (c)ompleted, (f)ailed, killed by a (s)ignal,
    (r)eleased, (l)ost, cancelled while it runs (x); or let it run. Returns the claims."""
    host.advance(1.25)
    now = queue.now()
    claims = queue.submit(
        [
            c.Claim(job=job, now=now, worker=worker, slot=slot, until=now)
            for slot, job in enumerate(outcomes, 1)
        ]
    )
    host.advance(0.5)
    for claim, outcome in zip(claims, outcomes.values(), strict=True):
        assert isinstance(claim, v.JobClaimed)
        token = claim.offset
        if outcome == "x":
            queue.cancel(claim.job, reason="called off")
        for end in _ENDS.get(outcome, lambda **_: ())(job=claim.job, now=queue.now(), token=token):
            queue.submit([end])
    host.advance(1)
    return [claim for claim in claims if isinstance(claim, v.JobClaimed)]


def _finish(**more: Any) -> Callable[..., list[c.JobCommand]]:
    return lambda **run: [c.Finish(run_ms=480, cpu_ms=20, stdout_bytes=7, **more, **run)]


_ENDS: dict[str, Callable[..., Any]] = {
    "c": _finish(exit_code=0),
    "f": _finish(exit_code=3, reason="exit", error="“no”"),
    "s": _finish(exit_code=None, reason="signal", error="killed by SIGUSR1: so"),
    "r": lambda job, token, now: [c.Release(job=job, token=token, now=now, reason="stopping")],
    "l": lambda job, token, now: [c.Expire(job=job, token=token, now=now, reason="it died")],
    "x": lambda job, token, now: [c.Release(job=job, token=token, now=now, reason="cancelled")],
}


if __name__ == "__main__":
    _, name, place = sys.argv
    {"bill": bill, "convert": convert}[name](Path(place))
