"""What is redacted is nowhere any more, and all else is as it was and says so."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hosts import FaultyHost, Killed, Untroubled

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.domain.redaction import FIELDS, TEXT
from queuectl.engines.file import FileLog, anchors, compaction
from queuectl.engines.file.anchors import Anchor
from queuectl.engines.file.evidence import Evidence
from queuectl.engines.file.redaction import Redaction
from queuectl.engines.file.verify import Report, verify
from queuectl.errors import Disproved, Forged, LockTimedOut, NotFound, QueuectlError, Rejected
from queuectl.events import codec
from queuectl.events import vocabulary as v
from queuectl.host import Host
from queuectl.projections import proof as proofs
from queuectl.projections.audit import Audit, compare
from queuectl.projections.past import Moment
from queuectl.projections.proof import check
from queuectl.projections.state import State
from queuectl.runtime import redacting, tidying
from queuectl.runtime.compacting import compact
from queuectl.runtime.proving import prove
from queuectl.runtime.redacting import asides, find, finish, redact

SECRET = "hunter2\\“\u2028"
"""As awkward as it may be in JSON."""
JSON = msgspec.json.encode(SECRET)[1:-1]


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**FileLog.__init__.__kwdefaults__, "segment_bytes_max": 2500}  # type: ignore[dict-item]
    monkeypatch.setattr(FileLog.__init__, "__kwdefaults__", defaults)


def work(queue: Queue, host: Any, *, fails: bool = False) -> None:
    """One run of whatever is due."""
    host.advance(1000)
    claims = queue.turn([], worker="w1", slots=range(1, 20))
    host.advance(1)
    end: dict[str, Any] = {"reason": "exit", "error": f"no {SECRET}"} if fails else {}
    queue.turn(
        [
            c.Finish(job=claim.job, token=claim.offset, now=queue.now(), run_ms=9, **end)
            for claim in claims
            if isinstance(claim, v.JobClaimed)
        ],
        worker="w1",
        slots=[],
    )


def enqueue_secret(queue: Queue, id: str, **fields: Any) -> None:
    queue.enqueue(
        f"echo {SECRET}",
        id=id,
        cwd=f"/srv/{SECRET}",
        env={"TOKEN": SECRET},
        max_retries=2,
        **fields,
    )


def fill(queue: Queue, count: int = 12) -> None:
    for _ in range(count):
        queue.enqueue("true", delay="10d")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with secrets in everything: in segments that were compacted and their originals, in
    some that were not, in the active one, and in snapshots."""
    with pytest.MonkeyPatch.context() as patch:
        small_segments.__wrapped__(patch)  # type: ignore[attr-defined]
        root = tmp_path_factory.mktemp("secrets")
        host = Untroubled()
        with Queue(root, host=host) as queue:
            enqueue_secret(queue, "old")
            enqueue_secret(queue, "dead")
            fill(queue)
            work(queue, host, fails=True)
            work(queue, host, fails=True)
            queue.prune("old", reason=SECRET)
            fill(queue)
            for _ in compact(queue):
                pass
            queue.retry("dead", reason=SECRET)
            work(queue, host, fails=True)
            fill(queue)
            work(queue, host, fails=True)
            enqueue_secret(queue, "live", delay="10d")
            enqueue_secret(queue, "new")
            work(queue, host)
            queue.keep_snapshot()
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "data")


def opened(root: Path, host: Host | None = None) -> Queue:
    root.chmod(0o700)
    return Queue(root, create=False, host=host or Untroubled())


def redacted(root: Path, job: str, *fields: str, host: Host | None = None, **given: Any) -> None:
    with opened(root, host) as queue:
        redact(queue, job, fields or FIELDS, **given)


def holders(root: Path, job: str) -> set[str]:
    """The files in which a line about that job, or a job as it stands, has the secret."""
    found = set()
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        needles = b'"job":"%s"' % job.encode(), JSON
        if any(all(needle in line for needle in needles) for line in data.split(b"\n")):
            found.add(str(path.relative_to(root)))
    return found


def verified(root: Path, heads: tuple[int, ...] = ()) -> Report:
    with opened(root) as queue:
        known = queue.state
        log: Any = queue.log
        return verify(
            log,
            lambda: Audit(known, log.compactions()),
            evidence=lambda: Evidence(heads=heads, asked=known.redactions),
        )


def anchor(root: Path) -> Anchor:
    report = verified(root)
    return Anchor(report.head, report.crc, report.sha256, report.evidence.root())


def history(root: Path, job: str) -> list[Any]:
    with opened(root) as queue:
        return queue.history(job)


def state(root: Path) -> State:
    shutil.rmtree(root / "snapshots", ignore_errors=True)
    with opened(root) as queue:
        return queue.state


# ---- what is done


def test_the_secrets_are_where_they_are_looked_for(root: Path) -> None:
    assert {path.split("/")[0] for path in holders(root, "dead")} == {"archive", "log", "snapshots"}
    assert {path.split("/")[0] for path in holders(root, "old")} == {"archive", "log"}
    assert any(path.startswith("log/") for path in holders(root, "new"))


@pytest.mark.parametrize("job", ["old", "dead", "new"])
def test_nothing_of_it_is_left_in_any_file(root: Path, job: str) -> None:
    others = {"old", "dead", "new", "live"} - {job}
    before = {other: len(holders(root, other)) for other in others}
    redacted(root, job, reason="leaked")
    assert holders(root, job) == set()
    for other in others:
        assert len(holders(root, other)) >= min(before[other], 1), "that of others stays"
    assert verified(root).evidence.redactions.unfinished == set()
    *told, asked, done = history(root, job)
    assert isinstance(asked, v.JobRedacting) and isinstance(done, v.JobRedacted)
    assert (asked.actor, asked.reason) == (Queue(root, host=Untroubled()).actor, "leaked")
    assert asked.offsets == [event.offset for event in told if event.redacted]
    enqueued = told[0]
    assert (enqueued.command, enqueued.env, enqueued.cwd) == (TEXT, [TEXT], TEXT)
    assert all(event.error == TEXT for event in told if isinstance(event, v.JobFailed))


def test_only_what_was_asked_for_is_gone(root: Path) -> None:
    before = history(root, "dead")
    redacted(root, "dead", "env")
    after = history(root, "dead")[:-2]
    replace = msgspec.structs.replace
    assert after[0].original and after[0].redacted == ["env"]
    assert replace(after[0], env=before[0].env, redacted=None, original="") == before[0]
    assert after[1:] == before[1:]
    redacted(root, "dead", "error", "command")
    again = history(root, "dead")
    assert again[0].redacted == ["command", "env"]
    assert again[0].original == after[0].original, "the hash is that of what was written"
    assert verified(root).evidence.redactions.unfinished == set()


def test_all_else_is_as_it_was(root: Path) -> None:
    others = {
        job.id: history(root, job.id) for job in state(root).jobs.select() if job.id != "dead"
    }
    counts = state(root).counts
    kept = anchor(root)
    redacted(root, "dead")
    assert {id: history(root, id) for id in others} == others
    assert state(root).counts == counts
    root_then = verified(root, heads=(kept.head,)).evidence.roots[kept.head]
    with opened(root) as queue:
        log: Any = queue.log
        anchors.prove(log, kept, root_then)
        with pytest.raises(Disproved):
            anchors.prove(log, kept, root_then._replace(hash="0" * 64))


def test_who_has_folded_it_before_knows_the_same_as_who_folds_it_now(root: Path) -> None:
    with opened(root) as queue:
        assert SECRET in queue.get("dead").spec.command
        redacted(root, "dead")
        job = queue.get("dead")
        assert (job.spec.command, job.error, job.spec.redacted) == (
            TEXT,
            TEXT,
            ["actor", "command", "cwd", "env"],
        )
        assert compare(queue.state, state(root)) == ""


def test_a_snapshot_that_knows_it_is_never_kept_again(root: Path) -> None:
    shutil.rmtree(root / "snapshots")
    with opened(root) as late:
        late.catch_up()
        with opened(root) as stands_on_one:
            stands_on_one.keep_snapshot()
        with opened(root) as stands_on_one:
            redacted(root, "dead")
            assert late.keep_snapshot() is False
            assert stands_on_one.keep_snapshot() is False
            assert late.state and stands_on_one.state
            late.keep_snapshot()
            stands_on_one.keep_snapshot()
    with opened(root) as queue:
        queue.catch_up()
        queue.keep_snapshot()
    assert (root / "snapshots" / "HEAD").exists()
    assert holders(root, "dead") == set()


def test_who_stands_on_a_snapshot_that_was_taken_away_keeps_none(root: Path) -> None:
    with opened(root) as queue:
        assert queue.known.since
        redacted(root, "dead")
        queue.catch_up()
        assert queue.keep_snapshot() is False
        assert queue.get("new").id == "new"
    with opened(root) as queue:
        queue.catch_up()
        assert queue.keep_snapshot() is True
    with opened(root) as queue:
        assert queue.known.since == queue.log.head()


def past_snapshots(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "snapshots" / "past").glob("head-*"))


def test_snapshots_of_the_past_go_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.projections.past._SPAN", 10)
    monkeypatch.setattr("queuectl.projections.past._SPAN_LIVE", 0)
    with opened(root) as queue:
        queue.past.keep()
    before = past_snapshots(root)
    assert before
    redacted(root, "dead")
    assert {path.name for path in (root / "snapshots" / "past").iterdir()} == {"LOCK"}
    with opened(root) as queue:
        queue.past.keep()
        view = queue.at(Moment(20))
        assert view.get("dead").spec.command == TEXT
    after = past_snapshots(root)
    assert after and not set(after) & set(before)


def test_one_of_the_past_is_not_kept_by_who_read_before_it_was_redacted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.projections.past._SPAN", 10)
    monkeypatch.setattr("queuectl.projections.past._SPAN_LIVE", 0)
    done: list[int] = []

    def progress(offset: int, total: int) -> None:
        if not done:
            done.append(offset)
            redacted(root, "dead")

    with opened(root) as queue:
        state, _ = queue.past.state(Moment(40), progress)
        assert done
        state.close()
        assert past_snapshots(root) == []
        queue.past.state(Moment(40))[0].close()
        assert past_snapshots(root)


def test_what_a_job_that_is_not_over_needs_stays(root: Path) -> None:
    before = (root / "log").stat().st_mtime_ns
    for field in ("command", "env", "cwd"):
        with pytest.raises(Rejected, match=f"pending and needs its {field}"):
            redacted(root, "live", field)
    assert (root / "log").stat().st_mtime_ns == before
    redacted(root, "live", "actor")
    with opened(root) as queue:
        queue.cancel("live")
    redacted(root, "live")
    with opened(root) as queue, pytest.raises(Rejected, match="without what was redacted"):
        queue.retry("live")


def test_what_there_is_not(root: Path) -> None:
    with pytest.raises(NotFound):
        redacted(root, "nobody")
    head = verified(root).head
    redacted(root, "dead", "secret_env")
    assert verified(root).head == head, "where there is nothing, nothing is told"


def test_who_redacted_it_and_why_stays(root: Path) -> None:
    redacted(root, "dead", "env", reason="leaked")
    redacted(root, "dead")
    first, *_ = history(root, "dead")[-4:]
    assert (first.reason, first.fields, first.redacted) == ("leaked", ["env"], None)
    head = verified(root).head
    redacted(root, "dead")
    assert verified(root).head == head, "asking again for what is done changes nothing"


def test_many_lines_are_told_in_several_events(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.runtime.redacting._LINES_MAX", 3)
    redacted(root, "dead")
    asked = [event for event in history(root, "dead") if isinstance(event, v.JobRedacting)]
    assert len(asked) > 1 and all(len(event.offsets or ()) <= 3 for event in asked)
    assert holders(root, "dead") == set()
    assert verified(root).evidence.redactions.unfinished == set()


def test_compaction_goes_on_with_what_was_redacted(root: Path) -> None:
    redacted(root, "dead")
    with opened(root) as queue:
        queue.prune("dead", "new")
        fill(queue, 20)
        for _ in compact(queue):
            pass
    assert holders(root, "dead") == set()
    assert verified(root).missing == []
    assert [type(event) for event in history(root, "dead")][-3:] == [
        v.JobRedacting,
        v.JobRedacted,
        v.JobPruned,
    ]


def test_a_proof_tells_what_was_redacted(root: Path) -> None:
    kept = anchor(root)
    redacted(root, "dead", reason="leaked")
    with opened(root) as queue:
        now = prove(queue, "dead")
        shown = check(msgspec.json.encode(now))
        then = check(msgspec.json.encode(prove(queue, "dead", kept)), [kept])
    assert shown.emptied == []
    assert then.emptied == [event.offset for event in then.events if event.redacted]
    assert JSON not in msgspec.json.encode(now)
    text = now.events[0].event
    for changed in (
        text.replace('"max_retries":2', '"max_retries":3', 1),
        text.replace('"original":"', '"original":"0', 1),
        text.replace('"original":"', '"was":"', 1),
    ):
        assert changed != text
        events = [msgspec.structs.replace(now.events[0], event=changed), *now.events[1:]]
        forged = proofs._sealed(msgspec.structs.replace(now, events=events))
        with pytest.raises(Disproved):
            check(msgspec.json.encode(forged))


# ---- what is found


def forge(path: Path, edit: Callable[[list[bytes]], None]) -> None:
    """Change a segment as somebody does who makes every checksum in it right again."""
    first, *lines = path.read_bytes().split(b"\n")[:-1]
    bodies = [line[codec.BODY :] for line in lines]
    edit(bodies)
    start, crc = codec.frame_header(codec.decode_header(first)[0])
    path.write_bytes(start + codec.rechain(bodies, crc)[0])


def in_the_log(root: Path, needle: bytes) -> Path:
    return next(
        path for path in sorted((root / "log").glob("*.jsonl")) if needle in path.read_bytes()
    )


def test_a_line_that_says_it_was_redacted_and_was_not_is_found(root: Path) -> None:
    path = in_the_log(root, b'"job":"new"')

    def edit(bodies: list[bytes]) -> None:
        (at,) = [n for n, body in enumerate(bodies) if b'"job":"new"' in body and b"enqu" in body]
        hide = b'"attempt":0,"redacted":["command"],"original":"%s",' % (b"0" * 64)
        bodies[at] = bodies[at].replace(b'"attempt":0,', hide, 1)

    forge(path, edit)
    (root / "log" / "LOCK").unlink()
    shutil.rmtree(root / "snapshots")
    with pytest.raises(Forged, match="no event says who asked"):
        verified(root)


def test_a_line_that_was_altered_after_it_was_redacted_is_found(root: Path) -> None:
    redacted(root, "new")
    path = in_the_log(root, b'"job":"new"')

    def edit(bodies: list[bytes]) -> None:
        (at,) = [n for n, body in enumerate(bodies) if b'"job":"new"' in body and b"enqu" in body]
        assert b'"max_retries":2' in bodies[at]
        bodies[at] = bodies[at].replace(b'"max_retries":2', b'"max_retries":3')

    forge(path, edit)
    shutil.rmtree(root / "snapshots", ignore_errors=True)
    with pytest.raises(Forged, match="not what was left"):
        verified(root)


# ---- when it is interrupted


FAULTS: dict[str, Callable[[], BaseException]] = {
    "killed": Killed,
    "EIO": lambda: OSError(5, "EIO"),
    "ENOSPC": lambda: OSError(28, "ENOSPC"),
}


@pytest.mark.parametrize(
    ("fault", "start", "step"),
    [("killed", 0, 2), ("killed", 1, 2), ("EIO", 2, 3), ("ENOSPC", 1, 4)],
)
def test_interrupted_at_any_call_it_is_finished_by_the_next_round(
    root: Path, tmp_path: Path, fault: str, start: int, step: int
) -> None:
    others = {id: history(root, id) for id in ("old", "new", "live")}
    expected: list[Any] = []
    for number in range(start, 400, step):
        place = shutil.copytree(root, tmp_path / str(number))
        host = FaultyHost()
        done = False
        try:
            with opened(place, host) as queue:
                queue.catch_up()
                host.watch(lambda at, _, number=number: FAULTS[fault]() if at == number else None)  # type: ignore[misc]
                redact(queue, "dead", FIELDS)
                done = True
        except (Killed, OSError, QueuectlError):
            pass
        faulted = len(host.calls) > number
        calls = host.calls[: number + 1]
        begun = any(isinstance(event, v.JobRedacting) for event in history(place, "dead"))
        report = verified(place)
        assert bool(report.evidence.redactions.unfinished) <= begun, calls
        with opened(place) as queue:
            tidying.tidy(queue, idly=True)
            assert not queue.state.redacting
        assert {id: history(place, id) for id in others} == others, calls
        if begun:
            assert holders(place, "dead") == set(), calls
            assert not list((place / "log").glob("compact-*")), calls
            assert not list((place / "archive").glob("new-*")), calls
        assert verified(place).evidence.redactions.unfinished == set(), calls
        with opened(place) as queue:
            redact(queue, "dead", FIELDS)
        assert holders(place, "dead") == set(), calls
        told = [(type(event), event.offset) for event in history(place, "dead")][:9]
        expected = expected or told
        assert told == expected, calls
        shutil.rmtree(place)
        if not faulted:
            break
    assert done
    assert {"rename", "unlink", "fsync", "sync_directory"} <= set(calls)


def test_what_is_unfinished_is_told_until_it_is_finished(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Redaction, "carry_out", lambda it: (_ for _ in ()).throw(OSError(5, "EIO")))
        with pytest.raises(OSError):
            redacted(root, "new")
    unfinished = verified(root).evidence.redactions.unfinished
    assert unfinished == {
        event.offset for event in history(root, "new") if isinstance(event, v.JobEnqueued)
    }
    with opened(root) as queue:
        assert queue.state.redacting == {"new"}
        assert queue.get("new").spec.command == TEXT, "it counts as taken out already"
        assert finish(queue) == 1
        assert finish(queue) == 0
    assert holders(root, "new") == set()
    assert verified(root).evidence.redactions.unfinished == set()


def test_what_was_asked_for_by_who_died_is_finished_as_soon_as_it_is_seen(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, opened(root) as queue:
        patched.setattr(redacting, "_carry_out", die)
        with pytest.raises(Killed):
            redact(queue, "old", FIELDS)
    for number in range(400):
        place = shutil.copytree(root, tmp_path / str(number))
        host = FaultyHost()
        with suppress(Killed), opened(place, host) as queue:
            queue.catch_up()
            host.watch(lambda at, _, number=number: Killed() if at == number else None)  # type: ignore[misc]
            redact(queue, "dead", FIELDS)
        lines = [path.read_bytes() for path in (place / "log").glob("*.jsonl")]
        if any(b'"type":"job.redacting","job":"dead"' in data for data in lines):
            break
    with opened(place) as queue:
        assert queue.state.redacting == {"old"}, "it died before it could say so"
        assert finish(queue) == 2
    assert holders(place, "old") == holders(place, "dead") == set()


def test_nobody_else_rewrites_the_log_meanwhile(root: Path) -> None:
    with opened(root) as queue:
        log: Any = queue.log
        with compaction.holding(log), pytest.raises(LockTimedOut):
            redacted(root, "dead")


def test_an_archive_that_cannot_be_read_stops_it(root: Path) -> None:
    archive = sorted((root / "archive").iterdir())[0]
    archive.write_bytes(archive.read_bytes()[:-20])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(QueuectlError, match="cannot be read") as raised:
        redacted(root, "dead")
    assert str(archive) in str(raised.value)
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert {path for path in before if after[path] != before[path]} <= {root / "log" / "LOCK"}


def test_what_was_kept_aside_is_named(root: Path) -> None:
    (root / "log" / "cut-1-22-abc").write_bytes(b"x")
    (root / "log" / "aside-2026").mkdir()
    with opened(root) as queue:
        assert [Path(path).name for path in asides(queue)] == ["aside-2026", "cut-1-22-abc"]


def test_what_would_go_is_told_and_changes_nothing(root: Path) -> None:
    with opened(root) as queue:
        found = find(queue, "dead", ["env", "error"])
        assert next(one.names for one in found) == ["env"]
        assert {name for one in found for name in one.names} == {"env", "error"}
        assert find(queue, "dead", ["secret_env"]) == []
