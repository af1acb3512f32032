"""Questions to a queue that every face asks, and that take more than one look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from queuectl.domain.job import Job
from queuectl.errors import NotFound, PayloadLost
from queuectl.events import vocabulary as v
from queuectl.projections.causes import Cause, Now, causes
from queuectl.view import View


def id_of(view: View, name: str) -> str:
    """The id that a name stands for; the name itself where there is no such job any more."""
    try:
        return view.get(name).id
    except NotFound:
        return name


def whole(view: View, job: Job) -> tuple[Job, str]:
    """The job with all of what was too long for the log; or with the beginning of it, and why the
    rest cannot be read."""
    spec, why = whole_spec(view, job.spec)
    return replace(job, spec=spec), why


def whole_spec(view: View, spec: v.JobEnqueued) -> tuple[v.JobEnqueued, str]:
    """The same of a job as it was enqueued, which may be purged since."""
    try:
        return view.whole(spec), ""
    except (PayloadLost, OSError) as error:
        return spec, str(error)


class Reasons(NamedTuple):
    """Why a job is as it is."""

    id: str
    state: str
    """`purged` of one that there is no longer."""
    causes: Sequence[Cause]


def why(view: View, name: str) -> Reasons:
    """Why the job of that name is as it is, and what it waits for. One that was purged has to be
    named by its whole id. Raises `NotFound` and `Invalid`."""
    now = Now(view.now(), view.state, view.is_alive, view.log)
    try:
        job = view.get(name)
    except NotFound:
        life = view.history(name)
        if not life or not isinstance(life[-1], v.JobPruned):
            raise
        return Reasons(name, "purged", causes(None, life, now))
    return Reasons(job.id, job.state, causes(job, list(view.life(job)), now))


def run_of(view: View, job: Job, attempt: int | None = None) -> int:
    """The token of the last run with that number, or of the last of all, those of former rounds
    included. Raises `NotFound`."""
    if attempt is None and job.token:
        return job.token
    runs = view.runs(job)
    for run in reversed(runs):
        if attempt in (None, run.attempt):
            return run.token
    if attempt is None:
        raise NotFound(f"job {job.id} has not run yet")
    raise NotFound(f"job {job.id} has no run {attempt}: it had {len(runs)}")


class Page(NamedTuple):
    """Some jobs of a list."""

    jobs: list[Job]
    beyond: int | None
    """What to go on with; None where there is nothing more."""


def page(
    view: View,
    limit: int,
    budget: Callable[[], bool],
    *,
    states: Collection[str] = (),
    where: Callable[[Job], bool],
    beyond: int | None = None,
) -> Page:
    """The next jobs, the newest first: at most `limit`, and fewer once `budget` says that enough
    has been looked at, which it is asked again and again."""
    found: list[Job] = []
    for job in view.jobs(states=states, newest_first=True, beyond=beyond):
        if len(found) == limit or not budget():
            return Page(found, beyond)
        beyond = job.spec.offset
        if where(job):
            found.append(job)
    return Page(found, None)
