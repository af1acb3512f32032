"""Jobs are started beside the worker's loop: what goes on meanwhile, and what must not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workers import PATIENCE_S, Site, eventually

from queuectl import Queue
from queuectl.events import vocabulary as v
from queuectl.host import Host
from queuectl.runtime.presence import Presence
from queuectl.runtime.worker import Listener, Options, Worker


class Notes(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


class Spawning(Host):
    """A machine on which something happens around each start."""

    def __init__(self, around: Callable[[Callable[[], int], str, int], int]) -> None:
        self._around = around

    def spawn(self, *arguments: Any) -> int:
        start = super().spawn
        return self._around(lambda: start(*arguments), arguments[0][-1].decode(), arguments[-1])


def work(site: Site, host: Host, notes: Notes, **options: Any) -> str:
    """Run a worker within this process; why it ended."""
    with Queue(site.place, host=host) as queue:
        return Worker(queue, Options(**{"slots": 2, **options}), notes).run()


def drain(site: Site, host: Host, **options: Any) -> list[str]:
    """Run everything there is within this process; what the worker said."""
    notes = Notes()
    assert work(site, host, notes, burst="wait", **options) == "nothing left to run"
    return notes.said


def test_no_thread_is_there_before_the_first_start(site: Site) -> None:
    worker = site.start(slots=4)

    def threads() -> int:
        return len(os.listdir(f"/proc/{worker.pid}/task"))

    assert threads() == 1
    site.reaches(site.add("true"), "completed")
    assert threads() == 2
    site.queue.enqueue_all([{"command": "true"}] * 20)
    eventually(lambda: site.queue.state.counts["completed"] == 21)
    assert threads() == 5
    worker.stop()


def test_a_start_that_takes_long_holds_up_no_other(site: Site) -> None:
    def around(start: Callable[[], int], command: str, lock: int) -> int:
        if command == "true":
            eventually(lambda: len(site.marked()) == 5)
        return start()

    id = site.add("true", priority=9)
    for _ in range(5):
        site.add(f"echo x >>'{site.marks}'")
    drain(site, Spawning(around))
    assert site.state(id) == "completed"


@pytest.mark.parametrize("ended", [True, False])
def test_a_start_is_told_of_where_its_end_was_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """And only there: every time that the worker wakes up costs as much as a start."""

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        pid = start()
        if ended:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            time.sleep(0.02)
        return pid

    rings: list[Presence] = []
    ring = Presence.ring
    monkeypatch.setattr(Presence, "ring", lambda self: (rings.append(self), ring(self)))
    ids = [site.add("true" if ended else "sleep 1") for _ in range(4)]
    drain(site, Spawning(around), poll_ms=60_000)
    assert {site.state(id) for id in ids} == {"completed"}
    assert len(rings) == 4 if ended else len(rings) < 4


def test_where_nobody_can_be_told_of_a_start_it_is_seen_all_the_same(site: Site) -> None:
    class Mute(Spawning):
        def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
            if data == b"s":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.write(fd, data)

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        pid = start()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    ids = [site.add("true") for _ in range(2)]
    drain(site, Mute(around), poll_ms=60_000)
    assert {site.state(id) for id in ids} == {"completed"}


def test_a_child_on_its_way_to_its_program_is_not_taken_for_a_straggler_of_another_run(
    site: Site,
) -> None:
    """Until then it has every lock that was open in the worker, also of a run that ends now."""
    locks: dict[str, int] = {}
    both = threading.Barrier(2)
    is_begun = threading.Event()
    found: list[int] = []

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        locks[command] = lock
        both.wait(PATIENCE_S)
        if command == "true":
            # Its own lock is closed here once it runs.
            assert is_begun.wait(PATIENCE_S)
            return start()
        # As the kernel does it, but longer.
        other = locks["true"]
        child = subprocess.Popen(["sleep", "0.5"], pass_fds=[other], close_fds=True)
        is_begun.set()
        found.append(child.wait())
        return start()

    id = site.add("true")
    site.add("echo x")
    drain(site, Spawning(around))
    assert found == [0]
    assert site.last(id, v.JobCompleted).escaped == 0


def test_nor_for_what_a_dead_worker_has_left(site: Site) -> None:
    spared: list[bool] = []

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        if command == "true":
            fd = os.open(left_lock, os.O_RDONLY)
            child = subprocess.Popen(["sleep", "60"], pass_fds=[fd])
            os.close(fd)
            victim.kill()
            eventually(lambda: child.poll() is not None or "lease.expired" in site.types(left))
            spared.append(child.poll() is None)
            child.kill()
            child.wait()
        return start()

    left = site.add("[ $QUEUECTL_ATTEMPT -gt 1 ] || sleep 60")
    victim = site.start()
    left_lock = site.queue.home.slot_lock(site.reaches(left, "processing").worker, 1)
    site.add("true")
    drain(site, Spawning(around))
    assert spared == [True]


def test_jobs_that_start_at_once_get_one_lock_each(site: Site) -> None:
    """Whoever had that of another would keep it from ending."""
    site.queue.enqueue_all([{"argv": ["ls", "/proc/self/fd"]} for _ in range(200)])
    site.drain(slots=8)
    for job in site.queue.jobs():
        descriptors = [int(fd) for fd in site.output(job.id).split()]
        # Its three streams, what it reads the directory by, and its lock.
        assert sum(fd > 5 for fd in descriptors) == 1, descriptors
        assert job.state == "completed"


def test_a_machine_that_starts_nothing_for_a_while_is_said_once(site: Site) -> None:
    began = time.monotonic()

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        if command == "true" and time.monotonic() < began + 2.5:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return start()

    site.add("sleep 3", priority=1)
    ids = [site.add("true", max_retries=1) for _ in range(3)]
    said = drain(site, Spawning(around))
    assert [site.state(id) for id in ids] == ["completed"] * 3
    assert [site.job(id).attempts for id in ids] == [1] * 3
    assert len(said) == 2, said
    assert "Resource temporarily unavailable" in said[0]
    assert said[1].startswith("going on")


def test_the_limit_does_not_count_jobs_that_could_not_be_started(site: Site) -> None:
    refused = [errno.EAGAIN, errno.ENOMEM]

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        if refused:
            raise OSError(refused.pop(), "not now")
        return start()

    ids = [site.add("true") for _ in range(4)]
    assert work(site, Spawning(around), Notes(), limit=2) == "limit reached"
    assert refused == []
    assert [site.state(id) for id in ids].count("completed") == 2
    assert [site.state(id) for id in ids].count("pending") == 2
    assert sum(site.types(id).count("job.released") for id in ids) == 2


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_in_the_middle_of_a_start_loses_nothing(site: Site, signals: int) -> None:
    notes = Notes()
    later: list[str] = []

    def around(start: Callable[[], int], command: str, lock: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        eventually(lambda: notes.said)
        if signals == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        later.append(site.add("true"))
        return start()

    id = site.add("true" if signals == 1 else "sleep 60", max_retries=1)
    assert work(site, Spawning(around), notes) == "stopped"
    assert site.state(later[0]) == "pending"
    if signals == 1:
        assert site.state(id) == "completed"
    else:
        assert site.types(id)[-1] == "job.released"
        assert (site.state(id), site.job(id).attempts) == ("pending", 0)
    assert site.run_files() == []


def test_a_time_limit_counts_from_the_start(site: Site) -> None:
    """And not from the claim: the machine may take long to begin a run."""

    class Slow(Host):
        passed_s = 0.0
        looks = 0

        def monotonic_s(self) -> float:
            return super().monotonic_s() + self.passed_s

        def create(self, path: str) -> int:
            if path.endswith(".out"):
                self.passed_s += 1200
            return super().create(path)

        def has_ended(self, pid: int) -> bool:
            self.looks += 1
            if self.looks > 3:
                go.touch()
            return super().has_ended(pid)

    go = site.root / "go"
    id = site.add(f"until [ -e '{go}' ]; do sleep 0.01; done", timeout="10m", max_retries=1)
    drain(site, Slow(), poll_ms=10)
    assert site.state(id) == "completed", site.job(id).error
    assert site.last(id, v.JobCompleted).run_ms < 600_000


def test_what_nobody_has_foreseen_ends_the_worker_and_its_jobs(site: Site) -> None:
    def around(start: Callable[[], int], command: str, lock: int) -> int:
        if command == "true":
            eventually(lambda: site.marked())
            raise ZeroDivisionError
        return start()

    site.add(f"echo $$ >>'{site.marks}'; sleep 60")
    site.add("true")
    with pytest.raises(ZeroDivisionError):
        drain(site, Spawning(around))
    assert not Path(f"/proc/{site.marked()[0]}").exists()
    assert site.run_files() == []


@pytest.mark.parametrize("lack", ["libc", "threads"])
def test_where_nothing_can_be_started_aside_all_is_done_in_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    class Plain(Host):
        def spawns_aside(self) -> bool:
            return lack != "libc"

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if lack == "threads":
        monkeypatch.setattr(threading.Thread, "start", refuse)
    ids = [site.add("setsid sleep 60 & pwd", cwd="/usr") for _ in range(5)]
    missing = site.add(argv=["./none"], cwd="/usr", max_retries=1)
    nowhere = site.add("true", cwd="/no/such", max_retries=1)
    drain(site, Plain())
    assert [site.output(id) for id in ids] == [b"/usr\n"] * 5
    assert site.job(missing).error == "./none: No such file or directory"
    assert "working directory /no/such" in site.job(nowhere).error
    assert os.getcwd() != "/usr"


_IGNORING = """
import signal, sys
from queuectl.host import Host
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: None)
host = Host()
lock = host.hold(sys.argv[1])
argv = [b"/bin/grep", b"SigIgn", b"/proc/self/status"]
host.reap(host.spawn(argv, b"/", {}, 1, 2, lock))
"""


def test_signals_that_the_worker_ignores_are_ignored_but_those_of_python(site: Site) -> None:
    script = [sys.executable, "-c", _IGNORING, str(site.root / "lock")]
    line = subprocess.run(script, capture_output=True, check=True, cwd=Path(__file__).parents[2])
    # SIGHUP alone; what lies above 31 is the C library's own.
    assert int(line.stdout.split()[1], 16) & 0x7FFF_FFFF == 1 << 0
