"""`make demo`: some 200 real jobs over the files of this checkout, run and then checked.

Drives the `queuectl` command as anybody would, in a directory of its own that is removed at the
end unless something is wrong or KEEP=1 says otherwise. Exits with 1 if one result is not as it
should be.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUEUECTL = str(Path(sys.executable).parent / "queuectl")
FILES_MAX = 65
SLOTS = 4
DELAY_S = 3
WORKER_TIMEOUT_S = 240
ENVIRONMENT = {name: text for name, text in os.environ.items() if not name.startswith("QUEUECTL_")}


class Wrong(Exception):
    """Something that makes going on pointless."""


class Demo:
    """One run of the demo, in a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.data = place / "data"
        self.files = sample(tracked_files(), FILES_MAX)
        self.jobs = 0
        self.asked_for_later = 0.0
        self.wrong: list[str] = []

    # ---- driving the command line

    def queuectl(self, *words: str, expect: int = 0) -> str:
        """What the command answers. Raises `Wrong` if it exits with anything but `expect`."""
        done = subprocess.run(
            [QUEUECTL, "--data", str(self.data), *words],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != expect:
            raise Wrong(
                f"`queuectl {words[0]}` exited with {done.returncode} instead of {expect}:"
                f" {done.stderr.strip()}"
            )
        return done.stdout

    def show(self, *words: str) -> None:
        """Run a command and print it with its answer, as one would see it."""
        print(f"\n$ queuectl {shlex.join(words)}", flush=True)
        print(self.queuectl(*words).rstrip(), flush=True)

    def enqueue(self, **job: Any) -> None:
        print(f"$ queuectl enqueue {shlex.quote(json.dumps(job))}", flush=True)
        answer = self.queuectl("enqueue", json.dumps(job))
        self.check(answer.strip() == job["id"], f"enqueue answers {job['id']}, the id", quiet=True)
        self.jobs += 1

    def run_worker(self) -> float:
        """Run all there is; returns seconds. The worker itself shows how far it is."""
        words = ["worker", "start", "-c", str(SLOTS), "--burst"]
        print(f"\n$ queuectl {shlex.join(words)}", flush=True)
        started = time.monotonic()
        worker = subprocess.Popen(
            [QUEUECTL, "--data", str(self.data), *words],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )
        try:
            code = worker.wait(WORKER_TIMEOUT_S)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            worker.terminate()  # gracefully: it takes its jobs along
            worker.wait()
            raise
        self.check(code == 0, f"the worker exits 0, not {code}", quiet=True)
        return time.monotonic() - started

    # ---- the jobs

    def enqueue_all(self) -> None:
        tries = shlex.quote(str(self.place / "tries"))
        self.enqueue(
            id="flaky",
            command=f"echo x >> {tries}; n=$(grep -c x {tries}); echo run $n; test $n -ge 3",
            max_retries=5,
            backoff="fixed",
            backoff_base=0.2,
        )
        self.enqueue(id="slow", command="sleep 30", timeout="1s", max_retries=1)
        self.enqueue(
            id="missing",
            command="no-such-command --at-all",
            max_retries=2,
            backoff="fixed",
            backoff_base=0.2,
        )
        bulk = self.place / "jobs.jsonl"
        jobs = [job for number, file in enumerate(self.files) for job in self.about(number, file)]
        bulk.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        print(f"$ queuectl enqueue -f {bulk}    # {len(jobs)} jobs, one JSON line each")
        ids = self.queuectl("enqueue", "-f", str(bulk)).split()
        self.check(ids == [job["id"] for job in jobs], "enqueue -f answers all ids", quiet=True)
        self.jobs += len(jobs)
        self.asked_for_later = time.time()
        self.enqueue(id="later", command="date", delay=f"{DELAY_S}s")
        self.enqueue(id="urgent", command="echo me first", priority=10)

    def about(self, number: int, file: Path) -> list[dict[str, str]]:
        """The jobs for one file of the checkout."""
        name = shlex.quote(str(file))
        packed = shlex.quote(str(self.place / f"{number}.gz"))
        return [
            {"id": f"sha256-{number}", "command": f"sha256sum -- {name}"},
            {
                "id": f"gzip-{number}",
                "command": f"gzip -c -- {name} > {packed} && gzip -dc {packed} | cmp - {name}",
            },
            {"id": f"lines-{number}", "command": f"wc -l < {name}"},
        ]

    # ---- what came of them

    def check(self, right: bool, what: str, *, quiet: bool = False) -> None:
        """Note a finding; `quiet` ones are only shown when they are wrong."""
        if not right:
            self.wrong.append(what)
        if not quiet or not right:
            print(f"  {'ok   ' if right else 'WRONG'}  {what}", flush=True)

    def check_all(self) -> None:
        listed = json.loads(self.queuectl("list", "--limit", "0", "--json"))
        jobs = {job["id"]: job for job in listed}
        print("\nChecking what came of it:")
        self.check(len(jobs) == self.jobs, f"all {self.jobs} jobs are there, once each")
        self.check_files()
        self.check_order(jobs)
        self.check_failures(jobs)
        self.check_states(jobs)
        self.queuectl("show", "nobody", expect=3)
        self.queuectl("enqueue", '{"id": "urgent", "command": "true"}', expect=4)
        self.queuectl("enqueue", '{"command": "true", "prioritty": 1}', expect=2)
        self.check(True, "exit codes: 3 for an unknown job, 4 for a taken id, 2 for a bad field")

    def check_files(self) -> None:
        """Every output against what Python computes."""
        sums = lines = packed = 0
        for number, file in enumerate(self.files):
            contents = (ROOT / file).read_bytes()
            sums += self.output(f"sha256-{number}")[:64] == hashlib.sha256(contents).hexdigest()
            lines += self.output(f"lines-{number}").strip() == str(contents.count(b"\n"))
            packed += unpacked(self.place / f"{number}.gz") == contents
        count = len(self.files)
        self.check(sums == count, f"{sums} of {count} checksums are what Python computes")
        self.check(packed == count, f"{packed} of {count} files came back whole from gzip")
        self.check(lines == count, f"{lines} of {count} line counts are what Python counts")

    def output(self, job: str) -> str:
        """What the only run of a job printed: a file that the job itself has written."""
        runs = sorted((self.data / "output").glob(f"*/{job}.*.out"))
        return runs[0].read_text() if len(runs) == 1 else f"{len(runs)} runs"

    def check_order(self, jobs: dict[str, Any]) -> None:
        claimed = [event["job"] for event in self.events() if event["type"] == "job.claimed"]
        self.check(claimed[0] == "urgent", f"enqueued last, started first: {claimed[0]}")
        started = datetime.fromisoformat(jobs["later"]["started_at"])
        waited_s = started.timestamp() - self.asked_for_later
        self.check(
            DELAY_S <= waited_s < DELAY_S + 10,
            f"delayed by {DELAY_S} s, started after {waited_s:.2f} s",
        )

    def events(self) -> list[dict[str, Any]]:
        """The log itself, which is plain JSON lines."""
        segments = sorted((self.data / "log").glob("*.jsonl"))
        return [json.loads(line) for file in segments for line in file.read_text().splitlines()]

    def check_failures(self, jobs: dict[str, Any]) -> None:
        flaky, slow, missing = jobs["flaky"], jobs["slow"], jobs["missing"]
        last_words = self.queuectl("logs", "flaky").strip()
        self.check(
            (flaky["state"], flaky["attempts"], last_words) == ("completed", 3, "run 3"),
            f"the flaky job is {flaky['state']} after {flaky['attempts']} runs: {last_words}",
        )
        self.check(
            slow["state"] == "dead" and "timed out" in slow["error"] and slow["run_seconds"] < 10,
            f"the slow one is {slow['state']} after {slow['run_seconds']:.1f} s: {slow['error']}",
        )
        self.check(
            (missing["state"], missing["attempts"], missing["exit_code"]) == ("dead", 2, 127),
            f"the missing command is {missing['state']} after {missing['attempts']} runs:"
            f" {missing['error']}",
        )
        dead = json.loads(self.queuectl("dlq", "list", "--json"))
        self.check(
            {job["id"] for job in dead} == {"slow", "missing"},
            f"in the dead-letter queue: {', '.join(job['id'] for job in dead)}",
        )

    def check_states(self, jobs: dict[str, Any]) -> None:
        status = json.loads(self.queuectl("status", "--json"))
        counts = {state: count for state, count in status["jobs"].items() if count}
        told = ", ".join(f"{count} {state}" for state, count in counts.items())
        self.check(counts == {"completed": self.jobs - 2, "dead": 2}, f"counts by state: {told}")
        again = [
            job["id"]
            for job in jobs.values()
            if job["attempts"] != 1 and job["id"] not in ("flaky", "missing")
        ]
        self.check(
            not again, f"every other job ran exactly once{': not ' * bool(again)}{again or ''}"
        )
        self.check(not status["workers"], "no worker is left behind")


def unpacked(archive: Path) -> bytes | None:
    try:
        return gzip.decompress(archive.read_bytes())
    except (OSError, EOFError):
        return None


def tracked_files() -> list[Path]:
    """The files of the checkout, relative to it."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listing.stdout.split("\0") if listing.returncode == 0 else []
    # An unpacked archive has no git to ask.
    found = [Path(name) for name in names if name] or [
        path.relative_to(ROOT) for path in sorted((ROOT / "queuectl").rglob("*.py"))
    ]
    return [file for file in found if (ROOT / file).is_file()]


def sample(files: list[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly from all over."""
    step = max(1.0, len(files) / count)
    return [files[int(number * step)] for number in range(min(count, len(files)))]


def main() -> int:
    keep = os.environ.get("KEEP", "0") not in ("", "0")
    place = Path(tempfile.mkdtemp(prefix="queuectl-demo-"))
    demo = Demo(place)
    print(f"The queue of this demo lives in {demo.data}\n")
    started, ran_s = time.monotonic(), 0.0
    try:
        demo.enqueue_all()
        ran_s = demo.run_worker()
        demo.show("status")
        demo.show("dlq", "list")
        demo.show("history", "flaky")
        demo.check_all()
    except KeyboardInterrupt:
        print(f"\nDEMO INTERRUPTED: {place} is kept")
        return 130
    except Wrong as error:
        demo.check(False, str(error))
    except Exception as error:  # whatever it is, it is a verdict and not a traceback
        demo.check(False, f"{type(error).__name__}: {error}")
    if demo.wrong:
        print(f"\nDEMO FAILED: {len(demo.wrong)} wrong above; kept for a look: {place}")
        return 1
    print(
        f"\nDEMO PASSED: {demo.jobs} jobs in {ran_s:.1f} s with {SLOTS} slots,"
        f" {time.monotonic() - started:.1f} s in all"
    )
    if keep:
        print(f"kept: {place}")
    else:
        shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
