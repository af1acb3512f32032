"""What a worker does with jobs that go well, and with jobs that do not."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections import Counter
from pathlib import Path

import pytest
from workers import AGES_S, Site, alive, eventually

from queuectl import instants
from queuectl.domain.job import Job
from queuectl.events import vocabulary as v


def finished(site: Site, command: str | None = None, **fields: object) -> Job:
    """The job after one drain."""
    id = site.add(command, **{"max_retries": 1, **fields})
    site.drain()
    return site.job(id)


def test_every_job_of_a_burst_runs_exactly_once(site: Site) -> None:
    ids = [f"job-{number}" for number in range(120)]
    site.queue.enqueue_many(
        [{"id": id, "command": f"echo $QUEUECTL_JOB >>'{site.marks}'"} for id in ids]
    )
    worker = site.drain(slots=8)
    assert Counter(site.marked()) == Counter(ids)
    assert site.queue.state.counts["completed"] == len(ids)
    assert worker.said() == ["ended: nothing left to run"]
    assert site.run_files() == []


def test_higher_priority_runs_first_then_the_order_of_enqueueing(site: Site) -> None:
    for id, priority in (("a", 0), ("b", -1), ("c", 5), ("d", 0), ("e", 1 << 53)):
        site.add(f"echo {id} >>'{site.marks}'", priority=priority)
    site.drain(slots=1)
    assert site.marked() == ["e", "c", "a", "d", "b"]


def test_a_job_that_is_not_due_does_not_stand_before_one_that_is(site: Site) -> None:
    site.add(f"echo later >>'{site.marks}'", delay="1h", priority=9)
    site.add(f"echo now >>'{site.marks}'")
    site.drain(slots=1, limit=1)
    assert site.marked() == ["now"]


def test_a_burst_that_waits_serves_what_comes_meanwhile(site: Site) -> None:
    later = site.add("true", delay="1h", priority=9)
    worker = site.start(slots=1, burst="wait")
    # By now it has asked itself whether anything is left.
    site.reaches(site.add(f"echo now >>'{site.marks}'"), "completed")
    assert site.marked() == ["now"]
    site.queue.cancel(later)
    assert worker.ended() == 0


def test_run_at_and_delay_are_kept_and_a_burst_waits_for_them(site: Site) -> None:
    now = site.queue.now()
    delayed = site.add("true", delay="400ms")
    scheduled = site.add("true", run_at=instants.later(now, 600))
    site.drain()
    assert site.job(delayed).started_at >= instants.later(now, 400)
    assert site.job(scheduled).started_at >= instants.later(now, 600)


def test_burst_now_leaves_what_is_not_due(site: Site) -> None:
    id = site.add("true", delay="1h")
    site.drain(burst="now")
    assert site.state(id) == "pending"


def test_only_its_queues_and_no_more_than_its_limit(site: Site) -> None:
    ids = [site.add("true", queue=queue) for queue in ("a", "b", "a", "a")]
    assert site.drain(queues=["a"], limit=2, burst="").said() == ["ended: limit reached"]
    assert [site.state(id) for id in ids] == ["completed", "pending", "completed", "pending"]


@pytest.mark.parametrize(
    "fields, reason, code, error",
    [
        ({"command": "echo no >&2; echo why >&2; exit 3"}, "exit", 3, "why"),
        ({"command": "exit 7"}, "exit", 7, "exit code 7"),
        ({"command": "kill -SEGV $$"}, "signal", None, "killed by SIGSEGV"),
        ({"command": "echo oh >&2; kill -9 $$"}, "signal", None, "killed by SIGKILL: oh"),
        ({"command": "no-such-thing"}, "exit", 127, "no-such-thing"),
        ({"argv": ["no-such-thing"]}, "start", 127, "no-such-thing: no such program in PATH"),
        ({"argv": ["./none"]}, "start", 127, "./none: No such file or directory"),
        ({"argv": ["/dev/null"]}, "start", 126, "/dev/null: Permission denied"),
        ({"argv": ["."], "env": {"PATH": "/"}}, "start", 127, ".: no such program in PATH"),
        (
            {"command": "true", "cwd": "/no/such"},
            "start",
            None,
            "working directory /no/such: No such file or directory",
        ),
        (
            {"command": "true", "cwd": "/dev/null"},
            "start",
            None,
            "working directory /dev/null: Not a directory",
        ),
        ({"command": "true", "secret_env": ["NO_SUCH"]}, "start", None, "NO_SUCH"),
    ],
)
def test_a_failure_says_why(
    site: Site, fields: dict[str, object], reason: str, code: int | None, error: str
) -> None:
    job = finished(site, **fields)  # type: ignore[arg-type]
    assert job.state == "dead"
    assert (job.exit_code, site.last(job.id, v.JobFailed).reason) == (code, reason)
    assert error in job.error
    assert "\n" not in job.error


def test_a_program_is_looked_for_from_the_directory_and_path_of_the_job(site: Site) -> None:
    there = site.root / "there"
    (there / "bin").mkdir(parents=True)
    for path in (there / "tool", there / "bin" / "other"):
        path.write_text("#!/bin/sh\necho $0\n")
        path.chmod(0o700)
    relative = site.add(argv=["./tool"], cwd=str(there))
    found = site.add(argv=["other"], cwd=str(there), env={"PATH": "bin:/bin"})
    site.drain()
    assert [site.state(id) for id in (relative, found)] == ["completed", "completed"]


def test_what_a_job_is_given(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_WORKER", "worker")
    monkeypatch.setenv("OVERRIDDEN", "worker")
    monkeypatch.setenv("SECRET", "hush")
    job = finished(
        site,
        argv=[
            "/bin/sh",
            "-c",
            "env; echo stdin=$(readlink /proc/self/fd/0); pwd; grep SigIgn /proc/self/status;"
            " ps -o pid=,pgid=,sid= -p $$; ls /proc/$$/fd",
        ],
        cwd="/usr",
        env={"OVERRIDDEN": "jöb", "QUEUECTL_JOB": "a lie"},
        secret_env=["SECRET"],
    )
    lines = site.output(job.id).decode().splitlines()
    assert {
        "FROM_WORKER=worker",
        "OVERRIDDEN=jöb",
        "SECRET=hush",
        f"QUEUECTL_JOB={job.id}",
        f"QUEUECTL_TOKEN={job.token}",
        "QUEUECTL_ATTEMPT=1",
        f"QUEUECTL_WORKER={job.worker}",
        f"QUEUECTL_DATA={site.queue.home.root}",
        "stdin=/dev/null",
        "/usr",
    } <= set(lines)
    ignored = int(next(line.split()[1] for line in lines if line.startswith("SigIgn")), 16)
    assert not ignored & (1 << signal.SIGPIPE - 1)
    assert not any("lie" in line for line in lines)
    pid, group, session = next(line.split() for line in lines if len(line.split()) == 3)
    assert pid == group == session
    log = b"".join(path.read_bytes() for path in Path(site.queue.home.log).iterdir())
    assert b"hush" not in log
    # Its three streams and its lock, nothing else of the worker.
    assert len([line for line in lines if line.isdigit()]) == 4


def test_a_broken_pipe_ends_a_job_as_in_any_shell(site: Site) -> None:
    job = finished(site, "yes | head -1; exit 5")
    assert (job.exit_code, site.output(job.id, "err")) == (5, b"")


def test_output_is_kept_apart_by_token_and_private(site: Site) -> None:
    old = os.umask(0)
    try:
        job = finished(
            site,
            "n=$QUEUECTL_ATTEMPT; echo out $n; echo err $n >&2; exit $((2 - n))",
            max_retries=2,
            backoff_base=0,
        )
    finally:
        os.umask(old)
    tokens = [
        event.offset for event in site.queue.history(job.id) if isinstance(event, v.JobClaimed)
    ]
    for number, token in enumerate(tokens, 1):
        assert site.output(job.id, "out", token) == b"out %d\n" % number
        assert site.output(job.id, "err", token) == b"err %d\n" % number
    done = site.last(job.id, v.JobCompleted)
    assert (done.stdout_bytes, done.stderr_bytes) == (6, 6)
    for directory, names, files in os.walk(site.place):
        for name in names:
            assert stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) == 0o700, name
        for name in files:
            assert stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) == 0o600, name


def test_output_that_is_in_the_way_does_not_keep_a_job_from_running(site: Site) -> None:
    """As after somebody deleted the log and kept the output: the tokens begin anew."""
    id = site.add("echo new")
    for token in range(1, 9):
        old = Path(site.queue.home.output_file(id, token, "out"))
        old.parent.mkdir(mode=0o700, exist_ok=True)
        old.write_text("old and longer")
    site.drain()
    assert (site.state(id), site.output(id)) == ("completed", b"new\n")
    assert site.types(id).count("job.claimed") == 1


def test_the_last_line_of_errors_is_bounded_and_one_line(site: Site) -> None:
    job = finished(
        site, "head -c 200000 /dev/zero | tr '\\0' x >&2; printf '\\n\\n \\n' >&2; exit 1"
    )
    assert job.error == "x" * 500
    job = finished(site, "printf 'a\\377\\0b\\033[31m\\n' >&2; exit 1")
    assert job.error == "a\ufffd\ufffdb\x1b[31m"


def test_a_job_that_prints_too_much_is_ended(site: Site) -> None:
    site.queue.set("output-limit", "1MiB")
    job = finished(site, "yes", timeout="20s")
    failed = site.last(job.id, v.JobFailed)
    assert (failed.reason, job.error) == ("output-limit", "printed more than 1MiB")
    assert failed.stdout_bytes > 1 << 20


# ---- ending everything


def test_a_timeout_asks_then_kills_the_whole_group(site: Site) -> None:
    pids = site.root / "pids"
    deaf = (
        f"trap '' TERM; echo $$ >>'{pids}'; sh -c 'echo $$ >>{pids}; sleep 60' & sleep 60; sleep 60"
    )
    job = finished(site, deaf, timeout="300ms") if not site.queue.set("grace", "200ms") else None
    assert job is not None
    failed = site.last(job.id, v.JobFailed)
    assert (failed.reason, job.error) == ("timeout", "timed out after 300ms")
    assert 490 <= failed.run_ms < 5000
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]


def test_a_timeout_leaves_time_to_end_well(site: Site) -> None:
    job = finished(site, "trap 'echo bye; exit 0' TERM; sleep 60 & wait", timeout="200ms")
    assert site.output(job.id) == b"bye\n"
    assert (site.last(job.id, v.JobFailed).reason, job.exit_code) == ("timeout", 0)


def test_the_timeout_of_the_worker_is_for_jobs_without_their_own(site: Site) -> None:
    slow = site.add("sleep 60", max_retries=1)
    own = site.add("sleep 0.5", max_retries=1, timeout="20s")
    site.drain(timeout_ms=200)
    assert (site.state(slow), site.state(own)) == ("dead", "completed")


LEFT_BEHIND = {
    "in the group": ("sleep 60 & echo $! >>PIDS", 0),
    "own session": (
        "setsid sh -c 'echo $$ >>PIDS; exec sleep 60' & until [ -s PIDS ]; do :; done",
        1,
    ),
    "own group": (
        "python3 -Sc 'import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True);"
        " time.sleep(60)' >>PIDS & until [ -s PIDS ]; do :; done",
        1,
    ),
    "daemon": (
        "setsid sh -c '(echo $$ >>PIDS; exec sleep 60) &' & until [ -s PIDS ]; do :; done",
        1,
    ),
    "without environment": (
        "env -i setsid sh -c 'echo $$ >>PIDS; exec sleep 60' & until [ -s PIDS ]; do :; done",
        1,
    ),
}


@pytest.mark.parametrize("how", LEFT_BEHIND)
def test_nothing_that_a_job_leaves_behind_lives_on(site: Site, how: str) -> None:
    command, escaped = LEFT_BEHIND[how]
    pids = site.root / "pids"
    job = finished(site, command.replace("PIDS", str(pids)), timeout="10s")
    assert job.state == "completed", job.error
    assert [pid for pid in pids.read_text().split() if pid.isdigit()]
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]
    assert site.last(job.id, v.JobCompleted).escaped == escaped


DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
leader = os.getpid()
if os.fork(): os._exit(0)
while os.getppid() == leader: pass  # one that is not gone yet would be counted, too
open(sys.argv[1], "a").write("%d\\n" % os.getpid())
os.closerange(0, 4096)
if len(sys.argv) > 2: os.execve("/bin/sleep", ["sleep", "60"], {})
time.sleep(60)
"""


@pytest.mark.parametrize("bare", [False, True])
def test_a_daemon_that_closed_everything_is_found(site: Site, bare: bool) -> None:
    script, pids = site.root / "daemon.py", site.root / "pids"
    script.write_text(DAEMON)
    how = "bare" if bare else ""
    command = f"python3 -S '{script}' '{pids}' {how}; until [ -s '{pids}' ]; do :; done"
    job = finished(site, command, timeout="10s")
    assert job.state == "completed", job.error
    assert not alive(int(pids.read_text()))
    assert site.last(job.id, v.JobCompleted).escaped == 1


def test_a_helper_of_a_job_that_goes_on_is_left_alone(site: Site) -> None:
    """Even one that has wiped every trace of whose it is, while other jobs come and go."""
    script, pids = site.root / "daemon.py", site.root / "pids"
    script.write_text(DAEMON)
    go = site.root / "go"
    other = site.add(f"until [ -s '{pids}' ]; do :; done; sleep 0.3")
    worker = site.start(slots=3)
    site.reaches(other, "processing")
    wait = f"until [ -e '{go}' ]; do sleep 0.01; done"
    long = site.add(f"python3 -S '{script}' '{pids}' bare; {wait}")
    pid = int(eventually(lambda: pids.exists() and pids.read_text()))
    site.reaches(site.add("true"), "completed")
    site.reaches(other, "completed")
    site.reaches(site.add("true"), "completed")
    assert alive(pid)
    go.touch()
    site.reaches(long, "completed")
    assert not alive(pid)
    worker.stop()


def test_descriptors_that_a_script_uses_do_not_cost_it_its_lock(site: Site) -> None:
    redirections = " ".join(f"{fd}>/dev/null" for fd in range(3, 256))
    go = site.root / "go"
    id = site.add(argv=["bash", "-c", f"exec {redirections}; until [ -e '{go}' ]; do :; done"])
    worker = site.start()
    site.reaches(id, "processing")
    lock = site.queue.home.slot_lock(site.job(id).worker, 1)
    time.sleep(0.3)
    assert site.queue.host.is_held(lock)
    go.touch()
    site.reaches(id, "completed")
    worker.stop()


# ---- retries


def test_a_flaky_job_succeeds_at_its_third_run(site: Site) -> None:
    job = finished(site, "[ $QUEUECTL_ATTEMPT -ge 3 ]", max_retries=3, backoff="50ms,80ms")
    assert (job.state, job.attempts) == ("completed", 3)
    assert site.types(job.id) == [
        "job.enqueued",
        *["job.claimed", "job.failed", "job.retried"] * 2,
        "job.claimed",
        "job.completed",
    ]
    delays = [e.delay_ms for e in site.queue.history(job.id) if isinstance(e, v.JobRetried)]
    assert delays == [50, 80]
    claims = [e.at for e in site.queue.history(job.id) if isinstance(e, v.JobClaimed)]
    runs_at = [e.run_at for e in site.queue.history(job.id) if isinstance(e, v.JobRetried)]
    assert all(claim >= run_at for claim, run_at in zip(claims[1:], runs_at, strict=True))


@pytest.mark.parametrize("max_retries, runs", [(0, 1), (1, 1), (2, 2)])
def test_a_job_dies_after_its_runs(site: Site, max_retries: int, runs: int) -> None:
    job = finished(
        site, f"echo run >>'{site.marks}'; exit 1", max_retries=max_retries, backoff="10ms"
    )
    assert (job.state, job.attempts, len(site.marked())) == ("dead", runs, runs)
    assert site.types(job.id)[-1] == "job.dead"


# ---- many, and for long


def test_nothing_leaks_over_many_jobs(site: Site) -> None:
    worker = site.start(slots=4)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{worker.pid}/fd"))

    def rest(jobs: int) -> int:
        """How many it has open after so many more jobs, with nothing going on."""
        goal = jobs + sum(site.queue.state.counts.values())
        site.queue.enqueue_all(
            [{"command": "true" if n % 2 else "exit 1", "max_retries": 1} for n in range(jobs)]
        )

        def over() -> bool:
            counts = site.queue.state.counts
            return counts["completed"] + counts["dead"] == goal

        # As many starts as these have been seen to take 18 s beside other load.
        eventually(over, AGES_S)
        threads = Path(f"/proc/{worker.pid}/task")
        eventually(lambda: not any(path.read_text() for path in threads.glob("*/children")))
        return descriptors()

    before = rest(20)
    assert abs(rest(200) - before) <= 4
    worker.stop()


def test_many_slots(site: Site) -> None:
    go = site.root / "go"
    ids = [site.add(f"until [ -e '{go}' ]; do sleep 0.2; done") for _ in range(64)]
    worker = site.start(slots=64)
    eventually(lambda: site.queue.state.counts["processing"] == 64)
    go.touch()
    eventually(lambda: site.queue.state.counts["completed"] == 64)
    assert {site.job(id).slot for id in ids} == set(range(1, 65))
    worker.stop()
    assert site.run_files() == []


def test_several_workers_run_every_job_exactly_once(site: Site) -> None:
    ids = [f"job-{number}" for number in range(500)]
    command = f"echo $QUEUECTL_JOB >>'{site.marks}'"
    workers = [site.launch(slots=2, burst="wait") for _ in range(8)]
    site.queue.enqueue_many([{"id": id, "command": command} for id in ids])
    workers += [site.launch(slots=2, burst="wait")]
    for worker in workers:
        assert worker.ended(AGES_S) == 0, worker.said()
    assert Counter(site.marked()) == Counter(ids)
    assert site.queue.state.counts["completed"] == 500
    assert site.run_files() == []


def test_an_idle_worker_sleeps_and_wakes_at_the_bell(site: Site) -> None:
    worker = site.start(poll_ms=60_000)
    site.reaches(site.add("true"), "completed")

    def ticks() -> int:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, started = ticks(), time.monotonic()
    time.sleep(1.0)
    assert ticks() - before <= 2
    assert time.monotonic() - started < 10
    started = time.monotonic()
    site.reaches(site.add("true"), "completed")
    assert time.monotonic() - started < 5
    worker.stop()


@pytest.mark.parametrize("name", ["with space", "ünï-ço∂e", "quo'te\"$x"])
def test_any_name_of_the_data_directory_will_do(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path, tmp_path / name)
    try:
        id = site.add("setsid sleep 60 & sleep 0.1; echo here")
        site.drain()
        assert (site.state(id), site.output(id)) == ("completed", b"here\n")
    finally:
        site.close()


def test_a_relative_data_directory_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, Path("link/data"))
    try:
        id = site.add("env -i setsid sleep 60 & sleep 0.1; echo here", cwd="/", timeout="10s")
        site.add("true", cwd="/usr")
        site.drain(slots=1)
        assert (site.state(id), site.output(id)) == ("completed", b"here\n")
    finally:
        site.close()
