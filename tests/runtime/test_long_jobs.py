"""Jobs that are too long for a line of the log run whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import Shell
from workers import Site

from queuectl import Queue
from queuectl.domain.job import Job
from queuectl.errors import PayloadLost
from queuectl.events import codec

LONG: dict[str, dict[str, Any]] = {
    "a command": {"command": f"printf %s {'x' * 60_000} | wc -c"},
    "words": {
        "argv": ["sh", "-c", "for word; do printf %s $word; done | wc -c", *["x" * 99] * 999]
    },
    "variables": {
        "command": "printf %s $A $B | wc -c",
        "env": {"A": "x" * 100_000, "B": "“" * 10_000},
    },
}
PRINTED = {"a command": "60000", "words": str(99 * 998), "variables": str(100_000 + 3 * 10_000)}


def add(site: Site, **fields: Any) -> Job:
    return site.queue.enqueue(**{"id": "long", "max_retries": 1, **fields})


def printed(site: Site, job: Job) -> str:
    path = site.queue.home.output_file(job.id, job.token, "out")
    return Path(path).read_text().strip()


def payload_files(site: Site) -> list[Path]:
    return sorted(Path(site.queue.home.payloads).glob("[0-9a-f]*"))


def lines(site: Site) -> list[bytes]:
    segments = Path(site.queue.home.log).glob("*.jsonl")
    return [line for path in segments for line in path.read_bytes().splitlines(keepends=True)]


@pytest.mark.parametrize("what", LONG)
def test_it_runs_whole_and_its_line_is_short(site: Site, what: str) -> None:
    job = add(site, **LONG[what])
    assert job.spec.payloads and payload_files(site)
    assert max(map(len, lines(site))) <= codec.LINE_BYTES_MAX
    site.drain(slots=2)
    job = site.job("long")
    assert job.state == "completed"
    assert printed(site, job) == PRINTED[what]
    whole = site.queue.whole(job.spec)
    assert whole.payloads is None
    given = LONG[what]
    assert whole.argv == given.get("argv")
    if "command" in given:
        assert whole.command == given["command"]
    if "env" in given:
        assert whole.env == [f"{name}={value}" for name, value in given["env"].items()]


def test_many_with_the_same_text_keep_it_once(site: Site) -> None:
    site.queue.enqueue_many([LONG["a command"]] * 20)
    assert len(payload_files(site)) == 1
    site.drain(slots=4)
    assert site.queue.state.counts["completed"] == 20


def test_a_job_that_is_refused_keeps_nothing(site: Site) -> None:
    site.queue.enqueue("true", id="long")
    with pytest.raises(Exception, match="exists already"):
        add(site, **LONG["a command"])
    with Queue(site.queue.home.root) as queue:
        assert [job.id for job in queue.jobs()] == ["long"]


SPOILED: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"x", b"y", 1)),
}


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.parametrize("slots", [1, 2])
def test_without_its_payload_it_fails_and_says_why(site: Site, how: str, slots: int) -> None:
    add(site, command=f"echo ran; true {'x' * 60_000}")
    (path,) = payload_files(site)
    SPOILED[how](path)
    site.drain(slots=slots)
    job = site.job("long")
    assert (job.state, job.exit_code) == ("dead", None)
    assert str(path) in job.error
    assert not Path(site.queue.home.output_file("long", job.token, "out")).exists()
    with pytest.raises(PayloadLost):
        site.queue.whole(job.spec)


def test_it_runs_again_once_its_payload_is_back(site: Site, tmp_path: Path) -> None:
    add(site, **LONG["a command"])
    (path,) = payload_files(site)
    shutil.move(path, tmp_path / "aside")
    site.drain()
    assert site.job("long").state == "dead"
    shutil.move(tmp_path / "aside", path)
    site.queue.retry("long")
    site.drain()
    assert printed(site, site.job("long")) == PRINTED["a command"]


def test_why_it_could_not_start_is_bounded(site: Site) -> None:
    add(site, argv=["x" * 100_000])
    site.drain()
    job = site.job("long")
    assert job.state == "dead" and job.error.startswith("xxx")
    assert len(job.error) == 500


# ---- on the command line


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


COMMAND = f"echo {'y' * 30_000} | wc -c"


def test_people_see_the_beginning_in_lists_and_all_of_it_where_they_ask(shell: Shell) -> None:
    shell.add("--id", "long", "--tag", "a", "-c", COMMAND)
    (row,) = shell.ok("list", "--json").json
    assert row["command"] == COMMAND[:500]
    assert [name.partition("=")[0] for name in row["payloads"]] == ["command"]
    assert shell.ok("list").lines[1].endswith("y…")
    assert shell.ok("history", "long").out.count("…") == 1
    document = shell.job("long")
    assert (document["command"], document["payloads"]) == (COMMAND, [])
    assert COMMAND in shell.ok("show", "long").out
    (path,) = (shell.data / "payloads").glob("[0-9a-f]*")
    path.unlink()
    answer = shell.ok("show", "long", "--json")
    assert answer.json["command"] == COMMAND[:500]
    assert "only the beginning" in answer.err and str(path) in answer.err
    refusal = shell("log", "verify")
    assert refusal.code == 7 and str(path) in refusal.err


def test_a_proof_has_all_of_it(shell: Shell) -> None:
    shell.add("--id", "long", "-c", COMMAND)
    shell.ok("proof", "long", "--to", "proof")
    document = shell.ok("proof", "--check", "proof", "--json").json
    assert document["events"][0]["command"] == COMMAND
    path = shell.directory / "proof"
    path.write_text(path.read_text().replace("yyyy", "yyzy", 1))
    assert shell("proof", "--check", "proof").code == 7


def test_it_leaves_with_the_last_that_names_it(shell: Shell) -> None:
    shell.add("--id", "one", "-c", COMMAND)
    shell.add("--id", "two", "-c", COMMAND)
    shell.ok("cancel", "one", "two")

    def kept() -> list[Path]:
        return list((shell.data / "payloads").glob("[0-9a-f]*"))

    answer = shell.ok("log", "redact", "one", "--field", "command")
    assert "another job has the same text" in answer.err and str(kept()[0]) in answer.err
    answer = shell.ok("log", "redact", "two", "--field", "command")
    assert kept() == [] and "stays" not in answer.err
    assert shell.ok("log", "verify")
    shell.add("--id", "three", "-c", COMMAND)
    assert len(kept()) == 1
    assert shell.ok("log", "compact", "--json").json["payloads"] == 0
    assert len(kept()) == 1


def test_it_leaves_with_the_archive(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from queuectl.engines.file import FileLog

    defaults = {**FileLog.__init__.__kwdefaults__, "segment_bytes_max": 2000}  # type: ignore[dict-item]
    monkeypatch.setattr(FileLog.__init__, "__kwdefaults__", defaults)
    shell.add("--id", "long", "-c", COMMAND)
    shell.ok("cancel", "long")
    with Queue(shell.data) as queue:
        queue.prune("long")
    for _ in range(12):
        shell.add("--delay", "1h", "true")
    shell.ok("log", "compact")
    assert not any(b'"job":"long"' in path.read_bytes() for path in (shell.data / "log").glob("*l"))
    assert len(list((shell.data / "payloads").glob("[0-9a-f]*"))) == 1
    assert shell.history("long")[0]["payloads"]
    shell.ok("config", "set", "archive-retention", "1ms")
    answer = shell.ok("log", "compact")
    assert "long parts of jobs that nothing names any more" in answer.err
    assert list((shell.data / "payloads").glob("[0-9a-f]*")) == []
    assert shell.ok("log", "verify")


def test_an_export_has_all_of_it_and_makes_the_same_queue(shell: Shell) -> None:
    shell.add("--id", "long", "--env", "A=" + "b" * 20_000, "-c", COMMAND)
    shell.ok("export", "--to", "all.jsonl", "--show-env")
    first = (shell.directory / "all.jsonl").read_text()
    assert COMMAND in first and "payloads" not in first
    shell.ok("--data", "copy", "import", "all.jsonl")
    copy = shell.ok("--data", "copy", "show", "long", "--json", "--show-env").json
    assert copy == shell.ok("show", "long", "--json", "--show-env").json
    assert shell.ok("--data", "copy", "log", "verify")
    for segment in (shell.directory / "copy" / "log").glob("*.jsonl"):
        assert max(map(len, segment.read_bytes().splitlines())) < codec.LINE_BYTES_MAX
    for view in ("jobs", "runs", "events"):
        shell.ok("export", "--to", f"{view}.csv", "--view", view)
    assert COMMAND in (shell.directory / "jobs.csv").read_text()
    assert COMMAND in (shell.directory / "events.csv").read_text()
    next((shell.data / "payloads").glob("[0-9a-f]*")).unlink()
    answer = shell.ok("export", "--to", "cut.csv", "--view", "jobs")
    assert "of job long there is only the beginning" in answer.err
