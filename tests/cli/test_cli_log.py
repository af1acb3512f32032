"""`log compact` and what comes of it, as somebody sees it who keeps a queue for long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hosts import Untroubled
from programs import Shell, tree

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.runtime.output import Output

READING = (
    *("status", "list --limit 0", "show job199", "show job1", "list --json", "worker list"),
    *("history job199", "history job39", "history job38", "history job38 --json", "history none"),
)


pytestmark = pytest.mark.usefixtures("small_segments")


def files(shell: Shell) -> list[Path]:
    return sorted((shell.data / "log").glob("*.jsonl"))


def answers(shell: Shell) -> dict[str, object]:
    stats = {**shell.ok("stats", "--json").json, "uptime": 0, "throughput_per_second": 0}
    return {"stats": stats, **{words: shell(*words.split()) for words in READING}}


def test_compacting_changes_no_answer_and_gives_back_space(old: Shell) -> None:
    before = answers(old)
    size = sum(path.stat().st_size for path in files(old))
    answer = old.ok("log", "compact")
    assert len(files(old)) < 4
    assert sum(path.stat().st_size for path in files(old)) < size / 2
    assert answer.lines[0].startswith("events 1 to ")
    assert "events out" in answer.lines[0] and "files made one" in answer.lines[0]
    assert "into the archive" in answer.err
    assert answers(old) == before
    assert old.ok("log", "verify").out.startswith("head ")
    again = old.ok("log", "compact")
    assert (again.out, "nothing to take out" in again.err) == ("", True)


def test_a_dry_run_tells_the_same_and_changes_nothing(old: Shell) -> None:
    before = tree(old.directory)
    would = old.ok("log", "compact", "--dry-run")
    assert tree(old.directory) == before
    assert "nothing was changed" in would.err
    document = old.ok("log", "compact", "--dry-run", "--json").json
    assert document["dry_run"] is True
    assert tree(old.directory) == before
    assert old.ok("log", "compact").out == would.out


def test_the_document(old: Shell) -> None:
    document = old.ok("log", "compact", "--json").json
    assert set(document) == {
        *("dry_run", "bytes_before", "bytes_after", "events_removed", "archives", "rewritten"),
        *("forgotten", "output_files", "output_bytes", "expired", "payloads"),
    }
    rows = document["rewritten"]
    assert sum(row["events_removed"] for row in rows) == document["events_removed"] > 500
    assert document["archives"] == len(list((old.data / "archive").glob("*.jsonl.gz")))
    assert rows[0]["first"] == 1
    assert document["bytes_after"] < document["bytes_before"]


def test_what_the_settings_do_not_keep_goes_first(old: Shell) -> None:
    old.ok("config", "set", "retain-completed-max", "5")
    before = tree(old.directory)
    would = old.ok("log", "compact", "--dry-run")
    assert "would forget 15 jobs" in would.err and "nothing was changed" in would.err
    assert tree(old.directory) == before
    done = old.ok("log", "compact")
    assert "forgot 15 jobs" in done.err
    assert done.out == would.out != ""
    left = old.ok("list", "--json", "--limit", "0").json
    assert [job["id"] for job in left] == [f"job{number}" for number in range(199, 150, -10)]
    assert len(old.ok("history", "job9").lines) == 4
    assert old.ok("log", "verify")


def test_others_go_first(old: Shell) -> None:
    assert not old.gives_way.called
    old.ok("log", "compact")
    assert old.gives_way.called


def test_what_a_purged_job_has_printed_goes_with_it(old: Shell) -> None:
    with Queue(old.data) as queue:
        queue.enqueue("echo hello", id="talker")
        (claim,) = queue.turn([], worker="w", slots=[1])
        output = Output(queue.home, queue.host, "talker", claim.offset)
        os.write(output.out, b"hello\n")
        output.close()
        end = c.Finish(job="talker", token=claim.offset, now=queue.now(), exit_code=0)
        queue.turn([end], worker="w", slots=[])
    assert old.ok("log", "compact", "--json").json["output_files"] == 0
    assert old.ok("logs", "talker").out == "hello\n"
    with Queue(old.data) as queue:
        queue.prune("talker")
    assert "would delete 2 output files (6B)" in old.ok("log", "compact", "--dry-run").err
    document = old.ok("log", "compact", "--json").json
    assert (document["output_files"], document["output_bytes"]) == (2, 6)
    answer = old("logs", "talker")
    assert (answer.code, answer.out) == (3, "")
    assert "there is no job 'talker'" in answer.err
    assert "job.pruned" in old.ok("history", "talker").out


def test_the_archive_ends_where_the_setting_says(old: Shell) -> None:
    old.ok("log", "compact")
    count = len(list((old.data / "archive").iterdir()))
    answer = old.ok("config", "set", "archive-retention", "1ms")
    assert "history" in answer.err
    would = old.ok("log", "compact", "--dry-run")
    assert f"would take {count} files out of the archive" in would.err
    assert len(list((old.data / "archive").iterdir())) == count
    done = old.ok("log", "compact", "--json").json
    # Where segments end depends on how long the directory's name is: one may have come in now.
    assert done["expired"] == count + done["archives"]
    assert list((old.data / "archive").iterdir()) == []
    assert "not in the archive" in old("history", "job128").err
    assert old.ok("log", "verify")


def test_a_cursor_holds_it_back(old: Shell) -> None:
    (old.data / "cursors").mkdir()
    (old.data / "cursors" / "elsewhere").write_text("0\n")
    assert old.ok("log", "compact").out == ""
    (old.data / "cursors" / "elsewhere").write_text("300\n")
    assert all(row["last"] <= 300 for row in old.ok("log", "compact", "--json").json["rewritten"])
    assert old.ok("log", "verify")


def test_a_history_says_what_the_archive_no_longer_has(old: Shell) -> None:
    whole = old.ok("history", "job128")
    assert len(whole.lines) == 4 and "archive" not in whole.err
    old.ok("log", "compact")
    archives = sorted((old.data / "archive").iterdir())
    archives[1].write_bytes(archives[1].read_bytes()[:-20])
    for path in archives[3:]:
        path.unlink()
    assert "archive" not in old.ok("history", "job8").err, "nothing is missing, nothing is said"
    answer = old("history", "job128")
    assert (answer.code, answer.out) == (3, "")
    damaged, gone, nobody = answer.err.splitlines()
    assert str(archives[1]) in damaged
    assert "only what the log has kept" in damaged and "only what the log has kept" in gone
    assert "not in the archive" in gone
    assert "no job" in nobody
    assert len(old.ok("history", "job129").lines) == 3


def test_damage_is_told_and_nothing_is_compacted(old: Shell) -> None:
    segment = files(old)[1]
    segment.write_bytes(segment.read_bytes().replace(b"true job", b"rm -rf .", 1))
    before = tree(old.directory)
    answer = old("log", "compact")
    assert (answer.code, answer.out) == (7, "")
    assert str(segment) in answer.err
    assert tree(old.directory) == before


# ---- verify


def test_what_verify_tells(old: Shell) -> None:
    old.ok("log", "compact")
    answer = old.ok("log", "verify")
    document = old.ok("log", "verify", "--json").json
    anchor = "head {head} crc {crc} sha256 {sha256} root {root}".format(**document)
    assert answer.out == f"{anchor}\n"
    assert "archived" in answer.err and "replay gives what is known" in answer.err
    assert document["archives"] == len(list((old.data / "archive").iterdir()))
    assert document["missing"] == document["repaired"] == []
    next((old.data / "archive").iterdir()).unlink()
    assert "not in the archive any more" in old.ok("log", "verify").err


def test_anchors_on_the_command_line_and_in_a_file(old: Shell) -> None:
    kept = ""
    for number in range(3):
        line = old.ok("log", "verify").out
        assert old.ok("log", "verify", "--anchor", line).out == line
        kept += line
        old.add("--id", f"new{number}", "true")
    (old.directory / "anchors").write_text(kept)
    old.ok("log", "compact")
    answer = old.ok("log", "verify", "--anchor", "anchors")
    assert "the past of 3 anchors" in answer.err
    (old.directory / "edited").write_bytes(b"\xef\xbb\xbf" + kept.replace("\n", "\r\n").encode())
    assert "the past of 3 anchors" in old.ok("log", "verify", "--anchor", "edited").err
    for path in files(old)[-1:]:
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:-3]) + b"\n")
    (old.data / "log" / "LOCK").unlink()
    answer = old("log", "verify", "--anchor", "anchors")
    assert (answer.code, answer.out) == (7, "")
    assert "cut off" in answer.err


@pytest.mark.parametrize(
    "text", ["non sense", "head 1 crc 00000000", f"head ٣ crc {'0' * 8} sha256 {'0' * 64}"]
)
def test_what_is_no_anchor_is_refused(old: Shell, text: str) -> None:
    answer = old("log", "verify", "--anchor", text)
    assert answer.code == 2
    assert "is no anchor" in answer.err
    (old.directory / "empty").write_bytes(b"\n")
    assert old("log", "verify", "--anchor", "empty").code == 2
    (old.directory / "bytes").write_bytes(b"\xff\xfe")
    assert old("log", "verify", "--anchor", "bytes").code == 2
    assert old("log", "verify", "--anchor", ".").code == 2


# ---- repair


def spoil(shell: Shell, job: str = "job18") -> Path:
    """Damage the line that says how a job ended."""
    line = b'"type":"job.completed","job":"%s"' % job.encode()
    path = next(path for path in files(shell) if line in path.read_bytes())
    path.write_bytes(path.read_bytes().replace(line, line.replace(b"type", b"tipe")))
    return path


def test_repair_shows_what_it_would_do_and_does_it_when_told(old: Shell) -> None:
    path = spoil(old)
    assert old("status").code == 7
    before = tree(old.directory)
    shown = old.ok("log", "repair")
    assert path.name in shown.out and "lost: event " in shown.out
    assert "--yes" in shown.err
    after = tree(old.directory)
    after.pop("data/log/COMPACTING")
    assert after == before
    document = old.ok("log", "repair", "--json").json
    assert document["repaired"] is False
    done = old.ok("log", "repair", "--yes")
    assert done.out == shown.out
    assert "aside-" in done.err
    verified = old.ok("log", "verify")
    assert "were repaired: there is no original" in verified.err
    assert "in the archive any more" not in verified.err, "they never were"
    assert old.ok("status")
    assert old.add("--id", "after", "true") == "after"
    assert "nothing to repair" in old.ok("log", "repair").err
    events = old.ok("log", "tail", "-n", "0", "--json").json
    told = [event for event in events if event["type"] == "log.repaired"]
    assert [event.get("lost_from", 0) > 0 for event in told] == [True, False]
    assert all("@" in event["actor"] for event in told)


def test_a_job_whose_end_is_lost_runs_again(old: Shell) -> None:
    # It is one of the few that were not purged.
    spoil(old, "job129")
    answer = old.ok("log", "repair", "-y")
    assert "1 run is lost" in answer.err
    job = old.ok("show", "job129", "--json").json
    assert job["state"] == "pending"
    assert old.ok("log", "verify").out


def test_repair_with_an_archive_loses_nothing(old: Shell) -> None:
    before = answers(old)
    old.ok("log", "compact")
    path = files(old)[0]
    path.write_bytes(path.read_bytes()[:-100])
    document = old.ok("log", "repair", "--yes", "--json").json
    assert document["repaired"] is True
    assert [mending["lost"] for mending in document["mendings"]] == [[]] * len(document["mendings"])
    assert answers(old) == before
    assert old.ok("log", "verify").out


def test_repair_asks_on_a_terminal(old: Shell) -> None:
    spoil(old)
    answer = old.terminal("log", "repair", keys=b"n\n")
    assert "repair it so?" in answer.out and answer.code == 0
    assert old("status").code == 7
    assert old.terminal("log", "repair", keys=b"y\n").code == 0
    assert old("status").code == 0


def test_repair_is_refused_beside_a_worker(old: Shell) -> None:
    (old.data / "run").mkdir(exist_ok=True)
    host = Untroubled()
    lock = host.hold(str(old.data / "run" / "01kbmkrhhx6cq4f2t0vza9mw7e"))
    spoil(old)
    answer = old("log", "repair", "--yes")
    assert answer.code == 4
    assert "worker 01kbmkrhhx6cq4f2t0vza9mw7e is running" in answer.err
    assert lock is not None
    host.close(lock)
    assert old.ok("log", "repair", "--yes")
