"""All projections at one offset, kept on disk so that a start need not fold the whole log.

A cache and nothing more: deleted, stale, torn or from another version, it changes no answer. Laid
out so that one reads only what one needs: first the small things (settings, counts, statistics,
workers), then the jobs that are not over, and those that are, each findable by id. Jobs that are
over lie in several tables, the newest first; a new snapshot adds a small one and now and then
merges neighbours, so that its cost does not grow with history. Knows not how events are stored.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from zlib import crc32

import msgspec

from queuectl import __version__
from queuectl.domain.job import STATES, Job
from queuectl.domain.settings import Settings
from queuectl.engines import tables
from queuectl.engines.tables import Spoiled, Table
from queuectl.events.vocabulary import JobRedacting, LogCompacted
from queuectl.home import Home
from queuectl.host import Host
from queuectl.projections.workers import WorkerRow

FORMAT = 2
"""Rises whenever the meaning of what is kept changes."""
PAST = "head-"
"""Begins the name of the head of a snapshot of the past; what follows it begins with its offset."""
_HEAD_BYTES_MAX = 1 << 26
_LOADS_MAX = 5
_row_decoder = msgspec.json.Decoder(tuple[int, Job])


class Head(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything but the jobs."""

    format: int = FORMAT
    version: str = ""
    """The queuectl that made it: another one may fold otherwise."""
    offset: int
    """The last event that is in it."""
    bookmark: str
    """Where in the log to go on reading; only the engine knows what it says."""
    compactions: int
    """How often the log had been compacted when the fold began that led here."""
    settings: Settings
    paused: list[str]
    queues: dict[str, dict[str, int]]
    """Jobs by queue and state."""
    statistics: LogCompacted
    """As if nothing but this had happened so far."""
    redactions: list[JobRedacting]
    redacting: list[str]
    redacted: int
    workers: list[WorkerRow]
    held: list[str]
    """The ids of the jobs that workers hold."""
    live: str
    """The table of the jobs that are not over."""
    finished: list[str]
    """The tables of those that are, from the newest to the oldest."""
    lost: int = 0
    """Of one of the past: the last event whose original was not there to be folded in."""

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        return {state: sum(one[state] for one in self.queues.values()) for state in STATES}


_head_decoder = msgspec.json.Decoder(Head)


class Snapshot:
    """A snapshot to read from. Everything raises `Spoiled` where it is not as it was written."""

    def __init__(self, head: Head, directory: str, host: Host) -> None:
        self.head = head
        self.offset = head.offset
        # Opened at once: whoever makes the next snapshot removes their names.
        self._tables = [
            Table(host, os.path.join(directory, name)) for name in (head.live, *head.finished)
        ]

    def close(self) -> None:
        for table in self._tables:
            table.close()

    @property
    def live_table(self) -> Table:
        """The table of jobs that are not over."""
        return self._tables[0]

    @property
    def finished_tables(self) -> list[Table]:
        """The tables of jobs that are over, from the newest to the oldest."""
        return self._tables[1:]

    def find(self, id: str) -> Job | None:
        """The job with that id; None where there is none."""
        table, number = self._locate(id)
        return job_in(table, number) if number else None

    def began(self, id: str) -> int:
        """The offset that enqueued the job with that id; 0 where there is none."""
        return self._locate(id)[1]

    def _locate(self, id: str) -> tuple[Table, int]:
        """The table that has the job, and its number there; 0 where there is none."""
        for index, table in enumerate(self._tables):
            number = table.number(id)
            if number is not None:
                newer = self._tables[: index + 1]
                return table, 0 if any(number in one.gone for one in newer) else number
        return table, 0

    def ids(self, start: str, hidden: Collection[int]) -> Iterator[str]:
        """The ids that start so, but for jobs enqueued at one of the offsets in `hidden`."""
        gone: set[int] = set(hidden)
        for table in self._tables:
            gone |= table.gone
            for name, number in table.names(start):
                if not name.startswith(start):
                    break
                if number not in gone:
                    yield name

    def offsets(self, hidden: Collection[int]) -> Iterator[int]:
        """Of each job the offset that enqueued it, but for those in `hidden`."""
        gone: set[int] = set(hidden)
        for table in self._tables:
            gone |= table.gone
            yield from (number for number in table.numbers() if number not in gone)

    def live(self) -> Iterator[Job]:
        """The jobs that are not over, in the order they were enqueued."""
        for block in self.live_table.row_blocks():
            for _, job in _rows(block):
                yield _slim(job)

    def finished(
        self,
        states: Collection[str] = (),
        *,
        reverse: bool = False,
        beyond: int | None = None,
    ) -> Iterator[Job]:
        """The jobs that are over, in the order they were enqueued or the newest first; `states`
        may leave some out, and need not. Those that come after the offset `beyond`, if given."""
        marks = [b'"state":"%s"' % state.encode() for state in states]
        if not self.head.finished:
            return
        found = tables.merged(self.finished_tables, newest_first=reverse, beyond=beyond)
        for _, line in found:
            if line and (not marks or any(mark in line for mark in marks)):
                yield _rows(line)[0][1]


def job_in(table: Table, number: int) -> Job:
    """The job of that number, which is said to be there."""
    line = table.row(number)
    if line is None:
        raise Spoiled(f"{table.path}: job {number} is named and is not there")
    return _rows(line)[0][1]


def _slim(job: Job) -> Job:
    """The same, with what it has in common with its spec in memory once: of jobs that only wait,
    that is a sixth of all they take, and there may be many."""
    spec = job.spec
    if job.offset == spec.offset:
        job.offset = spec.offset
    if job.updated_at == spec.at:
        job.updated_at = spec.at
    if job.runnable_at == spec.at:
        job.runnable_at = spec.at
    return job


def _rows(data: bytes) -> list[tuple[int, Job]]:
    try:
        return _row_decoder.decode_lines(data)
    except msgspec.MsgspecError as error:
        raise Spoiled(f"a job cannot be read: {error}") from None


def head_path(home: Home) -> str:
    """Where the head of the newest one lies."""
    return os.path.join(home.snapshots, "HEAD")


def load(home: Home, host: Host) -> Snapshot | None:
    """The snapshot that lies there; None where there is none that can be used."""
    for _ in range(_LOADS_MAX):
        head = read_head(head_path(home), host)
        if head is None:
            return None
        try:
            return Snapshot(head, home.snapshots, host)
        except Spoiled:
            continue  # replaced by a newer one between two looks, it may be
    return None


def read_head(path: str, host: Host) -> Head | None:
    """What a published head says; None where there is none that can be used."""
    try:
        fd = host.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        data = host.read_at(fd, min(_HEAD_BYTES_MAX, host.size(fd)), 0)
    except OSError:
        return None
    finally:
        host.close(fd)
    checksum, _, text = data.partition(b"\n")
    if checksum != b"%08x" % crc32(text):
        return None
    try:
        head = _head_decoder.decode(text)
    except msgspec.MsgspecError:
        return None
    return head if head.format == FORMAT and head.version == __version__ else None
