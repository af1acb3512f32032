"""The tree over the lines of a log: the same whatever became of the files, as far as it goes."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from compacting import SIZE, archived, compacted, header_of, segments, write
from conformance import batch
from filelogs import FileLog
from hosts import Untroubled

from queuectl.engines.file import anchors, shelf
from queuectl.engines.file.anchors import Anchor
from queuectl.engines.file.evidence import Evidence, Root
from queuectl.engines.file.repair import repairing
from queuectl.engines.file.verify import Unaudited, verify
from queuectl.errors import Disproved, QueuectlError
from queuectl.events import codec, merkle
from queuectl.events.vocabulary import Event, JobEvent


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_READ_BYTES", 500)


def opened(root: Path) -> FileLog:
    return FileLog(
        str(root / "log"), Untroubled(), segment_bytes_max=SIZE, archive=str(root / "archive")
    )


def seen(root: Path, evidence: Evidence | None = None) -> Evidence:
    evidence = evidence or Evidence()
    verify(opened(root), Unaudited, evidence=lambda: evidence)
    return evidence


def lines(root: Path) -> list[bytes]:
    """The bodies of all events that stand in the log."""
    return [
        line[codec.BODY :]
        for path in segments(root)
        for line in path.read_bytes().split(b"\n")[1:-1]
    ]


def root_of(bodies: list[bytes]) -> str:
    tree = merkle.Tree()
    tree.extend([merkle.leaf(body) for body in bodies])
    return tree.root().hex()


def test_it_goes_over_every_line_and_does_not_change_with_compaction(tmp_path: Path) -> None:
    write(tmp_path)
    bodies = lines(tmp_path)
    assert len(bodies) > 60
    heads = [1, 7, 40, len(bodies)]
    for _ in range(2):
        evidence = seen(tmp_path, Evidence(heads=heads))
        for head in heads:
            assert evidence.roots[head] == Root(1, root_of(bodies[:head]))
        assert evidence.root() == evidence.roots[len(bodies)]
        compacted(tmp_path, until=60)
    assert archived(tmp_path)


def test_it_begins_after_the_last_original_that_is_gone(tmp_path: Path) -> None:
    write(tmp_path)
    bodies = lines(tmp_path)
    compacted(tmp_path, until=60)
    compacted_to = max(header_of(path).covers for path in segments(tmp_path))
    archives = sorted((tmp_path / "archive").iterdir())
    for path, following in pairwise([*archives, None]):
        assert path is not None
        path.unlink()
        first = int(following.name[:20]) if following else compacted_to + 1
        evidence = seen(tmp_path, Evidence(heads=[first - 1, first]))
        assert evidence.root() == Root(first, root_of(bodies[first - 1 :]))
        assert evidence.roots == {first: Root(first, root_of([bodies[first - 1]]))}


def test_events_that_are_lost_are_not_in_it(tmp_path: Path) -> None:
    write(tmp_path)
    bodies = lines(tmp_path)
    for path in segments(tmp_path)[-1:]:
        path.write_bytes(path.read_bytes().replace(b"enqueued", b"enquoued", 1))
    log = opened(tmp_path)
    with repairing(log) as repair:
        plan = repair.plan("ann@host1")
        repair.carry_out(plan)
    ((_, lost),) = plan.mendings[0].lost
    evidence = seen(tmp_path)
    assert evidence.root() == Root(lost + 1, root_of(bodies[lost:]))


def test_an_empty_log_has_none(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    assert seen(tmp_path).root() is None


def test_what_was_wanted_is_tied_to_the_root(tmp_path: Path) -> None:
    write(tmp_path)
    bodies = lines(tmp_path)
    compacted(tmp_path, until=60)

    def wanted(event: Event) -> bool:
        return isinstance(event, JobEvent) and event.job == "k"

    for until in (None, len(bodies), 50, 20, 1):
        last = until or len(bodies)
        evidence = seen(tmp_path, Evidence(wanted, until=until or float("inf")))
        root = evidence.root()
        assert root == Root(1, root_of(bodies[:last]))
        traced = {one.event.offset: one for one in evidence.traced}
        about = [at for at, body in enumerate(bodies[:last], 1) if b'"job":"k"' in body]
        assert list(traced) == about
        for offset, one in traced.items():
            assert one.body == bodies[offset - 1]
            found = merkle.root_above(merkle.leaf(one.body), offset - 1, last, one.path)
            assert found.hex() == root.hash


# ---- anchors that carry it


def anchor(root: Path) -> Anchor:
    report = verify(opened(root))
    return Anchor(report.head, report.crc, report.sha256, report.evidence.root())


def prove(root: Path, kept: Anchor) -> None:
    anchors.prove(opened(root), kept, seen(root, Evidence(heads=[kept.head])).roots[kept.head])


def test_an_anchor_carries_it_and_it_is_compared(tmp_path: Path) -> None:
    write(tmp_path)
    kept = anchor(tmp_path)
    assert anchors.parse(str(kept)) == kept
    assert kept.root is not None and str(kept).endswith(f" root {kept.root.hash}")
    opened(tmp_path).append([batch("z")])
    compacted(tmp_path)
    prove(tmp_path, kept)
    prove(tmp_path, kept._replace(root=None))
    with pytest.raises(Disproved, match="not what the anchor says"):
        prove(tmp_path, kept._replace(root=Root(1, "0" * 64)))
    with pytest.raises(Disproved):
        prove(tmp_path, kept._replace(sha256="0" * 64))


def test_one_that_begins_elsewhere_says_nothing_against_it(tmp_path: Path) -> None:
    write(tmp_path)
    old = anchor(tmp_path)
    compacted(tmp_path, until=60)
    archives = sorted((tmp_path / "archive").iterdir())
    archives[0].unlink()
    kept = anchor(tmp_path)
    assert kept.root is not None and kept.root.first == int(archives[1].name[:20])
    assert anchors.parse(str(kept)) == kept
    assert str(kept).endswith(f" from {kept.root.first}")
    prove(tmp_path, kept)
    prove(tmp_path, old)
    shutil.rmtree(tmp_path / "archive")
    prove(tmp_path, kept)


def test_where_only_the_root_is_left_it_is_enough(tmp_path: Path) -> None:
    write(tmp_path)
    kept = anchor(tmp_path)
    log = opened(tmp_path)
    log.append([batch(*"zzzzzzzzzz")])
    log.append([batch("y")])
    compacted(tmp_path)
    root = seen(tmp_path, Evidence(heads=[kept.head])).roots[kept.head]
    shutil.rmtree(tmp_path / "archive")
    anchors.prove(opened(tmp_path), kept, root)
    with pytest.raises(Disproved):
        anchors.prove(opened(tmp_path), kept, root._replace(hash="0" * 64))
    with pytest.raises(QueuectlError, match="cannot be told") as raised:
        anchors.prove(opened(tmp_path), kept)
    assert raised.value.exit_code == 1


@pytest.mark.parametrize(
    "end", [" root 12", " root {0} from", " from 3", " root {0} from x", " {0}"]
)
def test_a_wrong_end_makes_it_no_anchor(end: str) -> None:
    line = f"head 1 crc {'0' * 8} sha256 {'0' * 64}" + end.format("0" * 64)
    with pytest.raises(QueuectlError, match="is no anchor"):
        anchors.parse(line)
