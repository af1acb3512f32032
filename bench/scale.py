"""What commands cost with a long history or a long queue, against the same on an empty queue.

The directories are made once for a place and used again; what a row adds to one is a few jobs.
"""

from __future__ import annotations

import functools
import glob
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import orjson
from msgspec.structs import asdict

from bench import history
from bench.calling import call_ms
from bench.measure import Pair, Result, Row, Run, alternate, queuectl, seconds
from queuectl import Queue
from queuectl.domain.job import FINISHED, Job
from queuectl.engines.file import FileLog
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections import snapshot
from queuectl.projections.snapshot import PAST, Head, Snapshot
from queuectl.projections.state import State

_SOME = "some"
_FINISHED = "finished"
_PENDING = "pending"
_PROBE = "probe"
"""A queue that nothing waits in but what a row puts there."""
_EVENTS_A_JOB = 3.21


# ---- the directories


def _finished_jobs(run: Run) -> int:
    return run.times(1_000_000, 50_000)


def _pending_jobs(run: Run) -> int:
    return run.times(100_000, 10_000)


def _made(run: Run, name: str, events: int, waiting: int) -> str:
    root = os.path.join(run.place, name)
    if not os.path.exists(root):
        history.make(root, events, waiting=waiting)
        with Queue(root, create=False) as queue:
            queue.catch_up()
            queue.keep_snapshot()
    return root


def _root(run: Run, kind: str) -> str:
    """A directory with a snapshot: some or many finished jobs and a thousand pending, or many
    pending."""
    if kind != _PENDING:
        count = _finished_jobs(run) if kind == _FINISHED else 10_000
        return _made(run, f"finished-{count}", int(count * _EVENTS_A_JOB), 1000)
    count = _pending_jobs(run)
    return _made(run, f"pending-{count}", count + 1, count)  # one more: its worker's start


def _empty(run: Run) -> str:
    root = run.fresh("empty")
    Queue(root).close()
    return root


def _words(root: str) -> str:
    with _snapshot(root) as found:
        counts = found.head.counts
    finished = sum(counts[state] for state in FINISHED)
    return f"{finished:,} finished jobs, {sum(counts.values()) - finished:,} others"


@contextmanager
def _snapshot(root: str) -> Iterator[Snapshot]:
    found = snapshot.load(Home(root), Host())
    assert found is not None
    try:
        yield found
    finally:
        found.close()


# ---- one call


def _enqueue(root: str) -> list[str]:
    return ["enqueue", "--id", f"own-{time.time_ns()}", "-c", "true", "--queue", _PROBE]


def _status(root: str) -> list[str]:
    return ["status"]


def _show(root: str) -> list[str]:
    return ["show", _a_job(root)]


@functools.cache
def _a_job(root: str) -> str:
    """A job from the middle of the biggest table of the snapshot; any, where there is none."""
    found = snapshot.load(Home(root), Host())
    if found is None:
        with Queue(root) as queue:
            return queue.enqueue("true", queue=_PROBE).id
    found.close()
    with _snapshot(root) as found:
        ids = [id for id, _ in max([found.live_table, *found.finished_tables], key=len).names()]
    return ids[len(ids) // 2]


def _call(arguments: Callable[[str], list[str]], kind: str, run: Run) -> Result:
    big, empty = _root(run, kind), _empty(run)

    def ms(root: str) -> float:
        return call_ms(queuectl("--data", root, *arguments(root)))

    for root in (big, empty):
        ms(root)
    pairs = alternate(run.times(21, 5), lambda: ms(big), lambda: ms(empty))
    return Result(pairs, _words(big))


# ---- a worker


class _Worker:
    """A worker process that serves only the queue of the probes."""

    def __init__(self, run: Run, root: str) -> None:
        self._pipe = run.fresh("pipe")
        os.mkfifo(self._pipe)
        with Queue(root) as queue:
            queue.enqueue(f": > {self._pipe}", queue=_PROBE, priority=100)
        self._root = root

    def __enter__(self) -> _Worker:
        since = time.perf_counter()
        command = queuectl("--data", self._root, "worker", "start")
        self.process = subprocess.Popen(
            [*command, "--queue", _PROBE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Waits until the probe opens it, too.
        os.close(os.open(self._pipe, os.O_RDONLY))
        self.start_ms = 1000 * (time.perf_counter() - since)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def _start_ms(run: Run, root: str) -> float:
    """From starting a worker's process to its first job doing something."""
    with _Worker(run, root) as worker:
        return worker.start_ms


def _start(run: Run) -> Result:
    big, empty = _root(run, _FINISHED), _empty(run)
    for root in (big, empty):
        _start_ms(run, root)
    pairs = alternate(run.times(15, 3), lambda: _start_ms(run, big), lambda: _start_ms(run, empty))
    return Result(pairs, f"{_words(big)}; from starting the process to the job running")


def _start_pending(run: Run) -> Result:
    big = _root(run, _PENDING)
    _start_ms(run, big)
    pairs = alternate(
        run.times(15, 3), lambda: _start_ms(run, big), lambda: float(_apart("_loads_ms", big))
    )
    return Result(pairs, f"{_words(big)}; ours with the start of Python, theirs without")


def _loads_ms(root: str) -> float:
    loads = orjson.loads

    def loop() -> None:
        for line in _live_lines(root):
            loads(line)

    return 1000 * seconds(loop)


def _live_lines(root: str) -> Iterator[bytes]:
    with _snapshot(root) as found:
        for block in found.live_table.row_blocks():
            yield from block.splitlines()


def _apart(function: str, root: str) -> str:
    """What one of these functions returns in a new process."""
    program = f"import sys; from bench import scale; print(scale.{function}(sys.argv[1]))"
    command = [sys.executable, "-c", program, root]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600).stdout.decode()


# ---- memory


def _resident_mb(pid: int | str) -> float:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _worker_mb(run: Run, root: str) -> float:
    with _Worker(run, root) as worker:
        return _resident_mb(worker.process.pid)


def _dicts_mb(root: str) -> float:
    """Of dictionaries with every field of a job, each with values of its own."""
    before = _resident_mb("self")
    row = msgspec.json.Decoder(tuple[int, Job])
    jobs = (row.decode(line)[1] for line in _live_lines(root))
    kept = [asdict(job) | {"spec": asdict(job.spec)} for job in jobs]
    after = _resident_mb("self")
    del kept
    return after - before


def _memory(run: Run) -> Result:
    big, empty = _root(run, _PENDING), _empty(run)
    pairs = [
        Pair(
            _worker_mb(run, big) - _worker_mb(run, empty),
            float(_apart("_dicts_mb", big)),
        )
        for _ in range(run.times(5, 2))
    ]
    return Result(pairs, f"{_words(big)}; resident memory, ours less that of an idle worker")


# ---- the log


def _history(run: Run) -> Result:
    root = _root(run, _FINISHED)
    log = sorted(glob.glob(os.path.join(root, "log", "*.jsonl")))
    ours = queuectl("--data", root, "history", _a_job(root))
    cat = ["cat", *log]
    for warm in (ours, cat):
        call_ms(warm)
    pairs = alternate(run.times(11, 3), lambda: call_ms(ours), lambda: call_ms(cat))
    return Result(pairs, f"{_words(root)}, {sum(map(os.path.getsize, log)) / 1e6:,.0f} MB")


def _middle(run: Run) -> Result:
    root = _root(run, _FINISHED)
    with Queue(root, create=False) as queue:
        queue.past.keep()
        middle = queue.log.head() // 2
    ours = queuectl("--data", root, "status", "--at", str(middle))
    program = "import sys; from bench import scale; scale._replay(sys.argv[1], int(sys.argv[2]))"
    replay = [sys.executable, "-c", program, root, str(middle)]
    for warm in (ours, replay):
        call_ms(warm)
    pairs = alternate(run.times(15, 3), lambda: call_ms(ours), lambda: call_ms(replay))
    tail = middle - _before(root, middle).offset
    return Result(pairs, f"{_words(root)}; event {middle:,}, {tail:,} after the nearest snapshot")


def _before(root: str, offset: int) -> Head:
    """What the nearest snapshot of the past says."""
    home = Home(root)
    names = [name for name in os.listdir(home.past) if name.startswith(PAST)]
    name = max(name for name in names if int(name[len(PAST) :].partition("-")[0]) <= offset)
    head = snapshot.read_head(os.path.join(home.past, name), Host())
    assert head is not None
    return head


def _replay(root: str, offset: int) -> None:
    """Fold what lies between the nearest snapshot and `offset`, and count the jobs."""
    home, host = Home(root), Host()
    log = FileLog(home.log, host, archive=home.archive)
    state = State(Snapshot(_before(root, offset), home.past, host), log)
    state.jobs.load_live()
    for events in log.read_originals(state.offset):
        state.apply([event for event in events if event.offset <= offset])
        if events[-1].offset >= offset:
            break
    assert sum(state.counts.values())


def _disk(run: Run) -> Result:
    root = _root(run, _FINISHED)
    jobs = _finished_jobs(run)
    log, cache = (_bytes_below(os.path.join(root, name)) / jobs for name in ("log", "snapshots"))
    return Result([Pair(log + cache, log)], f"{_words(root)}; nothing is compacted")


def _bytes_below(directory: str) -> int:
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())


_CALLS = {"enqueue --id": _enqueue, "status": _status, "show ID": _show}

ROWS = [
    *(
        Row(
            f"scale-{words.split()[0]}-{kind}",
            f"one `queuectl {words}` process, {count} jobs",
            "the same on an empty queue",
            "ms",
            1.25,
            False,
            functools.partial(_call, arguments, kind),
        )
        for kind, count in (
            (_SOME, "10,000 finished"),
            (_FINISHED, "1,000,000 finished"),
            (_PENDING, "100,000 pending"),
        )
        for words, arguments in _CALLS.items()
    ),
    Row(
        "scale-worker-finished",
        "from the start of a worker to its first job, 1,000,000 finished and 1,000 pending jobs",
        "the same on an empty queue",
        "ms",
        1.5,
        False,
        _start,
    ),
    Row(
        "scale-worker-pending",
        "from the start of a worker to its first job, 100,000 pending jobs",
        "`orjson.loads` of their rows in the snapshot",
        "ms",
        4,
        False,
        _start_pending,
    ),
    Row(
        "scale-history",
        "one `queuectl history ID` process, a log of 3,000,000 events",
        "`cat` of its files",
        "ms",
        3,
        False,
        _history,
    ),
    Row(
        "scale-status-at",
        "one `queuectl status --at` process, the middle of a log of 3,000,000 events",
        "a process that folds the tail from the nearest snapshot of the past",
        "ms",
        1.2,
        False,
        _middle,
    ),
    Row(
        "scale-memory",
        "what 100,000 pending jobs add to the memory of a worker",
        "100,000 `dict`s of the same fields",
        "MB",
        0.6,
        False,
        _memory,
    ),
    Row(
        "scale-disk",
        "log and snapshot on disk, for each of 1,000,000 finished jobs",
        "the log alone",
        "bytes",
        2,
        False,
        _disk,
    ),
]
