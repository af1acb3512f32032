"""Failures by kind: told apart and counted, and all of a kind chosen at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playing import play
from programs import Shell

from queuectl import Queue, instants
from queuectl.bulk import one_of
from queuectl.domain import commands as c
from queuectl.domain.fingerprint import fingerprint
from queuectl.errors import Invalid
from queuectl.exports.source import Source
from queuectl.projections import past
from queuectl.projections.failures import grouped
from queuectl.projections.runs import OUTCOMES

KILLED = fingerprint("kill -9 $$", None, "killed by SIGKILL").id
EXIT_3 = fingerprint("exit 3", 3, "exit code 3").id


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue in which jobs have failed in three ways; only to be read."""
    shell = Shell(tmp_path_factory.mktemp("broken"))
    for key, value in (("max-retries", "2"), ("backoff", "fixed"), ("backoff-base", "0.01")):
        shell.ok("config", "set", key, value)
    for n in (1, 2, 3):
        shell.add("--id", f"cat{n}", "--queue", "files", "-c", f"LC_ALL=C cat /no/such/a{n}")
    shell.add("--id", "kill", "--max-retries", "1", "-c", "kill -9 $$")
    # It fails otherwise each time, and at last not at all.
    shell.add("--id", "luck", "--max-retries", "3", "-c", "exit $((3 - QUEUECTL_ATTEMPT))")
    shell.add("--id", "three", "-c", "exit 3")
    shell.add("--id", "good", "-c", "true")
    shell.drain()
    shell.add("--id", "waits", "--delay", "1h", "-c", "exit 3")
    yield shell
    shell.close()


@pytest.fixture
def spoilt(broken: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A copy of it, to be changed."""
    shell = Shell(tmp_path_factory.mktemp("spoilt"))
    shutil.copytree(broken.data, shell.data)
    yield shell
    shell.close()


def ids(shell: Shell, *words: str) -> list[str]:
    return sorted(job["id"] for job in shell.ok(*words, "--json").json)


TITLES = "F FAILED JOBS DEAD WHEN TREND FIRST LAST EXIT COMMAND"
GROUP = """
    id command exit_code error failures jobs dead first_at last_at trend direction example
"""


def groups(shell: Shell, *words: str) -> dict[str, dict[str, Any]]:
    found = shell.ok("errors", *words, "--json").json["groups"]
    return {group["id"]: group for group in found}


def test_failures_are_told_apart_and_counted(broken: Shell) -> None:
    answer = broken.ok("errors", "--json").json
    assert set(answer) == {"since", "until", "groups"}
    found = {(group["command"], group["exit_code"]): group for group in answer["groups"]}
    assert all(set(group) == set(GROUP.split()) for group in answer["groups"])
    figures = {
        key: (group["failures"], group["jobs"], group["dead"]) for key, group in found.items()
    }
    assert figures == {
        ("LC_ALL=C cat <path>", 1): (6, 3, 3),
        ("kill -<n> $$", None): (1, 1, 1),
        ("exit $((<n> - QUEUECTL_ATTEMPT))", 2): (1, 1, 0),
        ("exit $((<n> - QUEUECTL_ATTEMPT))", 1): (1, 1, 0),
        ("exit <n>", 3): (2, 1, 1),
    }
    assert answer["groups"][0]["failures"] == 6, "the largest comes first"
    cats = found["LC_ALL=C cat <path>", 1]
    assert cats["error"] == "cat: <path>: No such file or directory"
    assert answer["since"] <= cats["first_at"] <= cats["last_at"] <= answer["until"]
    assert (len(cats["trend"]), sum(cats["trend"])) == (8, 6)
    assert cats["example"] in ("cat1", "cat2", "cat3")


def test_failures_for_people(broken: Shell) -> None:
    answer = broken.ok("errors")
    assert answer.lines[0].split() == TITLES.split()
    (line,) = (line for line in answer.lines if KILLED in line)
    assert line.split()[1:4] == ["1", "1", "1"]
    assert line.endswith("kill -<n> $$  [killed by SIGKILL]")
    trend = answer.lines[0].index("TREND")
    words = {line[trend:].split()[0] for line in answer.lines[1:]}
    assert words <= {"new", "rising", "steady", "falling", "stopped"}, "each under its heading"
    assert (
        broken.ok("errors", "--limit", "2").err == "2 of 5 kinds of failure; --limit 0 shows all\n"
    )
    assert len(broken.ok("errors", "--limit", "2").lines) == 3


def test_only_some_failures(broken: Shell) -> None:
    assert {group["jobs"] for group in groups(broken, "--queue", "files").values()} == {3}
    assert groups(broken, "--since", "1h") == groups(broken, "--since", "2020-01-01T00:00:00Z")
    assert groups(broken, "--since", "2999-01-01T00:00:00Z") == {}
    nothing = broken.ok("errors", "--since", "2999-01-01T00:00:00Z")
    assert (nothing.out, nothing.err) == ("", "nothing has failed\n")
    wrong = broken("errors", "--since", "yesterday")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'yesterday' is no moment" in wrong.err
    assert broken("errors", "--limit", "-1").code == 2


def test_one_group_and_its_jobs(broken: Shell) -> None:
    group = broken.ok("errors", KILLED[:8], "--json").json
    assert set(group) == {*GROUP.split(), "since", "until", "affected"}
    assert (group["id"], [job["id"] for job in group["affected"]]) == (KILLED, ["kill"])
    shown = broken.ok("errors", KILLED[:8])
    assert f"fingerprint: {KILLED}" in shown.lines
    assert "failures:    1 run of 1 job, 1 dead of it now" in shown.lines
    assert shown.lines[-1].split()[:2] == ["kill", "dead"]
    answer = broken("errors", "zz")
    assert (answer.code, answer.out) == (3, "")
    assert "'zz'" in answer.err


def test_what_was_purged_has_failed_all_the_same(spoilt: Shell) -> None:
    spoilt.ok("dlq", "purge", "kill")
    assert (groups(spoilt)[KILLED]["failures"], groups(spoilt)[KILLED]["dead"]) == (1, 0)
    answer = spoilt.ok("errors", KILLED)
    assert answer.err == "0 of 1 job; --limit 0 shows all there are\n"


def test_of_a_damaged_log_comes_what_stands_before_the_damage(spoilt: Shell) -> None:
    (segment,) = (spoilt.data / "log").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"luck"' in line and b"failed" in line)
    segment.write_bytes(b"".join(lines[:place]) + lines[place].replace(b"luck", b"lack", 1))
    answer = spoilt("errors", "--json")
    assert answer.code == 6
    assert "where the log is damaged" in answer.err
    assert 0 < sum(group["failures"] for group in answer.json["groups"]) < 11


def test_jobs_by_the_kind_of_their_last_failure(broken: Shell) -> None:
    cats = broken.ok("list", "--error", fingerprint("LC_ALL=C cat /x", 1, CAT).id, "--json").json
    assert sorted(job["id"] for job in cats) == ["cat1", "cat2", "cat3"]
    assert ids(broken, "list", "--error", KILLED) == ["kill"]
    assert ids(broken, "list", "--error", EXIT_3[:6]) == ["three"], "the start of it is enough"
    assert ids(broken, "dlq", "list", "--error", KILLED, "--queue", "default") == ["kill"]
    assert ids(broken, "dlq", "list", "--error", KILLED, "--queue", "files") == []


CAT = "cat: /x: No such file or directory"


def test_a_fingerprint_that_names_nothing_or_several(broken: Shell) -> None:
    answer = broken("list", "--error", "zz")
    assert (answer.code, answer.out) == (3, "")
    assert "'zz'" in answer.err and "queuectl errors" in answer.err
    answer = broken("retry", "--error", "")
    assert answer.code == 2
    assert broken("retry", "--error", KILLED, "kill").code == 2, "named or chosen, not both"


def test_all_of_a_kind_are_retried_at_once(spoilt: Shell) -> None:
    error = fingerprint("LC_ALL=C cat /x", 1, CAT).id[:8]
    for words in (["retry"], ["dlq", "retry"], ["dlq", "purge"]):
        dry = spoilt.ok(*words, "--error", error, "--dry-run")
        assert sorted(dry.lines) == ["cat1", "cat2", "cat3"]
    assert groups(spoilt)[fingerprint("LC_ALL=C cat /x", 1, CAT).id]["dead"] == 3
    answer = spoilt.ok("dlq", "retry", "--error", error, "--reason", "mounted")
    assert sorted(answer.lines) == ["cat1", "cat2", "cat3"]
    assert spoilt.history("cat2")[-1]["reason"] == "mounted"
    assert spoilt.state("kill") == "dead"
    # In the new round none of them has failed yet.
    assert spoilt("list", "--error", error).code == 3


def test_the_start_of_several_fingerprints_is_not_enough() -> None:
    assert one_of("ab", ["ab1", "ac1"], "nothing") == "ab1"
    with pytest.raises(Invalid, match="2 fingerprints start with 'a', such as ab1 and ac1"):
        one_of("a", ["ac1", "b", "ab1"], "nothing")


# ---- since a moment


@pytest.mark.parametrize("how", ["as it is", "compacted", "with snapshots"])
def test_what_failed_since_a_moment_is_what_the_whole_log_tells_of_it(
    shell: Shell, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though only what came after it is read, from the jobs that were not over then."""
    monkeypatch.setattr(past, "_SPAN", 5)
    monkeypatch.setattr(past, "_SPAN_LIVE", 0)
    play(shell.data)
    with Queue(shell.data) as queue:
        queue.enqueue("true", id="ending", priority=99)
        (claim,) = queue.turn([], worker="w9", slots=[1])
        queue.cancel("ending")
        token, now = claim.offset, queue.now()
        queue.submit([c.Expire(job="ending", token=token, now=now, reason="it died")])
    if how == "compacted":
        shell.ok("log", "compact")
    with Queue(shell.data, salvage=True) as queue:
        if how == "with snapshots":
            queue.past.keep()
        times = sorted({event.at for piece in queue.events() for event in piece})
        times += [instants.later(times[-1], 1), instants.EARLIEST, queue.now(), instants.LATEST]
        runs = [run for piece in Source(queue).runs() for run in piece]
        assert {run.outcome for run in runs} == {*OUTCOMES}
        for since in times:
            told = grouped(Source(queue).runs_ended(since), since)
            right = grouped([runs], since)
            assert [(one.fingerprint, one.count, one.first_at, one.last_at) for one in told] == [
                (one.fingerprint, one.count, one.first_at, one.last_at) for one in right
            ], since
            assert since < times[-1] or not right
        ended = {run.ended_at for piece in Source(queue).runs_ended(times[9]) for run in piece}
        assert times[9] <= min(at for at in ended if at), "what was over is not gone through again"


def test_damage_before_a_moment_is_told(spoilt: Shell) -> None:
    (path,) = (spoilt.data / "log").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"cat2", b"cat9", 1))
    shutil.rmtree(spoilt.data / "snapshots", ignore_errors=True)
    answer = spoilt("errors", "--since", "0s")
    assert answer.code == 6 and "where the log is damaged" in answer.err
