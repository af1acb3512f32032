"""What the queue did over time, of real runs: in tables, in plots, and in pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from playing import convert
from programs import Shell

from queuectl.projections.reports import REPORTS
from queuectl.telling.words import number

REPORT = "name title unit times slice_seconds series rows"
ROWS = {
    "failures": "command runs failed failure_rate worst_at worst_failed",
    "waits": "at runs wait_p50_seconds wait_p95_seconds run_p50_seconds run_p95_seconds",
    "retries": "at runs retries retry_rate storm",
    "utilisation": "at busy_seconds offered_seconds utilisation_rate",
    "concurrency": "at peak average",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue with real runs, some of which failed; only to be read."""
    shell = Shell(tmp_path_factory.mktemp("ran"))
    for key, value in (("backoff", "fixed"), ("backoff-base", "0.01")):
        shell.ok("config", "set", key, value)
    for n in range(6):
        shell.add("-c", f"sleep 0.0{n}")
    shell.add("--max-retries", "2", "-c", "exit 3")
    shell.add("--max-retries", "2", "-c", "/no/such/$(printf 'a\\007_')")
    shell.drain("-c", "2")
    yield shell
    shell.close()


def reports(shell: Shell, *words: str) -> dict[str, dict[str, Any]]:
    answer = shell.ok("report", *words, "--json").json
    assert set(answer) == {"since", "until", "reports"}
    return {report["name"]: report for report in answer["reports"]}


def total(report: dict[str, Any], name: str) -> float:
    return sum(row[name] for row in report["rows"])


def test_what_happened_is_counted(ran: Shell) -> None:
    found = reports(ran)
    assert list(found) == list(ROWS) == list(REPORTS)
    for name, report in found.items():
        assert set(report) == set(REPORT.split())
        assert all(set(row) == set(ROWS[name].split()) for row in report["rows"])
        for series in report["series"]:
            assert len(series["values"]) == len(report["times"])
    kinds = {row["command"]: row for row in found["failures"]["rows"]}
    assert (kinds["sleep <n>"]["runs"], kinds["sleep <n>"]["failure_rate"]) == (6, 0)
    assert (kinds["exit <n>"]["runs"], kinds["exit <n>"]["failed"]) == (2, 2)
    assert total(found["waits"], "runs") == total(found["retries"], "runs") == 10
    assert total(found["retries"], "retries") == 2
    assert 1 <= max(row["peak"] for row in found["concurrency"]["rows"]) <= 2
    busy_s, offered_s = (total(found["utilisation"], f"{w}_seconds") for w in ("busy", "offered"))
    assert 0.15 <= busy_s <= offered_s


def test_one_report_alone_has_a_table(ran: Shell) -> None:
    for name, report in reports(ran).items():
        assert reports(ran, name) == {name: report}
        answer = ran.ok("report", name, "--every", "1h")
        assert answer.lines[0] == report["title"]
        plot, _, table = answer.out.removeprefix(f"{report['title']}\n\n").partition("\n\n")
        assert all(f"{series['name']}, up to " in plot for series in report["series"][:1])
        titles = [word.removesuffix("_seconds").replace("_", " ") for word in ROWS[name].split()]
        assert table.splitlines()[0].lower().split() == " ".join(titles).split()
        assert len(table.splitlines()) in (2, 3, 4)
    every = ran.ok("report").out
    assert all(report["title"] in every for report in reports(ran).values())
    assert "\x07" not in every


def test_only_some_time(ran: Shell) -> None:
    early = ran.ok("report", "waits", "--since", "7d", "--every", "1s", "--json").json
    first = ran.ok("log", "tail", "--json", "-n", "99").json[0]["at"]
    assert early["since"] == first, "of what was before the log there is nothing to tell"
    assert total(early["reports"][0], "runs") == 10
    ahead = ran.ok("report", "utilisation", "--until", "2999-01-01T00:00:00Z", "--json").json
    assert ahead["until"] < "2999", "of what has not been yet there is nothing to tell"
    lately = reports(ran, "waits", "--since", "1h", "--every", "30m")["waits"]
    assert (total(lately, "runs"), lately["slice_seconds"]) == (10, 1800)
    assert len(lately["times"]) in (1, 2)
    assert all(time[14:] in ("00:00.000000Z", "30:00.000000Z") for time in lately["times"])


def test_too_many_slices_are_refused(shell: Shell) -> None:
    convert(shell.data)  # which was long ago
    answer = shell("report", "--until", "2999-01-01T00:00:00Z", "--every", "1s")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("queuectl: --every: that would be ")


@pytest.mark.parametrize("words", ["", "failures", "waits"])
def test_pictures(ran: Shell, words: str) -> None:
    for ending in ("svg", "png", "SVG"):
        path = ran.directory / f"picture.{ending}"
        answer = ran.ok("report", *words.split(), "--to", path.name)
        assert (answer.out, answer.err) == ("", f"drawn to {path.name}\n")
        data = path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        if ending == "png":
            assert data.startswith(b"\x89PNG\r\n")
        else:
            text = "".join(ElementTree.fromstring(data).itertext())
            chosen = [words] if words else list(ROWS)
            for report in (reports(ran)[name] for name in chosen):
                assert report["title"] in text
                if report["name"] == "failures":
                    assert "exit <n>" in text and "sleep <n>" in text
        again = ran("report", *words.split(), "--to", path.name)
        assert (again.code, path.read_bytes()) == (4, data)
        ran.ok("report", *words.split(), "--to", path.name, "--force")
        assert path.read_bytes() == data, "the same log gives the same picture"
        path.unlink()
    assert not [name for name in os.listdir(ran.directory) if "picture" in name]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("failure", 2, "did you mean 'failures'?"),
        ("xyz", 2, "it is one of failures, waits"),
        ("--to picture.gif", 2, ".svg or .png"),
        ("--to picture", 2, ".svg or .png"),
        ("--to nowhere/picture.svg", 3, "there is no directory"),
        ("--since 2999-01-01T00:00:00Z", 2, "--since is behind the end"),
        ("--until 2020-01-01T00:00:00Z", 2, "nothing had happened by then: the log begins at 2"),
        ("--since whenever", 2, "is no moment"),
    ],
)
def test_what_cannot_be_reported(ran: Shell, words: str, code: int, told: str) -> None:
    answer = ran("report", *words.split())
    assert (answer.code, answer.out) == (code, "")
    assert told in answer.err and len(answer.err.splitlines()) == 1


def test_without_matplotlib_it_says_how_to_get_it(
    ran: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = ran("report", "--to", "picture.svg")
    assert (answer.code, answer.out) == (1, "")
    assert "pip install matplotlib, or install queuectl with its extra report" in answer.err
    assert ran("report").code == 0, "only pictures need it"


def test_a_queue_in_which_nothing_has_happened(shell: Shell) -> None:
    shell.ok("queue", "pause", "mail")
    answer = shell.ok("report")
    assert "nothing has run" in answer.out
    assert reports(shell)["failures"]["rows"] == []
    shell.ok("report", "--to", "empty.svg")
    assert shell("report", "--data", "nowhere").code != 0


def test_of_a_damaged_log_comes_what_stands_before_the_damage(ran: Shell, shell: Shell) -> None:
    import shutil

    shutil.copytree(ran.data, shell.data)
    (segment,) = (shell.data / "log").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-6]) + lines[-6].replace(b'"job', b'"jog', 1))
    answer = shell("report", "retries", "--json")
    assert answer.code == 6
    assert "where the log is damaged" in answer.err
    assert 0 < total(answer.json["reports"][0], "runs") < 10


@pytest.mark.parametrize(
    "value, shown",
    [(0.12345, "0.123"), (99.5, "99.5"), (999.6, "1,000"), (23289, "23,289"), (-1234.5, "-1,234")],
)
def test_numbers_are_written_out(value: float, shown: str) -> None:
    assert number(value) == shown
