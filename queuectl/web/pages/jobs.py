"""Jobs: by state, searched and filtered; every choice stands in the address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from queuectl import instants
from queuectl.asking import page
from queuectl.domain.job import STATES, Job
from queuectl.errors import Invalid
from queuectl.jobqueue import Queue
from queuectl.telling.moments import parsed
from queuectl.view import View
from queuectl.web.api.submitting import check_id
from queuectl.web.pages import tell
from queuectl.web.pages.site import Asked, Form

PAGE = 50
LOOKED_AT_MAX = 200_000
"""So many jobs are compared before an answer: that takes about a second."""
_FIELDS = ("id", "command", "queue", "tags", "priority", "max_retries", "timeout", "delay", "cwd")
FILTERS = ("state", "q", "queue", "tag", "command", "since", "until")
"""What may stand in the address, beside where the page begins."""


def present(view: View, asked: Asked) -> dict[str, Any]:
    query = asked.query
    state = query.get("state", "")
    if state and state not in STATES:
        raise Invalid(f"state: {state!r:.40} is no state: it is one of {', '.join(STATES)}")
    before = _number(query.get("before", ""))
    looked_at = 0

    def budget() -> bool:
        nonlocal looked_at
        looked_at += 1
        return looked_at <= LOOKED_AT_MAX

    found = page(
        view,
        PAGE,
        budget,
        states=[state] if state else (),
        where=_matcher(view, asked),
        beyond=before or None,
    )
    return {
        "jobs": [tell.job(job) for job in found.jobs],
        "states": STATES,
        "given": {name: query.get(name, "") for name in FILTERS},
        "is_filtered": any(query.get(name) for name in FILTERS if name != "state"),
        "before": before,
        "following": found.beyond,
        "looked_at": looked_at if looked_at > LOOKED_AT_MAX else 0,
    }


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) < 18):
        raise Invalid(f"before: {text!r:.40} is no offset of an event")
    return int(text or 0)


def _matcher(view: View, asked: Asked) -> Callable[[Job], bool]:
    """Whether a job is what was searched for."""
    query = asked.query
    words = query.get("q", "").casefold().split()
    queue, tag = query.get("queue", ""), query.get("tag", "")
    command = query.get("command", "").casefold()
    since, until = (_instant(view, name, query.get(name, "")) for name in ("since", "until"))
    until = until or instants.LATEST

    def matches(job: Job) -> bool:
        spec = job.spec
        if queue and spec.queue != queue:
            return False
        if not since <= spec.at <= until or (tag and tag not in (spec.tags or ())):
            return False
        if command and command not in spec.command.casefold():
            return False
        if not words:
            return True
        text = "\n".join((spec.command, spec.job, job.error, *(spec.tags or ()))).casefold()
        for word in words:  # noqa: SIM110 - twice as fast as a generator, for each of so many jobs
            if word not in text:
                return False
        return True

    return matches


def _instant(view: View, name: str, text: str) -> str:
    """A time, or how long ago; empty for none."""
    named = parsed(text) if text else None
    if text and (named is None or named.offset is not None):
        raise Invalid(
            f"{name}: {text!r:.40} is no time: write one with its zone, like 2026-11-22T09:00:00Z,"
            " or how long ago, like 2h"
        )
    if named is None:
        return ""
    return named.at or instants.later(view.now(), -named.ago_ms)


def enqueue(queue: Queue, form: Form) -> str:
    """Accept a job."""
    fields: dict[str, Any] = {name: form.get(name) for name in _FIELDS if form.get(name)}
    check_id(fields.get("id"))
    if "tags" in fields:
        fields["tags"] = fields["tags"].replace(",", " ").split()
    return f"/jobs/{queue.enqueue(**fields).id}?done=enqueued"
