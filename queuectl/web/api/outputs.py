"""What jobs print, or parts of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from starlette.responses import Response, StreamingResponse

from queuectl.asking import run_of
from queuectl.errors import Invalid, NotFound
from queuectl.runtime.output import OutputReader
from queuectl.view import View
from queuectl.web.api import schemas
from queuectl.web.api.operation import Call, Operation, Query
from queuectl.web.problems import problem

_PIECE = 1 << 16
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


Positive = Annotated[int, msgspec.Meta(ge=1)]


class OutputQuery(Query, frozen=True, kw_only=True):
    """Which output."""

    stream: Literal["stdout", "stderr"] = "stdout"
    attempt: Annotated[
        Positive | None, msgspec.Meta(description="That run, instead of the last one.")
    ] = None
    token: Annotated[Positive | None, msgspec.Meta(description="The run with that token.")] = None


async def output(call: Call[OutputQuery, None]) -> Response:
    """As it was printed, byte by byte, whatever it was. Whoever asks for what comes after the bytes
    that it has gets 416 while there are none; `Queuectl-State` says whether there may be more."""
    query = call.query
    if query.attempt is not None and query.token is not None:
        raise Invalid("attempt and token both name a run: give one of them")

    def look(view: View) -> tuple[str, int, str]:
        job = view.get(call.named())
        token = query.token or run_of(view, job, query.attempt)
        return job.id, token, "running" if job.held and token == job.token else "ended"

    id, token, state = await call.served.read(look)
    stream = "out" if query.stream == "stdout" else "err"
    reader = OutputReader(call.served.home, call.served.host, id, token, stream)
    if not reader.exists():
        raise NotFound(f"there is no output of run {token} of job {id}: none yet, or none any more")
    size = reader.size()
    headers = {
        "Queuectl-Token": str(token),
        "Queuectl-State": state,
        "Accept-Ranges": "bytes",
    }
    start, end = 0, size
    status = HTTPStatus.OK
    asked = call.request.headers.get("range")
    if asked is not None:
        found = _range(asked, size)
        if found is None:
            unsatisfiable = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            refused = problem(call.request, unsatisfiable, f"there are {size} bytes so far")
            refused.headers.update({**headers, "Content-Range": f"bytes */{size}"})
            return refused
        start, end = found
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(
        _pieces(reader, start, end), status, headers, media_type="text/plain; charset=utf-8"
    )


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """(first byte, byte behind the last); None where there is nothing of that. Raises `Invalid`."""
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        raise Invalid(f"Range: {asked!r:.60} is not one range, like bytes=100- or bytes=-100")
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    return (start, end) if start < end else None


async def _pieces(reader: OutputReader, start: int, end: int) -> AsyncIterator[bytes]:
    reader.position = start
    try:
        while reader.position < end and (piece := reader.read(min(_PIECE, end - reader.position))):
            yield piece
    finally:
        reader.close()


OPERATIONS = (
    Operation(
        "GET",
        "/jobs/{id}/output",
        output,
        "Read what a run has printed",
        {"text/plain": schemas.TEXT},
        query=OutputQuery,
        headers={"Range": "Which bytes, like bytes=100-"},
    ),
)
