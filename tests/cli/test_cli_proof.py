"""`proof`, as somebody hands one over, and as somebody gets one who has nothing else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from programs import Shell, tree
from test_cli_refusals import refused


@pytest.fixture
def worked(shell: Shell) -> Shell:
    """A queue in which a job has failed, and an anchor of it."""
    shell.add("--id", "job1", "--max-retries", "2", "--backoff-base", "0.01", "echo hi; exit 3")
    shell.add("--id", "job2", "true")
    shell.drain()
    (shell.directory / "anchors").write_text(shell.ok("log", "verify").out)
    return shell


@pytest.fixture
def elsewhere(tmp_path: Path) -> Shell:
    """Somebody who has no queue."""
    (tmp_path / "elsewhere").mkdir()
    return Shell(tmp_path / "elsewhere")


def test_one_is_handed_over_and_checked_where_there_is_nothing_else(
    worked: Shell, elsewhere: Shell
) -> None:
    answer = worked.ok("proof", "job1", "--to", "elsewhere/proof", "--anchor", "anchors")
    assert answer.out == ""
    assert answer.err.startswith("job1: 7 events, from job.enqueued (event 1, ")
    path = elsewhere.directory / "proof"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (elsewhere.directory / "anchors").write_text((worked.directory / "anchors").read_text())
    before = tree(elsewhere.directory)
    checked = elsewhere.ok("proof", "--check", "proof", "--anchor", "anchors")
    assert tree(elsewhere.directory) == before
    summary, *story = checked.lines
    assert summary.startswith("job1: 7 events, from job.enqueued (event 1, ")
    assert " to job.dead (event " in summary
    assert story == worked.ok("history", "job1").lines
    assert "says what was kept" in checked.err
    document = elsewhere.ok("proof", "--check", "proof", "--json").json
    assert document["events"] == worked.history("job1")
    assert (document["job"], document["begins"], document["anchored"]) == ("job1", True, False)
    assert f"{document['anchor']}\n" == (worked.directory / "anchors").read_text()
    assert "--anchor tells" in elsewhere.ok("proof", "--check", "proof").err


def test_it_goes_through_a_pipe(worked: Shell) -> None:
    done = worked.pipeline("queuectl -q proof job1 | queuectl proof --check - | head -n 1")
    assert done.stdout.startswith(b"job1: 7 events")
    proof = worked.ok("proof", "job1").out
    assert json.loads(proof)["proof"] == 1
    assert worked.ok("proof", "--check", "-", stdin=proof.encode()).lines[0].startswith("job1: ")


def test_one_that_was_altered_exits_7(worked: Shell) -> None:
    proof = worked.ok("proof", "job1").out.replace('\\"exit_code\\":3', '\\"exit_code\\":0', 1)
    (worked.directory / "altered").write_text(proof)
    refused(worked("proof", "--check", "altered"), 7, "altered: the proof is not right")
    (worked.directory / "text").write_text("hello\n")
    refused(worked("proof", "--check", "text"), 7, "it is no proof")


def test_one_of_a_log_that_was_written_anew_is_told_by_the_anchor(worked: Shell) -> None:
    (worked.data / "log").rename(worked.directory / "true")
    worked.add("--id", "job1", "true")
    while worked.ok("log", "tail", "-n1").out.count('"offset":12,') == 0:
        worked.add("true")
    worked.ok("proof", "job1", "--to", "forged")
    assert worked.ok("proof", "--check", "forged")
    refused(worked("proof", "--check", "forged", "--anchor", "anchors"), 7, "of another log")
    refused(worked("proof", "job1", "--anchor", "anchors"), 7, "not what the anchor says")


def test_what_cannot_be_is_refused(worked: Shell) -> None:
    (worked.directory / "there").write_text("mine")
    before = tree(worked.directory)
    refused(worked("proof"), 2, "name a job to prove, or a proof to --check")
    refused(worked("proof", "job1", "--check", "there"), 2, "one of them")
    refused(worked("proof", "--check", "there", "--to", "new"), 2, "leave out --to")
    refused(worked("proof", "--check", "nothing"), 3, "there is no file nothing")
    refused(worked("proof", "--check", "."), 2, "directory")
    refused(worked("proof", "nobody"), 3, "no job")
    refused(worked("proof", "job1", "--to", "there"), 4, "is there already")
    refused(worked("proof", "job1", "--to", "no/where"), 3, "there is no directory")
    refused(worked("proof", "job1", "--anchor", "head 1"), 2, "is no anchor")
    refused(worked("proof", "job1", "--anchor", "head"), 3, "there is no such file")
    assert tree(worked.directory) == before


def test_one_that_is_there_is_replaced_where_that_is_wanted(worked: Shell) -> None:
    (worked.directory / "there").write_text("mine")
    worked.ok("proof", "job1", "--to", "there", "--force")
    assert worked.ok("proof", "--check", "there").lines[0].startswith("job1: ")


def test_a_damaged_log_proves_nothing(worked: Shell) -> None:
    segment = next((worked.data / "log").glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b"job.claimed", b"job.claamed", 1))
    refused(worked("proof", "job1", "--to", "proof"), 7, "the log is damaged")
    assert not list(worked.directory.glob("*proof*"))
