"""Why a job is as it is: every link of the chain, each with the event that says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from programs import Shell

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch


class Scene:
    """A queue whose workers do what a test says."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.queue = Queue(shell.data)
        self._locks: dict[str, int] = {}

    def close(self) -> None:
        for worker in list(self._locks):
            self.dies(worker)
        self.queue.close()

    def works(self, worker: str, slots: int = 1, queues: list[str] | None = None) -> None:
        lock = self.queue.host.hold(self.queue.home.worker_lock(worker))
        assert lock is not None
        self._locks[worker] = lock
        fact = v.WorkerStarted(worker=worker, host="h", pid=1, slots=slots, queues=queues)
        self.queue.transact(lambda: [Batch([fact])])

    def dies(self, worker: str) -> None:
        os.close(self._locks.pop(worker))

    def claims(self, worker: str, slots: int = 1) -> int:
        """The token of the first job that it claims."""
        done = self.queue.turn([], worker=worker, slots=range(1, slots + 1))
        return done[0].offset

    def fails(self, job: str, token: int) -> None:
        end = c.Finish(job=job, token=token, now=self.queue.now(), reason="exit", error="oops")
        self.queue.turn([end], worker="w1", slots=[])

    def head(self) -> int:
        return self.queue.log.head()

    def why(self, job: str, *words: str) -> list[tuple[str, int | None, str]]:
        """Of each cause its kind, its event, and how it is told."""
        found = self.document(job, *words)["causes"]
        told = self.shell.ok("why", job, *words).lines[1:]
        for cause, line in zip(found, told, strict=True):
            event = f"  (event {cause['event']})" if cause["event"] else ""
            # Only how long ago something was may differ between two looks.
            assert line.endswith(event) and line[2:20] == (cause["text"] + event)[:18]
        return [(cause["cause"], cause["event"], cause["text"]) for cause in found]

    def document(self, job: str, *words: str) -> Any:
        return self.shell.ok("why", job, "--json", *words).json


@pytest.fixture
def scene(shell: Shell) -> Iterator[Scene]:
    scene = Scene(shell)
    yield scene
    scene.close()


def kinds(chain: list[tuple[str, int | None, str]]) -> list[tuple[str, int | None]]:
    return [(kind, event) for kind, event, _ in chain]


def test_a_job_that_waits_for_a_worker(scene: Scene) -> None:
    scene.queue.enqueue("true", id="a")
    chain = scene.why("a")
    assert kinds(chain) == [("job.enqueued", 1), ("workers", None)]
    assert chain[0][2].startswith("enqueued by ")
    assert chain[1][2].startswith("no worker is running")
    scene.works("w1", queues=["mail"])
    assert "1 worker alive, none of them takes jobs of queue default" in scene.why("a")[1][2]
    scene.works("w2", slots=3)
    chain = scene.why("a")
    assert kinds(chain)[1:] == [("workers", None), ("next", None)]
    assert chain[1][2] == (
        "2 workers alive, 1 of them take jobs of queue default, with 3 of 3 slots free"
    )
    scene.dies("w2")
    assert "1 worker alive, none" in scene.why("a")[1][2]


def test_a_job_that_waits_behind_others(scene: Scene) -> None:
    scene.works("w1", slots=2)
    for id in ("first", "second", "a", "later"):
        scene.queue.enqueue("true", id=id)
    scene.queue.enqueue("true", id="urgent", priority=5)
    scene.queue.enqueue("true", id="elsewhere", priority=5, queue="mail")
    scene.queue.pause("paused")
    scene.queue.enqueue("true", id="not", priority=5, queue="paused")
    chain = scene.why("a")
    assert kinds(chain) == [("job.enqueued", 4), ("ahead", None), ("workers", None)]
    assert chain[1][2] == "then 4 jobs ahead of it"
    scene.claims("w1", slots=2)
    chain = scene.why("a")
    assert chain[1][2] == "then 2 jobs ahead of it"
    assert chain[2][2] == "1 worker alive, with 0 of 2 slots free"
    assert scene.document("a")["causes"][1]["jobs"] == 2


def test_only_what_is_claimed_by_the_same_workers_stands_before_it(scene: Scene) -> None:
    scene.works("w1", queues=["default", "mail"])
    for queue in ("mail", "other"):
        scene.queue.enqueue("true", queue=queue)
    scene.queue.enqueue("true", id="a")
    assert scene.why("a")[1][2] == "then 1 job ahead of it"


def test_a_failed_job_that_waits_for_its_retry(scene: Scene) -> None:
    scene.works("w1")
    scene.queue.enqueue("true", id="a", max_retries=3, backoff="fixed", backoff_base=600)
    scene.fails("a", scene.claims("w1"))
    chain = scene.why("a")
    assert kinds(chain) == [("job.failed", 4), ("due", 5), ("workers", None)]
    assert chain[0][2].startswith("run 1 failed after ")
    assert chain[0][2].endswith(": oops")
    due = scene.queue.get("a").runnable_at
    assert chain[1][2].startswith(f"waits until {due}, in ")
    assert chain[1][2].endswith(", for run 2 of 3")
    document = scene.document("a")
    assert (document["state"], document["causes"][1]["due_at"]) == ("failed", due)
    # Who will be due by then stands before it; who is due after it does not.
    scene.queue.enqueue("true", id="soon", delay=30)
    scene.queue.enqueue("true", id="late", delay=3600)
    assert scene.why("a")[2][2] == "then 1 job ahead of it"


def test_a_job_of_a_paused_queue(scene: Scene) -> None:
    scene.queue.pause("mail", reason="earlier")
    scene.queue.resume("mail")
    scene.queue.pause("mail", reason="server down")
    scene.queue.pause("other")
    scene.queue.enqueue("true", id="a", queue="mail", delay=60)
    chain = scene.why("a")
    assert kinds(chain) == [
        ("job.enqueued", 5),
        ("due", 5),
        ("paused", 3),
        ("workers", None),
    ]
    assert chain[2][2].endswith(": server down")


def test_a_running_job(scene: Scene) -> None:
    scene.works("w1")
    scene.queue.enqueue("true", id="a")
    token = scene.claims("w1")
    chain = scene.why("a")
    assert kinds(chain) == [("job.claimed", token), ("lease", token), ("worker", None)]
    assert chain[2][2].startswith("worker w1 runs it, heard of ")
    scene.queue.turn([], worker="w1", slots=[], renew=True)
    chain = scene.why("a")
    assert chain[1][:2] == ("lease", token + 1)
    scene.dies("w1")
    assert "worker w1 is gone" in scene.why("a")[2][2]
    assert scene.document("a")["causes"][2]["alive"] is False
    assert scene.document("a", "--at", str(token))["causes"][2]["alive"] is None
    scene.queue.cancel("a", reason="enough")
    chain = scene.why("a")
    assert kinds(chain) == [("job.cancelled", token + 2), ("worker", None)]
    assert chain[0][2].startswith("cancelled by ")
    assert chain[0][2].endswith(": enough")


def test_a_dead_job_and_one_that_was_requeued_and_purged(scene: Scene) -> None:
    scene.works("w1")
    scene.queue.enqueue("true", id="a", max_retries=1)
    token = scene.claims("w1")
    scene.fails("a", token)
    dead = [("job.dead", token + 2), ("job.failed", token + 1), ("max-retries", 2)]
    assert kinds(scene.why("a")) == dead
    assert scene.why("a")[2][2] == "it was given 1 run when it was enqueued"
    scene.queue.retry("a", reason="server is back")
    chain = scene.why("a")
    assert kinds(chain)[0] == ("job.requeued", scene.head())
    assert chain[0][2].endswith(": server is back")
    assert kinds(scene.why("a", "--at", str(token + 2))) == dead
    scene.queue.cancel("a")
    scene.queue.prune("a", reason="old")
    document = scene.document("a")
    assert document["state"] == "purged"
    assert [cause["cause"] for cause in document["causes"]] == ["job.pruned", "job.cancelled"]
    assert document["causes"][0]["text"].endswith(": old")
    assert kinds(scene.why("a", "--at", str(token + 2))) == dead


def test_a_job_that_was_handed_back_or_lost(scene: Scene) -> None:
    scene.works("w1")
    scene.queue.enqueue("true", id="a")
    for command in (c.Release, c.Expire):
        token = scene.claims("w1")
        end = command(job="a", token=token, now=scene.queue.now(), reason="its worker stopped")
        scene.queue.turn([end], worker="w1", slots=[])
        chain = scene.why("a")
        assert chain[0][1] == token + 1
        assert "its worker stopped" in chain[0][2]


def test_a_job_that_never_was(scene: Scene) -> None:
    scene.queue.enqueue("true", id="a")
    for words in (["why", "nobody"], ["why", "nobody", "--at", "1"]):
        answer = scene.shell(*words)
        assert (answer.code, answer.out) == (3, "")
        assert "there is no job 'nobody'" in answer.err
