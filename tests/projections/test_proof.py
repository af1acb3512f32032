"""A proof shows what it says, and whatever is changed in it is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hosts import SteadyHost

from queuectl import Queue
from queuectl.domain import commands as c
from queuectl.engines.file import FileLog, anchors
from queuectl.engines.file.anchors import Anchor
from queuectl.errors import Disproved, Newer, NotFound, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.projections import proof as proofs
from queuectl.projections.proof import Proof, Shown, Tied, check
from queuectl.runtime.compacting import compact
from queuectl.runtime.proving import prove


def opened(root: Path, host: SteadyHost | None = None) -> Queue:
    host = host or SteadyHost()
    log = FileLog(str(root / "log"), host, segment_bytes_max=2000, archive=str(root / "archive"))
    return Queue(root, host=host, log=log)


def work(queue: Queue, host: SteadyHost, *, fails: bool) -> None:
    """One run of whatever is due."""
    host.advance(10)
    claims = queue.turn([], worker="w1", slots=range(1, 9))
    host.advance(1)
    end: dict[str, Any] = {"reason": "exit", "error": "“no”", "exit_code": 3} if fails else {}
    queue.turn(
        [
            c.Finish(job=claim.job, token=claim.offset, now=queue.now(), run_ms=9, **end)
            for claim in claims
            if isinstance(claim, v.JobClaimed)
        ],
        worker="w1",
        slots=[],
    )


def forget(queue: Queue, *jobs: str) -> None:
    """Purge jobs, and take them out of the log."""
    queue.prune(*jobs, reason="old")
    for _ in range(10):  # until all that is sealed
        queue.enqueue("true")
    for _ in compact(queue):
        pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A queue in which something has happened to job `a`, and more to others."""
    (tmp_path / "log").mkdir()
    host = SteadyHost()
    with opened(tmp_path, host) as queue:
        queue.enqueue("echo “a” \\ \u2028", id="a", max_retries=2, backoff="fixed", backoff_base=1)
        for number in range(4):
            queue.enqueue("true", id=f"other{number}")
            work(queue, host, fails=True)
        queue.retry("a", reason="again")
        work(queue, host, fails=False)
        queue.enqueue("true", id="last")
    return tmp_path


def proved(root: Path, job: str = "a", anchor: Anchor | None = None) -> Proof:
    with opened(root) as queue:
        return prove(queue, job, anchor)


def encoded(proof: Proof) -> bytes:
    return msgspec.json.encode(proof)


def resealed(made: Proof, /, **changes: Any) -> bytes:
    """As somebody changes it who makes its own checksum right again."""
    return encoded(proofs._sealed(msgspec.structs.replace(made, **changes)))


def history(root: Path, job: str = "a") -> list[v.Event]:
    with opened(root) as queue:
        return queue.history(job)


# ---- what it shows


def test_it_shows_the_whole_history_of_a_job(root: Path) -> None:
    proof = proved(root)
    shown = check(encoded(proof))
    assert shown.events == history(root)
    assert len(shown.events) > 8
    assert (shown.job, shown.begins) == ("a", True)
    with opened(root) as queue:
        assert shown.anchor.head == queue.log.head()
    assert check(msgspec.json.format(encoded(proof), indent=3)) == shown, "however it is laid out"


def test_it_is_the_same_after_compaction_and_for_a_job_that_was_purged(root: Path) -> None:
    before = proved(root)
    anchor = anchors.parse(before.anchor)
    with opened(root) as queue:
        forget(queue, "a")
        assert not list(queue.log.read_kept("a", 1, queue.log.head()))
    assert proved(root, anchor=anchor) == before
    after = check(encoded(proved(root)))
    assert isinstance(after.events[-1], v.JobPruned)
    assert after.events == history(root)


def test_it_is_held_against_the_anchors_that_were_kept(root: Path) -> None:
    proof = proved(root)
    kept = anchors.parse(proof.anchor)
    assert kept.root is not None
    other = kept._replace(head=kept.head - 1)
    assert check(encoded(proof), [other, kept]).anchor == kept
    for wrong in (
        kept._replace(sha256="0" * 64),
        kept._replace(crc="0" * 8),
        kept._replace(root=kept.root._replace(hash="0" * 64)),
        kept._replace(root=kept.root._replace(first=2)),
    ):
        with pytest.raises(Disproved, match="of another log"):
            check(encoded(proof), [wrong])
    for useless in ([other], [kept._replace(root=None)]):
        with pytest.raises(QueuectlError, match="no anchor given") as raised:
            check(encoded(proof), useless)
        assert raised.value.exit_code == 1


def test_up_to_an_anchor_it_has_what_there_was_then(root: Path) -> None:
    with opened(root) as queue:
        before = check(encoded(prove(queue, "a")))
        queue.retry("a")
        now = check(encoded(prove(queue, "a")))
        assert len(now.events) == len(before.events) + 1
        then = check(encoded(prove(queue, "a", before.anchor)), [before.anchor])
        assert then == before
        with pytest.raises(QueuectlError, match="has no root"):
            prove(queue, "a", before.anchor._replace(root=None))
        with pytest.raises(Disproved):
            prove(queue, "a", before.anchor._replace(sha256="0" * 64))
        with pytest.raises(NotFound, match="up to event"):
            queue.enqueue("true", id="late")
            prove(queue, "late", before.anchor)


def test_where_originals_are_gone_it_begins_after_them(root: Path) -> None:
    whole = history(root)
    with opened(root) as queue:
        anchor = check(encoded(prove(queue, "a"))).anchor
        forget(queue, "a", "other0")
    archives = sorted((root / "archive").iterdir())
    archives[0].unlink()
    first = int(archives[1].name[:20])
    shown = check(encoded(proved(root)))
    assert not shown.begins
    assert shown.events[:-1] == [event for event in whole if event.offset >= first]
    with pytest.raises(QueuectlError, match=r"over events from 1 on"):
        proved(root, anchor=anchor)
    for path in archives[1:]:
        path.unlink()
    with pytest.raises(QueuectlError, match="nothing can be proved any more") as raised:
        proved(root, "other1")
    assert raised.value.exit_code == 1


def test_a_job_that_never_was(root: Path) -> None:
    with pytest.raises(NotFound):
        proved(root, "nobody")


# ---- what is changed


def same_or_found(data: bytes, shown: Shown) -> bool:
    """Whether a change was found; if it was not, it has changed nothing."""
    try:
        assert check(data) == shown
    except Disproved:
        return True
    return False


def test_every_byte_that_is_flipped_is_found_or_changes_nothing(root: Path) -> None:
    data = encoded(proved(root))
    shown = check(data)
    chance = random.Random(3)
    found = 0
    for position, byte in enumerate(data):
        for bit in {5, chance.randrange(8)}:
            changed = bytes([byte ^ 1 << bit])
            found += same_or_found(data[:position] + changed + data[position + 1 :], shown)
    assert found > len(data)


def test_a_file_that_was_cut_is_no_proof(root: Path) -> None:
    data = encoded(proved(root))
    for end in range(0, len(data), 7):
        with pytest.raises(Disproved):
            check(data[:end])
    for nothing in (b"", b"{}", b"null", b"[]", b"\xff", b'{"proof":1}'):
        with pytest.raises(Disproved):
            check(nothing)


Change = Callable[[Proof], dict[str, Any]]


def _event(at: int, old: str, new: str) -> Change:
    def change(proof: Proof) -> dict[str, Any]:
        events = list(proof.events)
        assert old in events[at].event
        text = events[at].event.replace(old, new, 1)
        events[at] = msgspec.structs.replace(events[at], event=text)
        return {"events": events}

    return change


def _path(at: int, change_path: Callable[[list[str]], list[str]]) -> Change:
    def change(proof: Proof) -> dict[str, Any]:
        events = list(proof.events)
        events[at] = msgspec.structs.replace(events[at], path=change_path(events[at].path))
        return {"events": events}

    return change


def _anchor(**changes: Any) -> Change:
    def change(proof: Proof) -> dict[str, Any]:
        return {"anchor": str(anchors.parse(proof.anchor)._replace(**changes))}

    return change


TAMPERED: dict[str, Change] = {
    "another command": _event(0, "echo", "rm -r"),
    "another exit code": _event(2, '"exit_code":3', '"exit_code":4'),
    "another time": _event(1, '"at":"2026', '"at":"2025'),
    "another offset": _event(0, '"offset":1', '"offset":2'),
    "no offset": _event(0, '"offset":1,', ""),
    "an event of a kind that there is not": _event(0, "job.enqueued", "job.included"),
    "what is no event": lambda proof: {"events": [Tied("{}", [])]},
    "what is no JSON": lambda proof: {"events": [Tied("", [])]},
    "an event of other types": _event(0, '"queue":"', '"queue":5,"q":"'),
    "two events for one": lambda proof: {
        "events": [
            Tied(f"{proof.events[0].event}\n{proof.events[1].event}", proof.events[0].path),
            *proof.events[2:],
        ]
    },
    "another job's event": lambda proof: {"job": "other0"},
    "the beginning of a path": _path(3, lambda path: path[:-1]),
    "a path that is too long": _path(3, lambda path: [*path, path[0]]),
    "two hashes of a path swapped": _path(3, lambda path: [path[1], path[0], *path[2:]]),
    "no hash in a path": _path(3, lambda path: ["xyz", *path[1:]]),
    "an event left out": lambda proof: {"events": [*proof.events[:3], *proof.events[4:]]},
    "the first left out, and what follows it": lambda proof: {
        "events": [proof.events[0], *proof.events[3:]]
    },
    "two events swapped": lambda proof: {
        "events": [*proof.events[:4], proof.events[5], proof.events[4], *proof.events[6:]]
    },
    "an event twice": lambda proof: {"events": [proof.events[0], *proof.events]},
    "the paths of two events swapped": lambda proof: {
        "events": [
            msgspec.structs.replace(proof.events[0], path=proof.events[1].path),
            *proof.events[1:],
        ]
    },
    "no events": lambda proof: {"events": []},
    "another root": _anchor(root=anchors.Root(1, "0" * 64)),
    "a root from elsewhere on": lambda proof: {"anchor": f"{proof.anchor} from 2"},
    "another head": lambda proof: {"anchor": proof.anchor.replace("head ", "head 1", 1)},
    "no root": _anchor(root=None),
    "no anchor": lambda proof: {"anchor": "head 1"},
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_is_changed_on_purpose_is_found(root: Path, how: str) -> None:
    proof = proved(root)
    assert check(resealed(proof)) == check(encoded(proof))
    with pytest.raises(Disproved) as raised:
        check(resealed(proof, **TAMPERED[how](proof)))
    assert raised.value.exit_code == 7


def test_one_of_another_log_is_not_taken_for_one_of_this(root: Path, tmp_path: Path) -> None:
    """What nothing in a proof by itself can tell: an anchor that was kept does."""
    kept = anchors.parse(proved(root).anchor)
    other = tmp_path / "other"
    (other / "log").mkdir(parents=True)
    with opened(other) as queue:
        queue.enqueue("rm -rf", id="a")
        while queue.log.head() < kept.head:
            queue.enqueue("true")
    forged = encoded(proved(other))
    assert check(forged).job == "a"
    with pytest.raises(Disproved, match="of another log"):
        check(forged, [kept])


def test_one_of_a_later_form_is_refused_with_advice(root: Path) -> None:
    with pytest.raises(Newer, match="newer queuectl"):
        check(resealed(proved(root), proof=2))
