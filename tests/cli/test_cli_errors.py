"""Failures by kind: told apart and counted, and all of a kind chosen at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from programs import Shell

from queuectl.cli.parameters import one_of
from queuectl.domain.fingerprint import fingerprint
from queuectl.errors import Invalid

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
    import shutil

    shell = Shell(tmp_path_factory.mktemp("spoilt"))
    shutil.copytree(broken.data, shell.data)
    yield shell
    shell.close()


def ids(shell: Shell, *words: str) -> list[str]:
    return sorted(job["id"] for job in shell.ok(*words, "--json").json)


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
