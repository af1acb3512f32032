"""Stopping a worker: by signals, by request, at once; and cancelling what it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from workers import Site, alive, eventually

from queuectl.errors import Rejected
from queuectl.events import vocabulary as v


def started(site: Site, body: str = "sleep 60", **fields: object) -> tuple[str, int]:
    """(id, pid) of a job that runs."""
    ready = site.root / f"ready-{time.monotonic_ns()}"
    id = site.add(f"echo $$ >'{ready}'; {body}", **fields)
    return id, int(eventually(lambda: ready.exists() and ready.read_text().strip()))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_lets_what_runs_finish(site: Site, signum: int) -> None:
    go = site.root / "go"
    worker = site.start(slots=2, poll_ms=60_000)
    id, _ = started(site, f"until [ -e '{go}' ]; do sleep 0.01; done")
    worker.send(signum)
    eventually(worker.said)
    left = site.add("true")
    go.touch()
    assert worker.ended() == 0
    assert (site.state(id), site.state(left)) == ("completed", "pending")
    assert worker.said() == [
        "stopping: waiting up to 10s for 1 running job; a second signal ends them at once",
        "ended: stopped",
    ]
    assert site.run_files() == []
    assert not site.queue.state.workers.rows


def test_after_the_grace_period_a_job_is_handed_back_and_not_counted(site: Site) -> None:
    worker = site.start(grace_ms=200, poll_ms=60_000)
    id, pid = started(site, "trap '' TERM; sleep 60 & sleep 60; sleep 60")
    worker.stop()
    job = site.job(id)
    assert not alive(pid)
    assert (job.state, job.attempts) == ("pending", 0)
    assert site.last(id, v.JobReleased).reason == "stopping"


@pytest.mark.parametrize("told", [False, True])
def test_a_second_signal_ends_everything_at_once(site: Site, told: bool) -> None:
    """Also when the job has been told already and has its grace period to end well."""
    worker = site.start(grace_ms=2_000 if told else 60_000, poll_ms=60_000)
    body = "trap 'touch told' TERM; while :; do sleep 0.05; done"
    id, pid = started(site, body, cwd=str(site.root))
    worker.send(signal.SIGTERM)
    eventually(worker.said)
    if told:
        eventually((site.root / "told").exists)
    sent = time.monotonic()
    worker.send(signal.SIGINT)
    assert worker.ended() == 0
    assert time.monotonic() - sent < 1.5
    assert not alive(pid)
    assert (site.state(id), site.job(id).attempts) == ("pending", 0)
    assert site.run_files() == []


def test_signals_without_end_leave_no_files(site: Site) -> None:
    worker = site.start()
    started(site, "trap '' TERM; sleep 60; sleep 60")
    while worker.process.poll() is None:
        worker.send(signal.SIGTERM)
        time.sleep(0.0005)
    assert site.run_files() == []
    assert not site.queue.state.workers.rows


def test_nohup_is_respected(site: Site) -> None:
    worker = site.start(how={"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)})
    worker.send(signal.SIGHUP)
    site.reaches(site.add("true"), "completed")
    worker.stop()


def test_a_requested_stop_reaches_those_who_run_now_and_nobody_else(site: Site) -> None:
    workers = [site.start(poll_ms=60_000) for _ in range(2)]
    id, _ = started(site, "sleep 0.3")
    assert len(site.queue.stop_workers()) == 2
    later = site.start()
    assert [worker.ended() for worker in workers] == [0, 0]
    assert site.state(id) == "completed"
    site.reaches(site.add("true"), "completed")
    later.stop()
    assert site.run_files() == []


def test_a_stop_is_not_lost_on_a_stopped_process(site: Site) -> None:
    worker = site.start(poll_ms=60_000)
    worker.send(signal.SIGSTOP)
    site.queue.stop_workers()
    worker.send(signal.SIGCONT)
    assert worker.ended() == 0


# ---- cancelling


def test_cancelling_ends_the_whole_group(site: Site) -> None:
    site.queue.set("grace", "200ms")
    worker = site.start(poll_ms=60_000)
    pids = site.root / "pids"
    body = f"trap '' TERM; sh -c 'echo $$ >{pids}; sleep 60; :' & sleep 60; sleep 60"
    id, pid = started(site, body)
    eventually(lambda: pids.exists() and pids.read_text())
    site.queue.cancel(id)
    eventually(lambda: site.types(id)[-1] == "job.released")
    assert site.last(id, v.JobReleased).reason == "cancelled"
    assert site.state(id) == "cancelled"
    assert not alive(pid)
    assert not alive(int(pids.read_text()))
    # The slot is free again.
    site.reaches(site.add("true"), "completed")
    worker.stop()


def test_a_cancelled_job_that_never_ran_does_not(site: Site) -> None:
    id = site.add(f"echo ran >>'{site.marks}'")
    site.queue.cancel(id)
    site.drain()
    assert (site.marked(), site.types(id)) == ([], ["job.enqueued", "job.cancelled"])


def test_cancel_and_completion_race_to_one_outcome(site: Site) -> None:
    worker = site.start(slots=4)
    ids = []
    for number in range(40):
        ids.append(site.add("true"))
        time.sleep(number / 1_000)
        try:
            site.queue.cancel(ids[-1])
        except Rejected:
            pass
    eventually(lambda: not any(site.job(id).held for id in ids))
    assert {site.state(id) for id in ids} == {"completed", "cancelled"}
    for id in ids:
        types = site.types(id)
        assert types.count("job.completed") + types.count("job.cancelled") == 1, types
    worker.stop()


# ---- what ended in time counts, however late it is seen


def test_a_run_that_ended_before_its_timeout_did_not_time_out(site: Site) -> None:
    worker = site.start()
    go = site.root / "go"
    body = f"until [ -e '{go}' ]; do sleep 0.01; done"
    id, pid = started(site, body, timeout="1s")
    worker.send(signal.SIGSTOP)
    go.touch()
    eventually(lambda: not alive(pid))
    time.sleep(1.0)
    worker.send(signal.SIGCONT)
    job = site.reaches(id, "completed")
    assert (job.exit_code, job.attempts) == (0, 1)
    worker.stop()


def test_a_worker_inside_a_program_leaves_its_other_children_alone(site: Site) -> None:
    script = (
        "import subprocess, sys, os\n"
        "from queuectl import Queue\n"
        "from queuectl.runtime.worker import Worker, Options\n"
        "other = subprocess.Popen(['sleep', '60'])\n"
        "before = os.getcwd()\n"
        f"with Queue({str(site.place)!r}) as queue:\n"
        "    Worker(queue, Options(burst='wait')).run()\n"
        "assert os.getcwd() == before\n"
        "assert other.poll() is None\n"
        "other.kill(); other.wait()\n"
    )
    id = site.add("true", cwd="/usr")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30, env=env)
    assert site.state(id) == "completed"
