"""One thing done to many jobs: what can be done, to which, and what came of it. Knows no face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from queuectl.domain.fingerprint import of_job
from queuectl.domain.job import CANCELLED, DEAD, FAILED, PENDING, PROCESSING, Job
from queuectl.errors import Invalid, NotFound, QueuectlError, Rejected
from queuectl.jobqueue import Queue
from queuectl.view import View


class Verb(NamedTuple):
    """Something that can be done to many jobs."""

    name: str
    done: str
    """What has become of the jobs afterwards."""
    act: Callable[..., object]
    """The method of `Queue` that does it."""
    states: frozenset[str]
    """Of jobs that are not named but chosen."""
    only: bool = False
    """Whether jobs that are named have to be in one of these states, too."""


_DEAD = frozenset((DEAD,))
CANCEL = Verb("cancel", "cancelled", Queue.cancel, frozenset((PENDING, PROCESSING, FAILED)))
RETRY = Verb("retry", "requeued", Queue.retry, frozenset((FAILED, DEAD, CANCELLED)))
REQUEUE = Verb("retry", "requeued", Queue.retry, _DEAD, only=True)
PURGE = Verb("purge", "purged", Queue.prune, _DEAD, only=True)


class Choice(NamedTuple):
    """Which jobs: some by their names, or all that something can be done to, or those of them in
    one of these queues and with all of these tags."""

    names: Sequence[str] = ()
    every: bool = False
    queues: Sequence[str] = ()
    tags: Sequence[str] = ()
    error: str = ""
    """How the fingerprint of their last failure starts."""


def chosen(queue: Queue, verb: Verb, choice: Choice) -> list[str]:
    """The ids of jobs to do `verb` to.

    Raises `Invalid` where nothing says which, `NotFound` and `Rejected` for a job that is named,
    and `Damaged` where only a part of the log could be read: of that nothing is chosen.
    """
    names, every, queues, tags, error = choice
    if names and (every or queues or tags or error):
        raise Invalid("name jobs, or choose them by --all, --queue, --tag and --error: not both")
    if names:
        named = [queue.get(name) for name in names]
        for job in named:
            if verb.only and job.state not in verb.states:
                raise Rejected(f"job {job.id} is {job.state}, not in the dead-letter queue")
        ids = list(dict.fromkeys(job.id for job in named))
    elif every or queues or tags or error:
        where = failing_so(queue, error)
        ids = [
            job.id for job in queue.jobs(states=verb.states, queues=queues, tags=tags, where=where)
        ]
    else:
        raise Invalid("name at least one job, or choose them by --queue, --tag, --error or --all")
    if queue.damage is not None:
        raise queue.damage
    return ids


def failing_so(view: View, error: str) -> Callable[[Job], bool] | None:
    """Whether the last failure of a job has the fingerprint that starts with `error`; None where
    that is empty.

    Raises `NotFound` where there is no such job, and `Invalid` where several fingerprints start so.
    """
    if not error:
        return None
    ids = {of_job(job).id for job in view.jobs(where=lambda job: bool(job.error))}
    id = one_of(error, ids, "no job's last failure")
    return lambda job: bool(job.error) and of_job(job).id == id


def one_of(start: str, ids: Iterable[str], what: str) -> str:
    """The one of the fingerprints `ids` that starts so.

    Raises `NotFound`, beginning with `what`, or `Invalid` where several start so.
    """
    matches = sorted(id for id in ids if id.startswith(start))
    if not matches:
        raise NotFound(f"{what} has the fingerprint {start!r}: queuectl errors lists them")
    if len(matches) > 1:
        raise Invalid(
            f"{len(matches)} fingerprints start with {start!r}, such as {matches[0]} and"
            f" {matches[1]}: write more of it"
        )
    return matches[0]


def each(
    queue: Queue, verb: Verb, ids: Sequence[str], reason: str
) -> Iterator[tuple[str, QueuectlError | None]]:
    """Do it to every job with one append, or, if one of them forbids it, to the others; tells of
    each why it could not be."""
    try:
        verb.act(queue, *ids, reason=reason)
    except (Rejected, NotFound) as error:
        if len(ids) == 1:
            yield ids[0], error
            return
        yield from ((id, _tried(queue, verb, id, reason)) for id in ids)
        return
    yield from ((id, None) for id in ids)


def _tried(queue: Queue, verb: Verb, id: str, reason: str) -> QueuectlError | None:
    try:
        verb.act(queue, id, reason=reason)
    except (Rejected, NotFound) as error:
        return error
    return None
