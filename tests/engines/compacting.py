"""What compaction tests share: a log with jobs to forget, and what must be the same afterwards."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from conformance import batch, everything
from filelogs import FileLog
from hosts import Untroubled
from msgspec.structs import replace

from queuectl.engines.file.compaction import Rewriting, compact
from queuectl.events import codec
from queuectl.events.log import Batch
from queuectl.events.vocabulary import Event, JobCompleted, JobEnqueued, LogCompacted
from queuectl.host import Host

SIZE = 1400
"""Of a segment, in bytes: some ten events."""
JOBS = "abcdefghiklmn"
FORGOTTEN = frozenset("bcdgk")


class Forget:
    """Forgets the jobs of some names."""

    forgotten = 0

    def __init__(self, jobs: Iterable[str] = FORGOTTEN, known: int = 1 << 40) -> None:
        self.jobs = frozenset(jobs)
        self.known = known
        self.stayed: list[int] = []

    def going(self, events: Sequence[Event]) -> list[bool]:
        return [getattr(event, "job", "") in self.jobs for event in events]

    def stay(self, events: Iterable[Event]) -> None:
        self.stayed += [event.offset for event in events]

    def summary(self, events: Sequence[Event]) -> LogCompacted:
        parts = [event for event in events if isinstance(event, LogCompacted)]
        return LogCompacted(
            events=len(events) - len(parts) + sum(part.events for part in parts),
            enqueued=sum(isinstance(event, JobEnqueued) for event in events)
            + sum(part.enqueued for part in parts),
        )


def write(root: Path) -> list[Path]:
    """A log of some segments under `root`, the first ones with more to forget; returns them."""
    (root / "log").mkdir(parents=True)
    host = Untroubled()
    log = FileLog(str(root / "log"), host, segment_bytes_max=SIZE)
    for names in ("abcd", "bcdgk", "b", "kgg", "bdbd", "ea", "gfk", "aef", "ahib", "lmnc", "ace"):
        log.append([batch(*names)])
        host.advance(1)
        log.append([Batch([JobCompleted(job=job, run_ms=7) for job in names[:3]]), batch("k")])
    log.close()
    return segments(root)


def opened(root: Path) -> FileLog:
    """The log under `root` with its archive."""
    return FileLog(str(root / "log"), Untroubled(), archive=str(root / "archive"))


def segments(root: Path) -> list[Path]:
    return sorted((root / "log").glob("[0-9]*.jsonl"))


def compacted(
    root: Path, host: Host | None = None, forget: Forget | None = None, **options: Any
) -> list[Rewriting]:
    """Compact the log under `root`, with everything but `options` as it is."""
    host = host or Untroubled()
    size = options.pop("size", SIZE)
    log = FileLog(str(root / "log"), host, segment_bytes_max=size, archive=str(root / "archive"))
    until = options.pop("until", 1 << 40)
    try:
        return list(compact(log, forget or Forget(), until=until, **options))
    finally:
        log.close()


def header_of(path: Path) -> codec.Header:
    """The first line of a segment."""
    return codec.decode_header(path.read_bytes().partition(b"\n")[0])[0]


def events(root: Path) -> list[Event]:
    return everything(FileLog(str(root / "log"), Untroubled()))


def answers(found: Iterable[Event]) -> tuple[list[Event], int]:
    """What must not change: the events of the jobs that stay, and how many there were."""
    kept: list[Event] = []
    count = 0
    for event in found:
        if isinstance(event, LogCompacted):
            count += event.enqueued
            continue
        count += isinstance(event, JobEnqueued)
        if getattr(event, "job", "") not in FORGOTTEN:
            kept.append(event)
    return kept, count


def archived(root: Path) -> dict[str, bytes]:
    """The originals in the archive, by their names in the log."""
    return {
        path.name.removesuffix(".gz"): gzip.decompress(path.read_bytes())
        for path in (root / "archive").glob("[0-9]*")
    }


def spoil(archive: Path, how: str) -> None:
    """Damage a file of the archive."""
    data = archive.read_bytes()
    middle = len(data) // 2
    changed = {
        "cut": data[:middle],
        "empty": b"",
        "bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "more": data + b"x",
        "no gzip": b"x" * len(data),
    }
    archive.write_bytes(changed[how])


def forge(path: Path, edit: Callable[[list[bytes]], None], **header: Any) -> None:
    """Change a segment as somebody does who makes every checksum in it right again."""
    first, *lines = path.read_bytes().split(b"\n")[:-1]
    bodies = [line[codec.BODY :] for line in lines]
    edit(bodies)
    start, crc = codec.frame_header(replace(codec.decode_header(first)[0], **header))
    path.write_bytes(start + codec.rechain(bodies, crc)[0])
