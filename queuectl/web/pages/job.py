"""One job: what it is, why it is so, what happened to it, and what it printed."""

from __future__ import annotations

import codecs
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from queuectl import asking, instants
from queuectl.domain.job import Job
from queuectl.domain.payloads import shown
from queuectl.errors import NotFound, QueuectlError
from queuectl.events import vocabulary as v
from queuectl.jobqueue import Queue
from queuectl.projections import timeline
from queuectl.projections.causes import Now, causes
from queuectl.projections.runs import RUNNING, Run
from queuectl.quantities import format_duration
from queuectl.runtime.output import OutputReader
from queuectl.telling.documents import job_document
from queuectl.telling.story import because, phases
from queuectl.telling.words import printable, printable_output
from queuectl.view import View
from queuectl.web.answers import answer
from queuectl.web.pages import tell
from queuectl.web.pages.show import clock
from queuectl.web.pages.site import Asked, Form
from queuectl.web.problems import of_error
from queuectl.web.served import Served

STREAMS = {"out": "Standard output", "err": "Standard error"}
_SHOWN_BYTES = 64 << 10
_STEPS_MAX = 200
_LANE = 1000
"""The width of a picture of the runs of a job, in its own units."""
_ASIDE = frozenset(
    ("id", "command", "argv", "state", "error", "run_at", "wait_seconds", "run_seconds")
)
"""What stands elsewhere on the page, or in another form."""


def present(view: View, asked: Asked) -> dict[str, Any]:
    id = asked.path["id"]
    now = view.now()
    try:
        job, lost = asking.whole(view, view.get(id))
    except NotFound:
        return _purged(view, id, now)
    life = list(view.life(job))
    steps = list(timeline.of(life))
    runs = view.runs(job)
    token = _chosen(asked.query.get("run", ""), runs, job)
    took = [step.took for step in steps]
    if job.live:
        took.append(timeline.spent(job, now))
    return {
        "id": job.id,
        "job": tell.job(job),
        "command": printable_output(shown(job.spec)),
        "lost": printable(lost),
        "fields": _fields(job),
        "actions": tell.actions(job, now),
        "why": _why(view, job, life, now),
        "runs": _lanes(runs, job, now),
        "steps": _steps(steps),
        "left_out": max(0, len(steps) - _STEPS_MAX),
        "spent": phases(took, len(runs)),
        "token": token,
        "output": [_output(view, job.id, token, stream) for stream in STREAMS] if token else [],
        "prints": job.held and token == job.token,
    }


def _purged(view: View, id: str, now: str) -> dict[str, Any]:
    life = view.history(id)
    if not life or not isinstance(life[-1], v.JobPruned):
        view.get(id)  # says what may have been meant
    steps = list(timeline.of(life))
    specs = [event for event in life if isinstance(event, v.JobEnqueued)]
    # Without one in an archive that was cut, nobody knows what it was.
    spec, lost = asking.whole_spec(view, specs[-1]) if specs else (None, "")
    return {
        "id": id,
        "job": None,
        "command": printable_output(shown(spec)) if spec else "",
        "lost": printable(lost),
        "fields": {},
        "actions": {},
        "why": _why(view, None, life, now),
        "runs": [],
        "steps": _steps(steps),
        "left_out": max(0, len(steps) - _STEPS_MAX),
        "spent": phases([step.took for step in steps], 0),
        "token": 0,
        "output": [],
        "prints": False,
    }


def _fields(job: Job) -> dict[str, str]:
    """What there is to know, by name."""
    spec = job.spec
    durations = {
        "timeout": format_duration(spec.timeout_ms) if spec.timeout_ms else "none",
        "backoff_base": format_duration(spec.backoff_base * 1000),
    }
    shown = {}
    for name, value in (job_document(job) | durations).items():
        if value in (None, [], "") or name in _ASIDE:
            continue
        text = ", ".join(value) if isinstance(value, list) else str(value)
        text = clock(text) if name.endswith("_at") else text
        shown[name.replace("_", " ")] = printable(text)
    return shown


def _why(view: View, job: Job | None, life: list[v.Event], now: str) -> list[dict[str, Any]]:
    found = causes(job, life, Now(now, view.state, view.is_alive, view.log))
    return [
        {
            "text": because(cause, now),
            "offset": cause.event.offset if cause.event is not None else None,
        }
        for cause in found
    ]


def _chosen(asked: str, runs: list[Run], job: Job) -> int:
    """The run whose output is shown: the last, or the one that was asked for."""
    tokens = {run.token for run in runs}
    return next((token for token in tokens if str(token) == asked), job.token)


def _lanes(runs: list[Run], job: Job, now: str) -> list[dict[str, Any]]:
    """The runs, each with where it lies within the life of the job."""
    begin = instants.to_us(job.spec.at)
    last = max([run.ended_at or now for run in runs], default=now)
    span = max(1, instants.to_us(last) - begin)

    def place(at: str) -> int:
        return max(0, min(_LANE, (instants.to_us(at) - begin) * _LANE // span))

    lanes = []
    for run in runs:
        start = place(run.claimed_at or run.ended_at or now)
        ready = place(run.runnable_at) if run.runnable_at else start
        end = place(run.ended_at or now)
        lanes.append(
            {
                "token": run.token,
                "number": run.attempt,
                "round": run.round,
                "outcome": run.outcome,
                "is_running": run.outcome == RUNNING,
                "claimed_at": run.claimed_at,
                "run_ms": run.run_ms,
                "wait_ms": run.wait_ms,
                "exit_code": run.exit_code,
                "worker": run.worker or "",
                "why": tell.line(run.error or run.reason),
                "wait_x": ready,
                "wait_width": max(0, start - ready),
                "x": min(start, _LANE - 4),
                "width": max(4, end - start),
            }
        )
    return lanes


def _steps(steps: list[timeline.Step]) -> list[dict[str, Any]]:
    told = []
    for step in steps[-_STEPS_MAX:]:
        before, after = step.changes.get("state", (None, None))
        changed = before != after
        told.append(
            {
                **tell.event(step.event),
                "before": (before or "new") if changed else "",
                "after": (after or "forgotten") if changed else "",
            }
        )
    return told


# ---- what it printed


def _output(view: View, id: str, token: int, stream: str) -> dict[str, Any]:
    """The end of what a run has printed."""
    reader = OutputReader(view.home, view.host, id, token, stream)
    try:
        there = reader.exists()
        size = reader.size() if there else 0
        begin = max(0, size - _SHOWN_BYTES)
        reader.position = begin
        data = reader.read(size - begin) if size else b""
    finally:
        reader.close()
    if begin:
        data = data[data.find(b"\n") + 1 :]
    text, used = _decoded(data)
    return {
        "stream": stream,
        "title": STREAMS[stream],
        "text": text,
        "next": size - len(data) + used,
        "size": size,
        "is_cut": begin > 0,
        "is_there": there,
    }


def _decoded(data: bytes) -> tuple[str, int]:
    """Text that is harmless, and of how many of the bytes: a character may end in later ones."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return printable_output(text), len(data) - len(decoder.getstate()[0])


def output_route(served: Served) -> Route:
    """What a run goes on to print, for the script of its page."""

    async def endpoint(request: Request) -> Response:
        id, run = request.path_params["id"], request.path_params["token"]
        stream = request.path_params["stream"]
        begin = request.query_params.get("from", "0")

        def more(view: View) -> dict[str, Any]:
            job = view.get(id)
            if stream not in STREAMS or not begin.isdecimal() or len(begin) > 15:
                raise NotFound(f"{stream!r:.20} from {begin!r:.20} is no part of any output")
            if not (run.isascii() and run.isdecimal() and len(run) < 18):
                raise NotFound(f"{run!r:.20} is no run of any job")
            token = int(run)
            # Asked for before it is read, so that nothing is missed.
            ended = not (job.held and job.token == token)
            reader = OutputReader(view.home, view.host, job.id, token, stream)
            reader.position = int(begin)
            try:
                data = reader.read(_SHOWN_BYTES)
            finally:
                reader.close()
            text, used = _decoded(data)
            return {"text": text, "next": int(begin) + used, "over": ended and not used}

        try:
            return answer(await served.read(more))
        except QueuectlError as error:
            return await of_error(request, error)

    return Route("/jobs/{id}/output/{token}/{stream}", endpoint)


# ---- what can be asked of it


def cancel(queue: Queue, form: Form) -> str:
    id = queue.get(form.path["id"]).id
    queue.cancel(id, reason=form.get("reason"))
    return f"/jobs/{id}?done=cancelled"


def retry(queue: Queue, form: Form) -> str:
    id = queue.get(form.path["id"]).id
    queue.retry(id, reason=form.get("reason"))
    return f"/jobs/{id}?done=requeued"
