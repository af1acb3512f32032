"""Jobs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from queuectl.telling.documents import job_document
from queuectl.web.answers import answer
from queuectl.web.served import Served


def routes(served: Served) -> list[BaseRoute]:
    async def show(request: Request) -> Response:
        id = request.path_params["id"]
        at = request.query_params.get("at")
        return answer(await served.read(lambda view: job_document(view.get(id)), at))

    return [Route("/api/v1/jobs/{id}", show)]
