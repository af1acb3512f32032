"""What is too long for a line is there before the line is, and as long as one names it."""

from __future__ import annotations

import errno
import shutil
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from compacting import Forget, header_of, segments
from conformance import batch, everything
from filelogs import FileLog
from hosts import FaultyHost, Killed, Untroubled

from queuectl.engines.file import compaction
from queuectl.engines.file.sweeping import sweep
from queuectl.engines.file.verify import verify
from queuectl.errors import LockTimedOut, Newer, NoSpace, PayloadLost, QueuectlError
from queuectl.events import codec
from queuectl.events.log import Batch
from queuectl.events.vocabulary import JobEnqueued
from queuectl.host import Host

TEXTS = [b'"%s"' % (letter * 20_000) for letter in (b"x", b"y")]
HASHES = [sha256(text).hexdigest() for text in TEXTS]


def opened(root: Path, host: Host | None = None, **options: Any) -> FileLog:
    options = {"segment_bytes_max": 1400, "lock_timeout_s": 0.2, **options}
    places = {name: str(root / name) for name in ("archive", "payloads")}
    return FileLog(str(root / "log"), host or Untroubled(), **places, **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path


def naming(job: str, *hashes: str) -> Batch:
    names = [f"command={digest}" for digest in hashes]
    return Batch([JobEnqueued(job=job, command="x", payloads=names)], format=2)


def keep(log: FileLog, job: str = "a", texts: list[bytes] = TEXTS) -> None:
    with log.keeping(texts):
        log.append([naming(job, *(sha256(text).hexdigest() for text in texts))])


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "payloads").iterdir() if path.name != "LOCK")


# ---- keeping and reading


def test_it_can_be_read_by_anybody_and_is_private(root: Path) -> None:
    keep(opened(root))
    assert [opened(root).kept(digest) for digest in HASHES] == TEXTS
    assert names(root) == sorted(HASHES)
    assert (root / "payloads").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (root / "payloads").iterdir())
    keep(opened(root), "b")
    assert names(root) == sorted(HASHES), "the same once"


@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "empty"])
def test_what_is_not_what_it_was_is_never_given(root: Path, how: str) -> None:
    keep(opened(root))
    path = root / "payloads" / HASHES[0]
    data = path.read_bytes()
    changed = {"cut": data[:-1], "flipped": data.replace(b"x", b"X", 1), "empty": b""}
    path.unlink() if how == "gone" else path.write_bytes(changed[how])
    with pytest.raises(PayloadLost, match=str(path)):
        opened(root).kept(HASHES[0])
    with pytest.raises(PayloadLost) as raised:
        verify(opened(root))
    assert raised.value.exit_code == 7
    keep(opened(root), "b")
    assert opened(root).kept(HASHES[0]) == TEXTS[0], "who keeps it again makes it anew"


def test_every_name_is_verified_also_in_the_archive(root: Path) -> None:
    log = opened(root)
    keep(log)
    for letter in "cdefgh":
        log.append([batch(*letter * 9)])
    list(compaction.compact(log, Forget("a"), until=1 << 40))
    assert b"payloads" not in b"".join(path.read_bytes() for path in segments(root))
    verify(opened(root))
    (root / "payloads" / HASHES[1]).unlink()
    with pytest.raises(PayloadLost):
        verify(opened(root))


class Tracked(Untroubled):
    """Tells in which order things become durable."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.paths: dict[int, str] = {}

    def create(self, path: str) -> int:
        fd = super().create(path)
        self.paths[fd] = path
        return fd

    def rename(self, old: str, new: str) -> None:  # type: ignore[override]
        self.told.append(f"rename {Path(new).parent.name}")
        Host.rename(old, new)

    def fsync(self, fd: int) -> None:  # type: ignore[override]
        self.told.append(f"fsync {Path(self.paths.get(fd, '')).parent.name}")

    def fdatasync(self, fd: int) -> None:  # type: ignore[override]
        self.told.append("fdatasync")

    def sync_directory(self, path: str) -> None:
        self.told.append(f"sync {Path(path).name}")


@pytest.mark.parametrize("is_there", [False, True])
def test_it_is_durable_before_the_line_that_names_it(root: Path, is_there: bool) -> None:
    host = Tracked()
    if is_there:  # made by somebody who died before that was durable
        (root / "payloads").mkdir(mode=0o700)
    log = opened(root, host)
    log.append([batch("z")])
    host.told.clear()
    keep(log, texts=TEXTS[:1])
    *before, last = host.told
    assert last == "fdatasync", "that of the append"
    assert before[:3] == [f"sync {root.name}", "fsync payloads", "rename payloads"]
    assert before[3] == "sync payloads"


@pytest.mark.parametrize("fault", [Killed, lambda: OSError(errno.EIO, "EIO")])
def test_a_fault_at_any_call_leaves_no_line_that_names_what_is_not_there(
    tmp_path: Path, fault: Any
) -> None:
    for number in range(100):
        root = tmp_path / str(number)
        (root / "log").mkdir(parents=True)
        opened(root).append([batch("z")])
        host = FaultyHost()
        log = opened(root, host)
        host.watch(lambda at, _, number=number: fault() if at == number else None)  # type: ignore[misc]
        try:
            keep(log)
        except (Killed, OSError, QueuectlError):
            pass
        faulted = len(host.calls) > number
        try:
            opened(root).append([batch("y")])  # so that what was written counts
            verify(opened(root))
            sweep(opened(root))
            verify(opened(root))
        except QueuectlError as error:
            raise AssertionError(host.calls[: number + 1]) from error
        named = [event for event in everything(opened(root)) if getattr(event, "payloads", None)]
        assert names(root) == (sorted(HASHES) if named else []), host.calls[: number + 1]
        if not faulted:
            break
    assert named


def test_a_full_disk_refuses_and_leaves_nothing(root: Path) -> None:
    host = FaultyHost()
    log = opened(root, host)
    log.append([batch("z")])
    before = segments(root)[0].read_bytes()
    host.fail("write", OSError(errno.ENOSPC, "full"))
    with pytest.raises(NoSpace):
        keep(log)
    assert names(root) == []
    assert segments(root)[0].read_bytes() == before


# ---- the format


def test_only_a_segment_that_may_name_some_has_the_second_format(root: Path) -> None:
    log = opened(root)
    log.append([batch("z")])
    assert [header_of(path).format for path in segments(root)] == [1]
    keep(log)
    assert [header_of(path).format for path in segments(root)] == [1, 2]
    for letter in "bcdefghij":
        log.append([batch(*letter * 9)])
    formats = [header_of(path).format for path in segments(root)]
    assert formats == [1] + [2] * (len(formats) - 1), "and those that follow it"
    keep(log, "k")
    verify(opened(root))


def test_the_first_segment_of_all_has_it_from_its_first_line_on(root: Path) -> None:
    other = opened(root)
    log = opened(root)
    keep(log)
    assert [header_of(path).format for path in segments(root)] == [2]
    assert len(everything(other)) == 1
    other.append([batch("b")])
    verify(log)


def test_one_in_which_nothing_stands_yet_is_made_anew(root: Path) -> None:
    log, other = opened(root), opened(root)
    log.append([batch("a")])
    assert len(everything(other)) == 1
    log.seal()
    keep(log)
    assert [header_of(path).format for path in segments(root)] == [1, 2]
    assert len(everything(other)) == 2
    other.append([batch("c")])
    assert len(everything(log)) == 3
    verify(opened(root))


def test_who_reads_only_the_first_format_refuses(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(root)
    log.append([batch("z")])
    keep(log)
    monkeypatch.setattr(codec, "FORMAT_MAX", 1)
    with pytest.raises(Newer, match="use a newer queuectl"):
        everything(opened(root))


def test_segments_that_become_one_have_the_higher_format(root: Path) -> None:
    log = opened(root, segment_bytes_max=100_000)
    for letter in "bcdg":
        log.append([batch(*letter * 9, "a")])
        log.seal()
    with log.keeping(TEXTS):
        log.append([naming("a", *HASHES), batch(*"b" * 9)])
    log.seal()
    log.append([batch("z")])
    list(compaction.compact(log, Forget(), until=1 << 40))
    assert [header_of(path).format for path in segments(root)] == [2, 2]
    assert header_of(segments(root)[0]).covers == 50
    verify(opened(root))


# ---- lines


def test_no_line_is_longer_than_it_may_be(root: Path) -> None:
    fits = "x" * (codec.FACT_BYTES_MAX - len(codec.encode(JobEnqueued(job="a", command=""))) - 13)
    log = opened(root)
    log.append([Batch([JobEnqueued(job="a", command=fits)])])
    with pytest.raises(QueuectlError, match="make it shorter"):
        log.append([Batch([JobEnqueued(job="a", command=f"{fits}x")])])
    (segment,) = segments(root)
    assert max(map(len, segment.read_bytes().splitlines(keepends=True))) <= codec.LINE_BYTES_MAX


def test_the_longer_lines_of_earlier_versions_can_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "FACT_BYTES_MAX", 1 << 20)
    log = opened(root)
    log.append([Batch([JobEnqueued(job="a", command="x" * 500_000)])])
    bookmark = log.bookmark() if everything(log) else ""
    monkeypatch.undo()
    assert len(everything(opened(root))) == 1
    assert opened(root).holds(bookmark)
    verify(opened(root))


# ---- sweeping


def test_only_what_nothing_names_goes(root: Path) -> None:
    log = opened(root)
    keep(log, texts=TEXTS[:1])
    with log.keeping(TEXTS[1:]):
        pass  # whoever kept it died before they could append
    (root / "payloads" / "new-0123").write_bytes(b"half")
    (root / "payloads" / "notes.txt").write_bytes(b"of somebody")
    assert sweep(opened(root)) == [str(root / "payloads" / HASHES[1])]
    assert names(root) == sorted([HASHES[0], "notes.txt"])
    assert sweep(opened(root)) == []
    shutil.rmtree(root / "payloads")
    assert sweep(opened(root)) == []


def test_text_that_looks_like_a_name_is_none(root: Path) -> None:
    log = opened(root)
    with log.keeping(TEXTS[:1]):
        text = f'"payloads":["command={HASHES[0]}"]'
        log.append([Batch([JobEnqueued(job="a", command=text)])])
    assert len(sweep(opened(root))) == 1


def test_nobody_removes_what_somebody_is_about_to_name(root: Path) -> None:
    log = opened(root)
    log.append([batch("z")])
    with log.keeping(TEXTS):
        with pytest.raises(LockTimedOut):
            sweep(opened(root))
        with pytest.raises(LockTimedOut), opened(root).keeping(TEXTS):
            pass
        log.append([naming("a", *HASHES)])
    assert sweep(opened(root)) == []
    assert names(root) == sorted(HASHES)


def test_what_is_named_while_it_looks_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(root)
    log.append([batch("z")])
    sweeping = opened(root, lock_timeout_s=30)
    appended = threading.Event()

    class Late(Untroubled):
        """Somebody names one between the look at the log and the lock."""

        def hold(self, path: str) -> int | None:
            if not appended.is_set() and path.endswith("payloads/LOCK"):
                appended.set()
                keep(opened(root))
            return super().hold(path)

    with opened(root).keeping(TEXTS):
        pass
    monkeypatch.setattr(sweeping, "host", Late())
    monkeypatch.setattr(sweeping.payloads, "_host", Late())
    assert sweep(sweeping) == []
    assert appended.is_set()
    assert names(root) == sorted(HASHES)
