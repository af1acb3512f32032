"""Dead letters: what died of the same thing stands together, and can be retried together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from queuectl.domain.fingerprint import of_job
from queuectl.domain.job import DEAD, Job
from queuectl.errors import Invalid, NotFound
from queuectl.jobqueue import Queue
from queuectl.projections.failures import Group, direction, of_jobs
from queuectl.telling.words import printable
from queuectl.view import View
from queuectl.web.pages import tell
from queuectl.web.pages.site import Again, Asked, Form

ALL = "all"
"""Stands for every fingerprint."""
_SLICES = 12
_SHOWN = 100
_AT_ONCE = 5_000
"""As many are retried with one append."""


def present(view: View, asked: Asked) -> dict[str, Any]:
    """Every group."""
    jobs = list(view.jobs(states=[DEAD]))
    groups = of_jobs(jobs)
    first = min((group.first_at for group in groups), default=view.now())
    return {
        "groups": [_group(group, first, view.now()) for group in groups],
        "in_all": len(jobs),
    }


def present_group(view: View, asked: Asked) -> dict[str, Any]:
    """The jobs of one group, or of all."""
    name = asked.path["fingerprint"]
    jobs = list(_dead_of(view, name, newest_first=True))
    if not jobs:
        raise NotFound(
            "no job is dead any more" if name == ALL else f"no job is dead of {name!r:.60} any more"
        )
    groups = of_jobs(jobs)
    return {
        "name": name,
        "group": None if name == ALL else _group(groups[0], groups[0].first_at, view.now()),
        "jobs": [tell.job(job) for job in jobs[:_SHOWN]],
        "in_all": len(jobs),
        "shown_before": asked.query.get("shown", ""),
    }


def _dead_of(view: View, name: str, *, newest_first: bool = False) -> Any:
    where: Callable[[Job], bool] | None = None
    if name != ALL:
        where = lambda job: of_job(job).id == name  # noqa: E731
    return view.jobs(states=[DEAD], where=where, newest_first=newest_first)


def _group(group: Group, since: str, until: str) -> dict[str, Any]:
    found = group.fingerprint
    trend = group.trend(since, until, _SLICES)
    highest = max(trend)
    return {
        "name": found.id,
        "command": printable(found.command),
        "error": printable(found.error),
        "exit_code": found.exit_code,
        "jobs": group.count,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "last_job": group.last_job,
        "trend": trend,
        "bars": [round(20 * figure / highest) for figure in trend],
        "direction": direction(trend),
    }


def retry(queue: Queue, form: Form) -> str:
    """Retry the jobs that were chosen, or all of a group if they are as many as were shown."""
    name = form.get("all")
    ids = form.all("job")
    if name:
        ids = [job.id for job in _dead_of(queue, name)]
        if queue.damage is not None:
            raise queue.damage
        if str(len(ids)) != form.get("count"):
            raise Again(f"/dead/{name}?{urlencode({'shown': form.get('count')[:9]})}")
    if not ids:
        raise Invalid("choose at least one job to retry")
    for begin in range(0, len(ids), _AT_ONCE):
        queue.retry(*ids[begin : begin + _AT_ONCE], reason=form.get("reason"))
    return f"/dead?done=retried&count={len(ids)}"
