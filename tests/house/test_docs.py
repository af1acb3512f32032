"""The docs say what is so: what is made from the code is fresh, links lead somewhere, examples
run, and every test that a promise names exists."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from programs import Shell

from queuectl import Queue
from queuectl.engines.file import FileLog
from queuectl.engines.file import mark as marks
from queuectl.events import vocabulary as v
from queuectl.events.log import Batch
from queuectl.home import Home
from queuectl.runtime.proving import prove

from . import worked_example

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TYPED = re.compile(r"^\$ ", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _example(page: str, name: str) -> str:
    """The block below the line `<!-- example: name -->` of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    after = text.partition(f"<!-- example: {name} -->\n")[2]
    assert after, f"{page} has no example {name}"
    fence = _FENCE.match(after)
    return fence[2] if fence else after.partition("\n\n")[0]


# ---- what is made from the code


def test_generated_pages_are_fresh() -> None:
    check = _python("scripts/generate_docs.py", "--check", cwd=ROOT)
    assert check.returncode == 0, check.stderr


# ---- links


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        "".join(c for c in heading.lower() if c.isalnum() or c in "-_ ").replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "data/README.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {link}, which is not there"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path), f"{page.name} links to {link}: no such heading"


def test_every_page_can_be_found() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        name = str(page.relative_to(DOCS))
        assert name == "README.md" or f"({name})" in index, f"docs/README.md does not name {name}"


def test_the_readme_has_every_folder_of_a_queue(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    folders = {Path(path).name for path in vars(home).values() if Path(path).parent == tmp_path}
    rows = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What lies in `data/`")[2]
    assert folders == set(re.findall(r"`(\w+)/`", rows.partition("\n\n## ")[0])) - {"data"}


# ---- the format


@pytest.fixture
def example_log(tmp_path: Path) -> Path:
    directory = tmp_path / "log"
    directory.mkdir()
    worked_example.make(directory)
    return directory


@pytest.mark.parametrize("name", ["00000000000000000001.jsonl", "LOCK"])
def test_format_page_shows_the_bytes_that_are_written(example_log: Path, name: str) -> None:
    assert (example_log / name).read_text(encoding="utf-8") == _example("format.md", name)


def test_format_page_explains_the_chain(example_log: Path) -> None:
    import zlib

    rows = _example("format.md", "chain").splitlines()[2:]
    lines = (example_log / "00000000000000000001.jsonl").read_bytes().splitlines(keepends=True)
    crc = 0
    for number, (row, line) in enumerate(zip(rows, lines, strict=True), 1):
        seed, crc = crc, zlib.crc32(line[16:-1], crc)
        figures = [number, len(line), len(line) - 17, f"`{seed:08x}`", f"`{crc:08x}`"]
        assert row == "| " + " | ".join(map(str, figures)) + " |"


def test_format_page_tells_the_widths_of_the_mark(example_log: Path) -> None:
    rows = _example("format.md", "mark fields").splitlines()[2:]
    widths = [int(row.split("|")[2].split()[0]) for row in rows]
    line = (example_log / "LOCK").read_text(encoding="utf-8")
    assert sum(widths) + len(widths) == len(line)
    at = 0
    fields = []
    for width in widths:
        fields.append(line[at : at + width].rstrip())
        assert line[at + width] in " \n"
        at += width + 1
    mark = marks.decode(line.encode())
    assert mark is not None
    assert [name.split("|")[1].strip() for name in rows][:-1] == list(mark._fields)
    assert [int(fields[0]), int(fields[1]), int(fields[2])] == list(mark[:3])
    assert fields[-2] == mark.boot == worked_example.BOOT


def test_format_page_computes_the_checksum(example_log: Path) -> None:
    run = _python("-c", _example("format.md", "python"), cwd=example_log)
    assert (run.returncode, run.stdout) == (0, "d75bf6da\n"), run.stderr


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    script = tmp_path / "reader.py"
    script.write_text(_example("format.md", "reader"), encoding="utf-8")
    return script


def test_the_page_s_reader_reads_a_real_log(reader: Path, tmp_path: Path) -> None:
    with Queue(tmp_path / "data") as queue:
        queue.enqueue_many([{"id": f"job{n}", "command": "echo “\u2028”"} for n in range(9)])
        queue.cancel("job3")
        expected = [
            f"{event.offset} {event.at} {v.wire_name(event)} {getattr(event, 'job', '')}"
            for events in queue.log.read()
            for event in events
        ]
    run = _python(str(reader), str(tmp_path / "data" / "log"), cwd=tmp_path)
    assert run.stdout.splitlines() == expected, run.stderr


def test_the_page_s_reader_reads_a_log_that_was_compacted_and_repaired(
    reader: Path, tmp_path: Path
) -> None:
    directory = ROOT / "tests" / "golden" / "format-1" / "log"
    log = FileLog(str(directory))
    expected = [
        f"{event.offset} {event.at} {v.wire_name(event)} {getattr(event, 'job', '')}"
        for events in log.read()
        for event in events
    ]
    log.close()
    assert {"log.compacted", "log.repaired"} <= {line.split()[2] for line in expected}
    run = _python(str(reader), str(directory), cwd=tmp_path)
    assert run.stdout.splitlines() == expected, run.stderr


def test_the_page_s_reader_reads_what_was_before_compaction_from_the_archive(
    reader: Path, tmp_path: Path
) -> None:
    queue = tmp_path / "queue"
    shutil.copytree(ROOT / "tests" / "golden" / "format-1", queue)
    run = _python(str(reader), "log", "archive", cwd=queue)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    offsets = [int(line.split()[0]) for line in lines]
    left = _python(str(reader), "log", cwd=queue).stdout.splitlines()
    assert len(lines) > len(left)
    assert {line for line in left if " log.compacted " not in line} <= set(lines)
    lost = set(range(1, offsets[-1] + 1)) - set(offsets)
    assert lost <= set(range(108, 119)), "what a repair could not save"
    sorted((queue / "archive").iterdir())[2].unlink()
    assert "ValueError" in _python(str(reader), "log", "archive", cwd=queue).stderr


def test_the_page_s_reader_finds_what_is_wrong(reader: Path, tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.mkdir()
    log = FileLog(str(directory), segment_bytes_max=400)
    for n in range(8):
        log.append([Batch([v.JobEnqueued(job=f"job{n}", command="true")])])
    log.close()
    segments = sorted(directory.glob("*.jsonl"))
    assert len(segments) > 2
    assert len(_python(str(reader), str(directory), cwd=tmp_path).stdout.splitlines()) == 8

    middle = segments[1].read_bytes()
    segments[1].write_bytes(middle.replace(b"true", b"trux", 1))
    assert "checksum does not match" in _python(str(reader), str(directory), cwd=tmp_path).stderr
    segments[1].unlink()
    assert "ValueError" in _python(str(reader), str(directory), cwd=tmp_path).stderr
    segments[1].write_bytes(middle)

    # A tear at the very end is no damage.
    with segments[-1].open("ab") as last:
        last.write(b'{"crc":"0')
    torn = _python(str(reader), str(directory), cwd=tmp_path)
    assert torn.returncode == 0
    assert len(torn.stdout.splitlines()) == 8


def test_the_page_s_check_of_a_proof(tmp_path: Path) -> None:
    with Queue(tmp_path / "data") as queue:
        queue.enqueue_many([{"id": f"job{n}", "command": "echo “\u2028”"} for n in range(9)])
        queue.cancel("job3")
        proof = msgspec.json.encode(prove(queue, "job3")).decode()
        expected = [event.offset for event in queue.history("job3")]
    (tmp_path / "check.py").write_text(_example("format.md", "proof"), encoding="utf-8")
    (tmp_path / "proof").write_text(proof, encoding="utf-8")
    run = _python("check.py", "proof", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert [json.loads(line)["offset"] for line in run.stdout.split("\n")[:-1]] == expected
    altered = proof.replace(r"\"attempt\":0", r"\"attempt\":1", 1)
    assert altered != proof
    (tmp_path / "proof").write_text(altered, encoding="utf-8")
    assert "AssertionError" in _python("check.py", "proof", cwd=tmp_path).stderr


# ---- the architecture


def test_the_tree_of_the_architecture_page_is_the_tree() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    tree = next(code for _, code in _FENCE.findall(page) if code.startswith("queuectl/\n"))
    shown: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders[depth:] = [name]
        if name.endswith(".py"):
            shown.add("".join(folders))
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "queuectl").rglob("*.py")
        if not path.name.startswith("__") and "cli" not in path.parts
    }
    assert shown == there


# ---- the Python API


def test_python_examples_run(tmp_path: Path) -> None:
    blocks = [
        code for kind, code in _FENCE.findall((DOCS / "python.md").read_text(encoding="utf-8"))
    ]
    script = tmp_path / "examples.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    assert len(blocks) > 4
    run = _python(str(script), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    # What an example prints stands behind it as a comment.
    shown = [line.partition("# prints ")[2] for line in "\n".join(blocks).splitlines()]
    assert run.stdout.splitlines() == [line for line in shown if line]


# ---- what is shown as typed


@pytest.mark.parametrize("page", ["analyst.md", "auditor.md"])
def test_what_a_page_shows_is_what_happens(tmp_path: Path, page: str) -> None:
    for program in ("jq", "parallel"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: apt-get install {program}")
    shell = Shell(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    # The page says how whoever follows it makes the queue that it is about.
    (name,) = re.findall(
        r"^\.venv/bin/python tests/playing\.py (\w+) \S+/data$", text, re.MULTILINE
    )
    made = _python("tests/playing.py", name, str(shell.data), cwd=ROOT)
    assert made.returncode == 0, made.stderr
    blocks = [(kind, code) for kind, code in _FENCE.findall(text) if kind in ("console", "python")]
    assert len(blocks) > 12
    for kind, code in blocks:
        if kind == "python":
            run = _python("-c", code, cwd=tmp_path)
            assert run.returncode == 0, run.stderr
            shown = [line.partition("# prints ")[2] for line in code.splitlines()]
            assert run.stdout.splitlines() == [line for line in shown if line]
        else:
            for typed in _TYPED.split(code)[1:]:
                command, _, expected = typed.partition("\n")
                done = shell.pipeline(f"exec 2>&1\n{command}", HOME=str(tmp_path))
                assert done.stdout.decode() == expected, command
    shell.close()


# ---- promises


def test_every_test_that_a_promise_names_exists() -> None:
    page = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    for path, test in named:
        source = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
        assert re.search(rf"\bdef {test}\(", source), f"no test {test} in {path}"


# ---- extras


def test_what_is_said_to_be_missing_is_what_the_extra_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        extra: [requirement.partition(">")[0] for requirement in requirements]
        for extra, requirements in project["optional-dependencies"].items()
        if extra not in ("dev", "fuzz")
    }
    said = {}
    for path in (ROOT / "queuectl").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "not_installed":
                _, extra, *packages = map(ast.literal_eval, call.args)
                said[extra] = packages
    assert said == extras


# ---- the docs stand alone


def test_nothing_refers_to_what_is_not_in_the_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    foreign = re.compile("|".join(["shared" + "/design", r"\.\./" + "shared", "/work" + "/main"]))
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            match = foreign.search(path.read_text(encoding="utf-8", errors="replace"))
            assert match is None, f"{name} mentions {match and match[0]}"
