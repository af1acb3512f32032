"""What commands that change do: to one job or many, with or without a question, on the record."""

from __future__ import annotations

import getpass
import os

import pytest
from programs import Shell, tree

ACTOR = f"{getpass.getuser()}@{os.uname().nodename}"


@pytest.fixture
def shop(shell: Shell) -> Shell:
    """Three jobs that wait, two of which are alike, and two that are dead."""
    for id, *options in (
        ("mail1", "--queue", "mail", "--tag", "x"),
        ("mail2", "--queue", "mail"),
        ("other", "--tag", "x"),
    ):
        shell.add("--id", id, *options, "--delay", "1h", "true")
    shell.add("--id", "dead1", "--max-retries", "1", "--queue", "mail", "-c", "false")
    shell.add("--id", "dead2", "--max-retries", "1", "-c", "false")
    assert shell.program("worker", "--burst=now").code == 0
    return shell


def states(shell: Shell) -> dict[str, str]:
    return {job["id"]: job["state"] for job in shell.ok("list", "--json").json}


def changed(shell: Shell, before: dict[str, str]) -> dict[str, str]:
    return dict(states(shell).items() - before.items())


def test_who_and_why_are_on_the_record(shop: Shell) -> None:
    for words in (
        "cancel mail1 --reason no\u00a0need",
        "retry mail2 --reason now",
        "dlq retry dead1 --reason again",
    ):
        shop.ok(*words.split(" "))
    for id, reason in (("mail1", "no\u00a0need"), ("mail2", "now"), ("dead1", "again")):
        event = shop.history(id)[-1]
        assert (event["actor"], event["reason"]) == (ACTOR, reason)
        assert ACTOR in shop.ok("history", id).lines[-1]
    shop.ok("dlq", "purge", "dead2", "--reason", "old")
    event = shop.history("dead2")[-1]
    assert (event["type"], event["actor"], event["reason"]) == ("job.pruned", ACTOR, "old")


SETS = [
    ("cancel mail1 other", "mail1 other", "cancelled"),
    ("cancel mail1 mail1", "mail1", "cancelled"),
    ("cancel --queue mail", "mail1 mail2", "cancelled"),
    ("cancel --tag x", "mail1 other", "cancelled"),
    ("cancel --queue mail --tag x", "mail1", "cancelled"),
    ("cancel --all", "mail1 mail2 other", "cancelled"),
    ("retry mail1", "mail1", "requeued"),
    ("retry --all", "dead1 dead2", "requeued"),
    ("retry --queue mail", "dead1", "requeued"),
    ("dlq retry dead1", "dead1", "requeued"),
    ("dlq retry --all", "dead1 dead2", "requeued"),
    ("dlq retry --queue mail", "dead1", "requeued"),
    ("dlq purge dead1 dead2", "dead1 dead2", "purged"),
    ("dlq purge --all", "dead1 dead2", "purged"),
    ("dlq purge --queue mail", "dead1", "purged"),
]


def test_bulk(shop: Shell) -> None:
    """Each set, tried dry and then in earnest on a copy of the shop."""
    import shutil

    for words, ids, done in SETS:
        before, files = states(shop), tree(shop.directory)
        dry = shop.ok(*words.split(), "--dry-run")
        assert sorted(dry.lines) == ids.split(), words
        assert dry.err.endswith("nothing was changed\n")
        assert tree(shop.directory) == files, "a dry run writes nothing"
        shutil.copytree(shop.data, shop.directory / "kept")
        # Without a terminal nobody is asked.
        answer = shop.ok(*words.split())
        assert sorted(answer.lines) == ids.split(), words
        assert answer.err == f"{done} {len(ids.split())} job{'s' * (len(ids.split()) > 1)}\n"
        wanted = {"cancelled": "cancelled", "requeued": "pending"}.get(done)
        after = states(shop)
        assert [after.get(id) for id in ids.split()] == [wanted] * len(ids.split())
        assert before.items() - after.items() <= {(id, before[id]) for id in ids.split()}
        shutil.rmtree(shop.data)
        (shop.directory / "kept").rename(shop.data)


def test_nothing_to_do_is_no_failure(shop: Shell) -> None:
    for words in ("cancel --queue nowhere", "retry --tag nowhere", "dlq purge --queue nowhere"):
        answer = shop.ok(*words.split())
        assert answer.out == "" and answer.err.startswith("there is no job to ")
    shop.ok("cancel", "mail1")
    assert shop("cancel", "mail1").code == 0, "what is cancelled already stays so"


def test_what_the_state_forbids_is_a_conflict(shop: Shell) -> None:
    before = tree(shop.directory)
    for words in ("cancel dead1", "dlq retry mail1", "dlq purge mail1", "dlq retry dead1 mail1"):
        answer = shop(*words.split())
        assert (answer.code, answer.out, answer.err.count("\n")) == (4, "", 1)
    assert tree(shop.directory) == before


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_partly_done(shop: Shell, quiet: list[str]) -> None:
    answer = shop(*quiet, "cancel", "mail1", "dead1", "other")
    assert (answer.code, answer.lines) == (6, ["mail1", "other"])
    errors = [line for line in answer.err.splitlines() if line.startswith("queuectl: ")]
    assert errors[0].startswith("queuectl: job dead1 is dead already")
    assert errors[-1] == "queuectl: 1 of 3 jobs could not be cancelled"
    assert states(shop)["mail1"] == states(shop)["other"] == "cancelled"


def test_a_terminal_is_asked(shop: Shell) -> None:
    before = states(shop)
    answer = shop.terminal("cancel", "--queue", "mail", keys=b"n\n")
    assert answer.code == 0 and "cancel 2 jobs? [y/N]:" in answer.out
    assert "nothing was changed" in answer.out and states(shop) == before
    answer = shop.terminal("cancel", "--queue", "mail", keys=b"y\n")
    assert answer.code == 0 and "cancelled 2 jobs" in answer.out
    assert changed(shop, before) == {"mail1": "cancelled", "mail2": "cancelled"}
    answer = shop.terminal("dlq", "purge", "--all", "-y")
    assert answer.code == 0 and "?" not in answer.out
    assert "dead1" not in states(shop)


def test_a_purged_job_leaves_its_id_and_its_history(shop: Shell) -> None:
    shop.ok("dlq", "purge", "dead1")
    assert shop("show", "dead1").code == 3
    types = [event["type"] for event in shop.history("dead1")]
    assert types[0] == "job.enqueued" and types[-1] == "job.pruned"
    assert "forgotten" in shop.ok("history", "dead1").lines[-1]
    assert shop.add("--id", "dead1", "true") == "dead1"


def test_retry_begins_a_new_round(shop: Shell) -> None:
    shop.ok("dlq", "retry", "dead1")
    job = shop.job("dead1")
    assert (job["state"], job["attempts"], len(job["attempts_made"])) == ("pending", 0, 1)
    shop.ok("cancel", "--all")
    shop.ok("retry", "dead1")
    shop.drain()
    job = shop.job("dead1")
    assert (job["state"], job["attempts"], len(job["attempts_made"])) == ("dead", 1, 2)


def test_pausing_a_queue(shell: Shell) -> None:
    answer = shell.ok("queue", "pause", "mail", "--reason", "down")
    assert answer.out == "" and "queue mail is paused" in answer.err
    shell.add("--id", "m", "--queue", "mail", "true")
    shell.add("--id", "d", "true")
    assert shell.program("worker", "--burst=now").code == 0
    assert states(shell) == {"m": "pending", "d": "completed"}
    assert shell.ok("status", "--json").json["paused_queues"] == ["mail"]
    assert "Paused queues: mail" in shell.ok("status").out
    (default, mail) = shell.ok("queue", "--json").json
    assert (default["paused"], mail["paused"]) == (False, True)
    head = shell.ok("status", "--json").json["head"]
    shell.ok("queue", "pause", "mail")
    assert shell.ok("status", "--json").json["head"] == head, "it is paused already"
    shell.ok("queue", "resume", "mail")
    shell.drain()
    assert shell.state("m") == "completed"
    events = shell.ok("log", "tail", "-n", "0", "--json").json
    paused = next(event for event in events if event["type"] == "queue.paused")
    assert (paused["queue"], paused["actor"], paused["reason"]) == ("mail", ACTOR, "down")
