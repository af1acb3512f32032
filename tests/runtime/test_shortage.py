"""A machine that is short of something, or has a strange clock: the job is never to blame."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from workers import Site, alive, eventually

from queuectl import Queue, instants
from queuectl.events import vocabulary as v
from queuectl.host import Host
from queuectl.runtime.worker import Listener, Options, Worker

_HOLDER = """
import os, signal, sys
from queuectl.engines.file import FileLog
with FileLog(sys.argv[1]).exclusive():
    os.kill(os.getpid(), signal.SIGSTOP)
"""


class SetBack(Host):
    """A machine whose wall clock can be set."""

    shift_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.shift_us


def test_slots_that_cannot_have_their_files_are_refused_before_anything_runs(site: Site) -> None:
    how = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))}
    ids = site.queue.enqueue_all([{"command": "sleep 0.01", "max_retries": 1}] * 40)
    refused = site.start(how=how, slots=24)
    assert refused.ended() == 2
    assert refused.said() == [
        "error: 24 slots need 88 open files, and this process may have 64:"
        " raise that with ulimit -n, or use fewer slots"
    ]
    assert site.run_files() == []
    worker = site.start(how=how, slots=12)
    eventually(lambda: site.queue.state.counts["completed"] == len(ids))
    worker.stop()
    assert worker.said() == ["ended: stopped"]


class Short(Host):
    """A machine on which nobody can open another file while `until` is in the future."""

    def __init__(self) -> None:
        self.until = 0.0

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        if time.monotonic() < self.until:
            raise OSError(errno.ENFILE, "Too many open files in system")
        return super().open(path, flags, mode)


def test_a_machine_short_of_files_for_a_while_fails_no_job(site: Site) -> None:
    class Notes(Listener):
        said: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.said.append(text)

    host = Short()
    ids = site.queue.enqueue_all([{"command": "sleep 0.2", "max_retries": 1} for _ in range(4)])
    with Queue(site.place, host=host) as queue:
        worker = Worker(queue, Options(slots=2, burst="wait"), Notes())
        queue.catch_up()
        started = host.spawn

        def spawn(*arguments: Any) -> int:
            host.until = time.monotonic() + 1.5 if not Notes.said else 0.0
            return started(*arguments)

        host.spawn = spawn  # type: ignore[method-assign]
        assert worker.run() == "nothing left to run"
    assert [site.job(id).attempts for id in ids] == [1] * 4
    assert {site.state(id) for id in ids} == {"completed"}
    assert "Too many open files" in Notes.said[0]
    assert len(Notes.said) == 2


@pytest.fixture
def stopped_holder(site: Site) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Begins a process that is stopped while it holds the log's lock."""
    holders = []

    def hold() -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, site.queue.home.log],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        holders.append(holder)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        return holder

    yield hold
    for holder in holders:
        holder.kill()
        holder.communicate()


def test_timeouts_are_kept_while_somebody_sits_on_the_log_s_lock(
    site: Site, stopped_holder: Callable[[], subprocess.Popen[str]]
) -> None:
    go, pids = site.root / "go", site.root / "pids"
    worker = site.start(slots=2, poll_ms=60_000)
    short = site.add(f"until [ -e '{go}' ]; do sleep 0.01; done")
    slow = site.add(f"echo $$ >'{pids}'; exec sleep 60", timeout="1s", max_retries=1)
    pid = int(eventually(lambda: pids.exists() and pids.read_text()))
    site.reaches(short, "processing")
    holder = stopped_holder()
    go.touch()
    eventually(lambda: not alive(pid), 10)
    eventually(worker.said)
    assert f"has been locked for 1 s by process {holder.pid}" in worker.said()[0]
    holder.kill()
    assert site.reaches(slow, "dead").error == "timed out after 1s"
    assert site.last(slow, v.JobFailed).run_ms < 6000
    site.reaches(short, "completed")
    assert len(worker.said()) == 1
    worker.stop()


def test_told_twice_to_stop_it_does_not_wait_for_the_log_s_lock(
    site: Site, stopped_holder: Callable[[], subprocess.Popen[str]]
) -> None:
    worker = site.start(poll_ms=60_000)
    holder = stopped_holder()
    worker.send(signal.SIGTERM)
    eventually(worker.said)
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert site.run_files() == []
    holder.kill()
    site.drain()
    assert not site.queue.state.workers.rows


class FailsOnce(Host):
    """A machine on which one call fails, once, from the moment it is told to."""

    def __init__(self, name: str, code: int) -> None:
        self.armed = False
        self.failed = False
        call = getattr(self, name)

        def failing(*arguments: Any) -> Any:
            if self.armed and not self.failed:
                self.failed = True
                raise OSError(code, os.strerror(code))
            return call(*arguments)

        setattr(self, name, failing)


def test_a_disk_that_does_not_take_the_token_is_not_the_job_s_fault(site: Site) -> None:
    id = site.add("true", max_retries=1)
    host = FailsOnce("write_at", errno.EIO)
    with Queue(site.place, host=host) as queue:
        make = host.create

        def create(path: str) -> int:
            host.armed |= path.endswith(".err")
            return make(path)

        host.create = create  # type: ignore[method-assign]
        Worker(queue, Options(burst="wait")).run()
    assert host.failed
    assert (site.state(id), site.job(id).attempts) == ("completed", 1)
    assert "job.failed" not in site.types(id)


def test_an_end_that_cannot_be_told_at_once_is_told_later(site: Site) -> None:
    ids = [site.add("true", max_retries=1) for _ in range(2)]
    host = FailsOnce("size", errno.ENOMEM)
    with Queue(site.place, host=host) as queue:
        take = host.reap

        def reap(pid: int) -> tuple[int, Any]:
            host.armed = True
            return take(pid)

        host.reap = reap  # type: ignore[method-assign]
        Worker(queue, Options(slots=2, burst="wait")).run()
    assert host.failed
    assert [site.state(id) for id in ids] == ["completed"] * 2


def test_told_twice_to_stop_it_leaves_even_if_it_cannot_see_what_has_ended(site: Site) -> None:
    class Blind(Host):
        def is_held(self, path: str) -> bool:
            raise OSError(errno.ENFILE, "Too many open files in system")

        def wait(self, *arguments: Any) -> set[int]:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(*arguments)

    id = site.add("sleep 0.1")
    with Queue(site.place, host=Blind()) as queue:
        assert Worker(queue, Options()).run() == "stopped"
    site.drain()
    assert site.state(id) == "completed"


def test_no_right_to_write_output_is_said_once_and_fails_no_job(site: Site) -> None:
    """As when the output directory became a file of another kind: nothing can be begun there."""
    id = site.add("true", max_retries=1)
    output = site.place / "output"
    output.rmdir()
    output.write_text("in the way")
    worker = site.start(poll_ms=60_000)
    eventually(lambda: site.types(id).count("job.released") >= 2)
    assert len(worker.said()) == 1
    assert "Not a directory" in worker.said()[0]
    assert site.types(id).count("job.released") <= 3
    output.unlink()
    site.reaches(id, "completed")
    worker.stop()


@pytest.mark.parametrize("hours", [1, 24 * 365 * 10])
def test_a_clock_that_is_set_back_keeps_nothing_waiting(site: Site, hours: int) -> None:
    host = SetBack()
    host.shift_us = hours * 3600 * 1_000_000
    ahead = Queue(site.place, host=host)
    ids = [ahead.enqueue("true").id, ahead.enqueue("exit 1", max_retries=2, backoff="20ms").id]
    ahead.close()
    ids.append(site.add("true"))
    ids.append(site.add("true", delay="100ms"))
    site.drain()
    assert [site.state(id) for id in ids] == ["completed", "dead", "completed", "completed"]


def test_the_time_goes_on_where_the_clock_was_set_back(site: Site) -> None:
    host = SetBack()
    queue = Queue(site.place, host=host)
    before = queue.now()
    host.shift_us = -3600 * 1_000_000
    time.sleep(0.02)
    assert instants.later(before, 20) <= queue.now() <= instants.later(before, 10_000)
    queue.close()
