"""Bugs that are planted on purpose: each must be caught, or the simulation proves nothing.

Each is a context manager that breaks one rule of the code while it is entered; only tests can do
that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from host import SimulatedHost

from queuectl.domain import decide
from queuectl.domain.job import Job
from queuectl.engines.file import compaction, cursors, log, recovery, sweeping
from queuectl.engines.file.archive import Archive
from queuectl.engines.file.log import FileLog
from queuectl.engines.file.mark import Mark
from queuectl.engines.file.redaction import Redaction
from queuectl.engines.file.segments import Segments
from queuectl.engines.tables import Table
from queuectl.events import codec
from queuectl.events.vocabulary import Event
from queuectl.projections.obsolescence import Obsolescence
from queuectl.projections.state import State
from queuectl.projections.workers import WorkerRow
from queuectl.runtime import clearing, redacting
from queuectl.runtime.upkeep import Upkeep

Bug = Callable[[], AbstractContextManager[Any]]


def no_file_sync() -> AbstractContextManager[Any]:
    """Bytes are acknowledged that are not durable."""

    def nothing(self: SimulatedHost, fd: int) -> None:
        self._step("fdatasync", fd)

    return patch.multiple(SimulatedHost, fdatasync=nothing, fsync=nothing)


def no_directory_sync() -> AbstractContextManager[Any]:
    """Files are trusted whose names are not durable."""

    def nothing(self: SimulatedHost, path: str) -> None:
        self._step("sync_directory", path)

    return patch.object(SimulatedHost, "sync_directory", nothing)


def truncate_in_recovery() -> AbstractContextManager[Any]:
    """What is not accepted is cut off, and the same file is appended to."""

    def mend(segments: Segments, first: int, fd: int, end: int, size: int, reserve: int) -> int:
        segments._host.truncate(fd, end)
        segments.sync(segments._host.fdatasync, fd)
        return segments.open(first, write=True)

    return patch.object(recovery, "mend", mend)


def rewrite_in_place() -> AbstractContextManager[Any]:
    """What is accepted is written once more, into the file that nobody may believe."""

    def mend(segments: Segments, first: int, fd: int, end: int, size: int, reserve: int) -> int:
        content = segments.read(fd, 0, end)
        segments._host.truncate(fd, 0)
        segments._host.write_all(fd, content)
        segments.sync(segments._host.fdatasync, fd)
        return segments.open(first, write=True)

    return patch.object(recovery, "mend", mend)


def doubtful_bytes_built_upon() -> AbstractContextManager[Any]:
    """Bytes behind the mark that verify are taken for durable, and written behind."""

    def mend(segments: Segments, first: int, fd: int, end: int, size: int, reserve: int) -> int:
        if end == size:
            return segments.open(first, write=True)
        return right(segments, first, fd, end, size, reserve)

    right = recovery.mend
    return patch.object(recovery, "mend", mend)


def unstored_bytes_believed() -> AbstractContextManager[Any]:
    """After a restart, whatever can be read is taken for durable."""
    return patch.object(Segments, "settle", lambda self, first: None)


def crc_unchecked() -> AbstractContextManager[Any]:
    """Lines are believed as they stand."""

    def decode(data: bytes, crc: int) -> tuple[list[Event], int]:
        last = data.split(b"\n")[-2:][0]
        return codec.decode_unverified(data), int(last[8:16], 16) if last else crc

    both = ExitStack()
    both.enter_context(patch.object(codec, "decode", decode))
    both.enter_context(patch.object(recovery, "decode", decode))
    return both


def short_write_ignored() -> AbstractContextManager[Any]:
    """What a write could not store is taken for stored."""

    def write_durably(self: FileLog, fd: int, mark: Mark, data: bytes) -> None:
        self.host.write(fd, data)
        self.segments.sync(self.host.fdatasync, fd)

    return patch.object(FileLog, "_write_durably", write_durably)


def cut_not_synced() -> AbstractContextManager[Any]:
    """A short write is cut back, and the next one goes over it at once."""

    def write_durably(self: FileLog, fd: int, mark: Mark, data: bytes) -> None:
        if self.host.write(fd, data) < len(data):
            self.host.truncate(fd, mark.position)
            raise self._no_space()
        self.segments.sync(self.host.fdatasync, fd)

    return patch.object(FileLog, "_write_durably", write_durably)


def lock_not_taken() -> AbstractContextManager[Any]:
    """Everybody appends at once."""

    def lock(self: SimulatedHost, fd: int, timeout_s: float) -> bool:
        self._step("lock", fd)
        return True

    return patch.object(SimulatedHost, "lock", lock)


def mark_not_written() -> AbstractContextManager[Any]:
    """Readers take for durable whatever can be read."""

    def move_mark(self: FileLog, mark: Mark) -> None:
        self._mark = self._recorded = mark

    return patch.object(FileLog, "_move_mark", move_mark)


def sync_tried_again() -> AbstractContextManager[Any]:
    """A failed sync is tried again and then believed."""

    def sync(self: Segments, sync: Callable[[Any], None], what: int | str) -> None:
        try:
            sync(what)
        except OSError:
            sync(what)

    return patch.object(Segments, "sync", sync)


def no_doubt() -> AbstractContextManager[Any]:
    """Who saw a sync fail stops, but tells nobody."""
    return patch.object(log, "DOUBT", log.OK)


def no_fencing() -> AbstractContextManager[Any]:
    """Whoever ran a job may say how it ended, whatever has become of it since."""
    return patch.object(decide, "_holds", lambda job, token: job.held)


def stale_lease_revived() -> AbstractContextManager[Any]:
    """A lease that has run out counts again as long as nobody else has taken the job."""

    def holds(job: Job, token: int) -> bool:
        return job.token == token

    return patch.object(decide, "_holds", holds)


def second_runner() -> AbstractContextManager[Any]:
    """Jobs are taken over without ending what is left of their runs."""

    def end_processes(self: Upkeep, row: WorkerRow, jobs: list[Job]) -> list[Job]:
        return jobs

    return patch.object(Upkeep, "_end_processes", end_processes)


def escaped_processes_forgotten() -> AbstractContextManager[Any]:
    """Only the process group of a run is ended, not what has left it."""
    return patch.object(SimulatedHost, "_is_marked", lambda self, process, markers, paths: False)


def nobody_takes_over() -> AbstractContextManager[Any]:
    """The jobs of a dead worker stay its own."""
    return patch.object(Upkeep, "take_over", lambda self: [])


def compaction_before_the_archive() -> AbstractContextManager[Any]:
    """Events leave the log without having been kept."""
    return patch.object(Archive, "keep", lambda self, first, pieces, sha256: 0)


def archive_not_synced() -> AbstractContextManager[Any]:
    """Events leave the log before what was kept of them is durable."""
    return patch.object(Archive, "sync", lambda self, sync, what: None)


def sources_removed_first() -> AbstractContextManager[Any]:
    """Segments are gone before the one that stands for them is there."""

    def put(log: FileLog, first: int, content: Iterable[bytes]) -> int:
        whole = [*content]
        log.segments.remove([first])
        return right(log, first, whole)

    right = compaction.put
    return patch.object(compaction, "put", put)


def cursors_ignored() -> AbstractContextManager[Any]:
    """Events leave the log that somebody has yet to read."""
    return patch.object(cursors, "least", lambda *_, **__: None)


def ended_jobs_forgotten() -> AbstractContextManager[Any]:
    """Events of jobs leave the log that nobody has purged."""

    def begin(self: Obsolescence, state: State, without: Collection[int]) -> None:
        right(self, state, without)
        for job in state.jobs.select():
            if not job.live:
                self._begins[job.spec.offset] = 0

    right = Obsolescence.__init__
    return patch.object(Obsolescence, "__init__", begin)


def output_of_ended_jobs_deleted() -> AbstractContextManager[Any]:
    """What jobs have printed is deleted as soon as they have ended."""

    def is_gone(state: State, id: str, token: int, without: object) -> bool:
        job = state.jobs.get(id)
        return job is None or not job.live

    return patch.object(clearing, "is_gone", is_gone)


def spoiled_snapshots_believed() -> AbstractContextManager[Any]:
    """Snapshots are taken as they stand."""

    def read(self: Table, position: int, size: int, crc: int) -> bytes:
        return self._host.read_at(self._fd, size, position)

    return patch.object(Table, "_read", read)


def archive_not_redacted() -> AbstractContextManager[Any]:
    """What is taken out of the log stays in its archive."""
    return patch.object(Redaction, "_in_archive", lambda self: iter(()))


def snapshots_not_redacted() -> AbstractContextManager[Any]:
    """Snapshots stay that know what was taken out of the log."""
    return patch.object(redacting, "_drop_snapshots", lambda directory, host: None)


def payloads_removed_that_are_named() -> AbstractContextManager[Any]:
    """What was too long for a line goes, as if no line named it."""
    return patch.object(sweeping, "named_in", lambda lines: set())


_DISK = ("error", "kill", "power", "short")
BUGS: dict[Bug, tuple[str, ...] | None] = {
    no_file_sync: _DISK,
    no_directory_sync: _DISK,
    truncate_in_recovery: _DISK,
    rewrite_in_place: _DISK,
    doubtful_bytes_built_upon: _DISK,
    unstored_bytes_believed: ("kill", "power"),
    crc_unchecked: _DISK,
    short_write_ignored: _DISK,
    cut_not_synced: ("short", "power"),
    lock_not_taken: _DISK,
    mark_not_written: _DISK,
    sync_tried_again: ("error", "power"),
    no_doubt: ("error", "power"),
    no_fencing: None,
    stale_lease_revived: None,
    second_runner: None,
    escaped_processes_forgotten: None,
    nobody_takes_over: None,
    compaction_before_the_archive: None,
    archive_not_synced: None,
    sources_removed_first: None,
    cursors_ignored: None,
    ended_jobs_forgotten: None,
    output_of_ended_jobs_deleted: None,
    spoiled_snapshots_believed: None,
    archive_not_redacted: None,
    snapshots_not_redacted: None,
    payloads_removed_that_are_named: None,
}
"""Each with the storm that brings it out soonest; None for the ordinary mixture."""
