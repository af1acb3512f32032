"""Jobs: enqueueing them."""

from __future__ import annotations

import re
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from queuectl.domain.submission import listed
from queuectl.errors import Invalid, Rejected
from queuectl.jobqueue import Queue
from queuectl.web.access import SUBMITTER, Visitor
from queuectl.web.answers import answer
from queuectl.web.api import schemas
from queuectl.web.api.operation import PREFIX, Call, Operation, Query

JOBS_MAX = 10_000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WORD = "key."
_DIGITS = 24
_START = len(_WORD) + _DIGITS + 1
"""So much of such an id is made of the key alone."""


async def submit(call: Call[Query, Any]) -> Response:
    """One job, or a list of them: all are accepted, or none. Under an Idempotency-Key the same jobs
    are accepted once, however often they are sent."""
    jobs = listed(call.body)
    if len(jobs) > JOBS_MAX:
        raise Invalid(f"{len(jobs)} jobs are too many at once, the limit is {JOBS_MAX}")

    def where(index: int) -> str:
        return f"job {index + 1}: " if isinstance(call.body, list) else ""

    for index, job in enumerate(jobs):
        check_id(job.get("id"), where(index))
    key = call.request.headers.get("idempotency-key")
    names = _names(call.visitor, key, jobs, await call.request.body()) if key is not None else []

    def act(queue: Queue) -> list[str]:
        if names and _is_known(queue, names):
            return names
        given = [{**job, "id": id} for job, id in zip(jobs, names, strict=True)] if names else jobs
        try:
            return queue.enqueue_all(given, where=where)
        except Rejected:
            # Another server of this queue may have had the same request just now.
            if names and _is_known(queue, names):
                return names
            raise

    ids = await call.served.write(call.visitor, act)
    accepted = answer({"ids": ids}, HTTPStatus.CREATED)
    if len(ids) == 1:
        accepted.headers["Location"] = f"{PREFIX}/jobs/{quote(ids[0])}"
    return accepted


def check_id(id: Any, where: str = "") -> None:
    """Refuse ids that could be those of a key: whoever gave a job one would have taken the key of
    somebody else."""
    if isinstance(id, str) and id.startswith(_WORD):
        raise Invalid(
            f"{where}id: those that begin with {_WORD} are made of Idempotency-Keys: choose another"
        )


def _names(visitor: Visitor, key: str, jobs: list[dict[str, Any]], body: bytes) -> list[str]:
    """The ids that the jobs get: made of the key, so that they are taken the next time, and of what
    was sent, so that it can be seen whether that is the same."""
    if not _KEY.fullmatch(key):
        raise Invalid("Idempotency-Key: it is 1 to 255 visible ASCII characters")
    if any(job.get("id") is not None for job in jobs):
        raise Invalid("give jobs ids, which are taken the second time, or an Idempotency-Key")
    # Each visitor has keys of their own.
    name = f"{_WORD}{_digest(f'{visitor.name} {key}'.encode())}.{_digest(body)}"
    return [name] if len(jobs) == 1 else [f"{name}.{number}" for number in range(1, len(jobs) + 1)]


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:_DIGITS]


def _is_known(queue: Queue, names: list[str]) -> bool:
    """Whether these jobs were accepted before. Raises `Rejected` where the key was, for others."""
    queue.catch_up()
    jobs = queue.known.jobs
    if any(map(jobs.began, names)):
        return True
    if jobs.starting_with(names[0][:_START]):
        raise Rejected("this Idempotency-Key was used for something else: take another one")
    return False


OPERATIONS = (
    Operation(
        "POST",
        "/jobs",
        submit,
        "Enqueue one job or many",
        schemas.document(ids=schemas.listed(schemas.TEXT)),
        role=SUBMITTER,
        body=object,
        status=HTTPStatus.CREATED,
        headers={
            "Idempotency-Key": "Sent again with the same jobs, it is answered again as the first"
            " time, and nothing is enqueued."
        },
    ),
)
