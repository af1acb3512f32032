"""Named queues: paused and resumed from wherever they are shown."""

from __future__ import annotations

from queuectl.jobqueue import Queue
from queuectl.web.pages.site import Form


def pause(queue: Queue, form: Form) -> str:
    queue.pause(form.get("queue"), reason=form.get("reason"))
    return "/?done=paused"


def resume(queue: Queue, form: Form) -> str:
    queue.resume(form.get("queue"), reason=form.get("reason"))
    return "/?done=resumed"
