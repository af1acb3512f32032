"""Deleting what jobs have printed, once there are no such jobs any more.

It looks at what lies there, and not at what was done before: whatever was cut short is finished by
the next one.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from queuectl.home import OUTPUT_RUNS
from queuectl.jobqueue import Queue
from queuectl.projections.state import State


class Cleared(NamedTuple):
    """What was deleted, or would be."""

    files: int
    bytes: int


def clear(queue: Queue, *, without: Collection[int] = (), dry_run: bool = False) -> Cleared:
    """Delete the output of jobs that were forgotten or purged.

    The jobs that were enqueued at the offsets in `without` are taken for forgotten. Raises
    `OSError`; what was deleted by then stays so.
    """
    clearing = _Clearing(queue, frozenset(without), dry_run)
    for name in queue.host.names(queue.home.output):
        if name.isdecimal():
            clearing.clear_directory(int(name))
    return Cleared(clearing.files, clearing.bytes)


class _Clearing:
    def __init__(self, queue: Queue, without: frozenset[int], dry_run: bool) -> None:
        self._host = queue.host
        self._home = queue.home
        self._state = queue.state
        self._without = without
        self._dry_run = dry_run
        workers = self._state.workers.rows.values()
        self._busy = {token // OUTPUT_RUNS for row in workers for token in row.holding}
        """Where a run may be about to make its files."""
        self.files = 0
        self.bytes = 0

    def clear_directory(self, number: int) -> None:
        first = number * OUTPUT_RUNS
        if first > self._state.offset:
            return
        directory = self._home.output_directory(first)
        names = self._host.names(directory)
        left = len(names)
        for run, files in self._by_run(names, number).items():
            if is_gone(self._state, *run, self._without):
                for name in files:
                    self._delete(os.path.join(directory, name))
                left -= len(files)
        is_over = first + OUTPUT_RUNS <= self._state.offset and number not in self._busy
        if is_over and not left and not self._dry_run:
            with suppress(OSError):  # something has come meanwhile, or somebody else was faster
                self._host.remove_directory(directory)

    def _by_run(self, names: list[str], number: int) -> dict[tuple[str, int], list[str]]:
        """The output files among some in one directory."""
        runs: dict[tuple[str, int], list[str]] = {}
        for name in names:
            run = self._home.run_of(name)
            if run is not None and run[1] // OUTPUT_RUNS == number:
                runs.setdefault(run, []).append(name)
        return runs

    def _delete(self, path: str) -> None:
        size = self._host.file_size(path)
        if not self._dry_run:
            try:
                self._host.unlink(path)
            except FileNotFoundError:
                return
        self.files += 1
        self.bytes += size


def is_gone(state: State, job: str, token: int, without: Collection[int] = ()) -> bool:
    """Whether there is no job any more that had that run."""
    if token > state.offset:
        return False  # it has begun since
    began = state.jobs.began(job)
    # The id may have been given to another job since.
    return not 0 < began < token or began in without
