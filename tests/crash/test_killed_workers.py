"""What becomes of jobs when their worker is killed, stopped or cut off."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workers import Site, WorkerProcess, alive, eventually

from queuectl.events import vocabulary as v
from queuectl.host import Host
from queuectl.runtime.presence import remove_run_files

CHILD = "echo child $$ >>MARKS"
BODIES = {
    "plain": "sleep 60",
    "deaf": "trap '' TERM HUP INT; sleep 60 & sleep 60; sleep 60",
    "own session": f"setsid sh -c '{CHILD}; sleep 60; :' & sleep 60",
    "own session, bare": f"env -i setsid sh -c '{CHILD}; exec sleep 60' & sleep 60",
    "own session, no lock": f"setsid sh -c 'exec 9>&-; {CHILD}; sleep 60; :' & sleep 60",
    "wiped": "python3 -S WIPE MARKS & sleep 60",
    "wiped, in an own session": "setsid sh -c 'python3 -S WIPE MARKS & sleep 60' & sleep 60",
}
WIPE = """
import os, sys
open(sys.argv[1], "a").write("child %d\\n" % os.getpid())
os.closerange(0, 4096)
os.execve("/bin/sleep", ["sleep", "60"], {})
"""
"""Leaves no trace of whose it is but the session that it was born into."""
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def starts(site: Site) -> int:
    return sum(line.startswith("start") for line in site.marked())


def overlaps(site: Site) -> list[str]:
    return [line for line in site.marked() if "overlap" in line]


def pids(site: Site) -> list[int]:
    """The processes that were marked as started."""
    lines = [line.split() for line in site.marked()]
    return [int(line[-1]) for line in lines if line[0] in ("start", "child")]


def running(site: Site, body: str, count: int = 1, **fields: object) -> list[str]:
    """Jobs that run, and go on for long in their first attempt only."""
    script = site.root / "wipe.py"
    script.write_text(WIPE)
    marks = count * (2 if "MARKS" in body else 1)
    body = body.replace("MARKS", str(site.marks)).replace("WIPE", str(script))
    body = f"[ $QUEUECTL_ATTEMPT -gt 1 ] || {{ {body}; }}"
    ids = [site.add(site.exclusive(body), **fields) for _ in range(count)]
    eventually(lambda: len(pids(site)) == marks)
    return ids


@pytest.mark.parametrize("body", BODIES)
def test_another_worker_takes_over_after_ending_what_is_left(site: Site, body: str) -> None:
    doomed = site.start(slots=2)
    ids = running(site, BODIES[body], 2)
    before = pids(site)
    other = site.start(slots=2)
    killed = time.monotonic()
    doomed.send(signal.SIGKILL)
    eventually(lambda: starts(site) == 4)
    print(f"taken over in {(time.monotonic() - killed) * 1000:.0f} ms ({body})")
    for id in ids:
        assert site.reaches(id, "completed").attempts == 2
        assert site.last(id, v.LeaseExpired).reason == "its worker died"
    assert not [pid for pid in before if alive(pid)]
    assert not overlaps(site)
    other.stop()
    assert site.run_files() == []


def test_a_worker_that_comes_later_takes_over_too(site: Site) -> None:
    doomed = site.start(slots=3)
    ids = running(site, BODIES["deaf"], 3)
    doomed.kill()
    site.drain()
    assert [site.state(id) for id in ids] == ["completed"] * 3
    assert not overlaps(site)
    assert site.run_files() == []


def test_a_session_that_has_lost_its_leader_is_known_all_the_same(site: Site) -> None:
    go = site.root / "go"
    worker = site.start()
    (id,) = running(site, f"python3 -S WIPE MARKS & until [ -e '{go}' ]; do sleep 0.01; done")
    leader, pid = sorted(pids(site), key=lambda pid: pid != os.getsid(pid))
    sign = Path(site.queue.home.worker_lock(site.job(id).worker))
    born = site.queue.host.start_of(pid)
    eventually(lambda: int(sign.read_text().split()[1]) > born)
    worker.kill()
    go.touch()
    eventually(lambda: not alive(leader))
    assert alive(pid)
    site.drain()
    assert not alive(pid)
    assert site.job(id).attempts == 2


def test_many_clear_up_after_the_same_dead_workers(site: Site) -> None:
    others = [site.start() for _ in range(3)]
    for _ in range(3):
        site.start(slots=4).kill()
    eventually(lambda: len(site.queue.state.workers.rows) == 3)
    site.reaches(site.add("true"), "completed")
    for other in others:
        other.stop()
    assert site.run_files() == []


def test_files_that_another_worker_has_taken_away_are_no_error(site: Site) -> None:
    class Slower(Host):
        def unlink(self, path: str) -> None:  # type: ignore[override]
            os.unlink(path)
            os.unlink(path)

    (Path(site.queue.home.run) / "dead.1").touch()
    remove_run_files(site.queue.home, Slower(), "dead")
    assert site.run_files() == []


def test_a_holder_of_a_lock_is_found_behind_a_link_to_the_data_directory(site: Site) -> None:
    (site.root / "link").symlink_to(site.place)
    path = str(site.root / "link" / "run" / "lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    holder = subprocess.Popen(["sleep", "60"], pass_fds=[fd], env={})
    os.close(fd)
    found = eventually(lambda: site.queue.host.processes_of(["NO=SUCH"], [path]))
    holder.kill()
    holder.wait()
    assert found == [holder.pid]


def test_a_poisonous_job_dies(site: Site) -> None:
    # It looks first, so that it kills its worker and nobody else.
    command = "grep -qa workers.py /proc/$PPID/cmdline && kill -9 $PPID; sleep 60"
    id = site.add(command, max_retries=3)
    for _ in range(3):
        assert site.launch().ended() == -signal.SIGKILL
    site.drain()
    job = site.job(id)
    assert (job.state, job.attempts) == ("dead", 3)
    assert site.types(id)[-2:] == ["lease.expired", "job.dead"]


def test_a_claim_that_never_began_is_not_counted(site: Site) -> None:
    """A worker that dies as soon as its claim is durable, before anything has started."""
    id = site.add("true", max_retries=1)
    script = (
        "import os, sys\n"
        "from queuectl import Queue\n"
        "from queuectl.host import Host\n"
        "from queuectl.runtime.worker import Worker, Options\n"
        "class Dying(Host):\n"
        "    def write_at(self, fd, data, at):\n"
        "        if len(data) == 52: os.kill(os.getpid(), 9)\n"
        "        return os.pwrite(fd, data, at)\n"
        f"Worker(Queue({str(site.place)!r}, host=Dying()), Options()).run()\n"
    )
    died = subprocess.run([sys.executable, "-c", script], env=ENV, timeout=30)
    assert died.returncode == -signal.SIGKILL
    assert site.state(id) == "processing"
    site.drain()
    assert (site.state(id), site.job(id).attempts) == ("completed", 1)
    assert "job.released" in site.types(id)


def test_a_stopped_worker_loses_its_jobs_and_its_late_result_is_refused(site: Site) -> None:
    site.queue.set("lease", "600ms")
    sleeper = site.start(slots=2)
    ids = running(site, "sleep 60", 2)
    sleeper.send(signal.SIGSTOP)
    other = site.start(slots=2)
    for id in ids:
        assert site.reaches(id, "completed").attempts == 2
        assert site.last(id, v.LeaseExpired).reason == "its worker stopped renewing the lease"
    sleeper.send(signal.SIGCONT)
    eventually(lambda: len([line for line in sleeper.said() if "too late" in line]) == 2)
    other.stop()
    # It goes on working.
    site.reaches(site.add("true"), "completed")
    sleeper.stop()
    assert not overlaps(site)
    for id in ids:
        types = site.types(id)
        assert (types.count("job.completed"), types[-1]) == (1, "job.completed"), types


def test_who_was_stopped_itself_does_not_call_others_silent(site: Site) -> None:
    """All are frozen and thawed together, as a container is: nobody loses anything."""
    site.queue.set("lease", "3s")
    workers = [site.start() for _ in range(2)]
    (id,) = running(site, f"until [ -e '{site.root}/go' ]; do sleep 0.01; done")
    time.sleep(0.6)  # long enough for the other one to look at the holder
    for worker in workers:
        worker.send(signal.SIGSTOP)
    time.sleep(5.5)
    # First whoever does not hold the job: that one could take it.
    holder = next(row.pid for row in site.queue.state.workers.rows.values()
                  if row.id == site.job(id).worker)  # fmt: skip
    for worker in sorted(workers, key=lambda worker: worker.pid == holder):
        worker.send(signal.SIGCONT)
        time.sleep(0.4)
    (site.root / "go").touch()
    assert site.reaches(id, "completed").attempts == 1
    for worker in workers:
        worker.stop()


def test_after_everything_was_killed_every_acknowledged_job_runs(site: Site) -> None:
    workers = [site.start(slots=4) for _ in range(2)]
    enqueuer = site.root / "enqueuer.py"
    enqueuer.write_text(
        "import sys\n"
        "from queuectl import Queue\n"
        "queue = Queue(sys.argv[1])\n"
        f"command = {site.exclusive('sleep 0.02')!r}\n"
        "while True:\n"
        "    print(queue.enqueue(command, max_retries=9).id, flush=True)\n"
    )
    printed = [site.root / f"ids-{number}" for number in range(2)]
    enqueuers = []
    for path in printed:
        with path.open("wb") as ids:
            argv = [sys.executable, str(enqueuer), str(site.place)]
            enqueuers.append(subprocess.Popen(argv, stdout=ids, env=ENV))
    eventually(lambda: all(len(path.read_text().split()) > 40 for path in printed))
    processes = [*(worker.process for worker in workers), *enqueuers]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()
    acknowledged = [id for path in printed for id in path.read_text().split("\n")[:-1]]
    assert len(acknowledged) > 80
    site.drain(slots=8)
    assert {site.state(id) for id in acknowledged} == {"completed"}
    assert not overlaps(site)
    assert site.run_files() == []


SHORT = (
    "sleep 0.05",
    "setsid sleep 0.05 & sleep 0.02",
    "trap '' TERM; sleep 0.03 & sleep 0.05",
    "true",
)


def kill_over_and_over(site: Site, kills: int) -> None:
    """Workers are killed while they run jobs that fork; yet every job completes, and alone."""
    ids: list[str] = []
    workers: list[WorkerProcess] = [site.start(slots=4) for _ in range(2)]
    fields = {"max_retries": 1000, "backoff": "fixed", "backoff_base": 0}
    for number in range(kills):
        jobs = [{"command": site.exclusive(SHORT[n % 4]), **fields} for n in range(8)]
        ids += site.queue.enqueue_all(jobs)
        time.sleep((number * 7 % 20) / 200)
        workers.pop(0).kill()
        workers.append(site.start(slots=4))
    for worker in workers:
        worker.kill()
    site.drain(slots=8)
    assert {site.state(id) for id in ids} == {"completed"}
    assert not overlaps(site)
    assert {line.split()[1] for line in site.marked() if line.startswith("end")} == set(ids)
    assert site.run_files() == []


def test_kills_over_and_over(site: Site) -> None:
    kill_over_and_over(site, 6)


@pytest.mark.torture
def test_kills_over_and_over_for_long(site: Site) -> None:
    kill_over_and_over(site, 300)


def test_a_disk_that_fails_stops_the_worker_and_its_jobs(site: Site) -> None:
    trigger = site.root / "trigger"
    worker = site.start(failing_disk=str(trigger), slots=2)
    (id,) = running(site, "sleep 60")
    (pid,) = pids(site)
    trigger.touch()
    site.add("true")
    assert worker.ended() == 1
    assert not alive(pid)
    assert "failed to store the log" in worker.said()[-1]
    assert len(worker.said()) == 1
    trigger.unlink()
    site.drain()
    assert site.state(id) == "completed"


def test_workers_whose_files_are_deleted_hand_their_jobs_back_and_end(site: Site) -> None:
    workers = [site.start(slots=2) for _ in range(2)]
    ids = running(site, "trap '' TERM; sleep 60; sleep 60", 3)
    shutil.rmtree(site.queue.home.run)
    for worker in workers:
        assert worker.ended() == 1
        assert worker.said() == [
            f"error: what this worker had in {site.queue.home.run} was deleted: its jobs were ended"
            " and handed back; start it again, and leave that directory alone meanwhile"
        ]
    assert not [pid for pid in pids(site) if alive(pid)]
    for id in ids:
        assert (site.state(id), site.job(id).attempts) == ("pending", 0)
    assert not site.queue.state.workers.rows
    assert not os.path.exists(site.queue.home.run)
    site.queue.cancel(*ids)
    site.drain()
    assert site.run_files() == []


def test_damage_stops_the_worker_and_its_jobs(site: Site) -> None:
    worker = site.start(slots=2)
    running(site, "sleep 60")
    (pid,) = pids(site)
    (segment,) = Path(site.queue.home.log).glob("*.jsonl")
    with segment.open("rb+") as file:
        file.truncate(segment.stat().st_size - 20)
    # It finds out as soon as it has to look.
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGINT)
    assert worker.ended() == 7, worker.said()
    assert not alive(pid)
    assert (
        len([line for line in worker.said() if line.startswith("error: the log is damaged")]) == 1
    )
