"""Failures grouped by what is the same about them: a fold over runs; knows no storage."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from queuectl import instants
from queuectl.domain.fingerprint import Fingerprint, fingerprint, of_job
from queuectl.domain.job import Job
from queuectl.instants import Instant
from queuectl.projections.runs import FAILED, LOST, Run

_TURN = 1.5
"""Of two halves one has so many times as much as the other where something rises or falls."""


class Group:
    """All failures that have one fingerprint."""

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self.jobs: Counter[str] = Counter()
        """By job how often it failed so."""
        self.last_job = ""
        """The job that failed so last."""
        self._times_us = array("q")

    def add(self, job: str, at: Instant) -> None:
        self.jobs[job] += 1
        self.last_job = job
        self._times_us.append(instants.to_us(at))

    @property
    def count(self) -> int:
        """How many runs failed so."""
        return len(self._times_us)

    @property
    def first_at(self) -> Instant:
        return instants.from_us(self._times_us[0])

    @property
    def last_at(self) -> Instant:
        return instants.from_us(self._times_us[-1])

    def trend(self, since: Instant, until: Instant, slices: int) -> list[int]:
        """How many in each of so many equal parts of the time between."""
        first_us = instants.to_us(since)
        span_us = max(1, instants.to_us(until) - first_us)
        counts = [0] * slices
        for us in self._times_us:
            counts[min(max(0, (us - first_us) * slices // span_us), slices - 1)] += 1
        return counts


def direction(trend: Sequence[int]) -> str:
    """A trend in a word: `new`, `rising`, `steady`, `falling` or `stopped`.

    The later half is compared with the earlier one: `new` has nothing in that, and `stopped`
    nothing in the later one.
    """
    half = len(trend) // 2
    before, after = sum(trend[:half]), sum(trend[half:])
    if not before:
        return "new"
    if not after:
        return "stopped"
    if after >= before * _TURN:
        return "rising"
    return "falling" if before >= after * _TURN else "steady"


def grouped(pieces: Iterable[Iterable[Run]], since: Instant = "") -> list[Group]:
    """The groups of the runs that failed, or were lost with their workers, at `since` or later;
    those with the most failures first."""
    groups: dict[Fingerprint, Group] = {}
    for runs in pieces:
        for run in runs:
            if run.outcome not in (FAILED, LOST) or run.ended_at is None or run.ended_at < since:
                continue
            error = run.error if run.outcome == FAILED else run.reason
            found = fingerprint(run.command or "", run.exit_code, error or "")
            _group(groups, found).add(run.job, run.ended_at)
    return _largest_first(groups)


def of_jobs(jobs: Iterable[Job]) -> list[Group]:
    """The groups of the last failures of jobs, each of which has one; the largest first."""
    groups: dict[Fingerprint, Group] = {}
    for job in sorted(jobs, key=lambda job: job.updated_at):
        _group(groups, of_job(job)).add(job.id, job.updated_at)
    return _largest_first(groups)


def _group(groups: dict[Fingerprint, Group], found: Fingerprint) -> Group:
    group = groups.get(found)
    if group is None:
        group = groups[found] = Group(found)
    return group


def _largest_first(groups: dict[Fingerprint, Group]) -> list[Group]:
    return sorted(groups.values(), key=lambda group: (-group.count, group.fingerprint.id))
