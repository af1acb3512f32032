"""Whether all is well: for those who watch over servers."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from queuectl.web.live import Live
from queuectl.web.metrics import Metrics
from queuectl.web.served import Served

SPACE_BYTES_MIN = 64 << 20
"""With less than that on the disk, appending may soon be impossible."""


def routes(served: Served, live: Live) -> list[BaseRoute]:
    """All of them."""
    metrics = Metrics(served, live)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        wrong = await shortcomings(served, live)
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        return PlainTextResponse("\n".join(wrong or ["ok"]) + "\n", status)

    async def scrape(request: Request) -> Response:
        data, media_type = await metrics.told(request.headers.get("accept", ""))
        return Response(data, media_type=media_type)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", scrape),
    ]


async def shortcomings(served: Served, live: Live) -> list[str]:
    """What is wrong, in a few words that tell nothing about the machine; nothing where all is
    well."""
    wrong = []
    if live.damage or await served.damage() is not None:
        wrong.append("the log is damaged")
    if served.host.free_bytes(served.home.root) < SPACE_BYTES_MIN:
        wrong.append("the disk is nearly full")
    return wrong
