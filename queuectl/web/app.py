"""All that is served, as one application: routes, and what stands before them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from queuectl.errors import QueuectlError
from queuectl.web import pages, problems
from queuectl.web.api import jobs
from queuectl.web.guard import Guard
from queuectl.web.served import Served


async def _healthz(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


def create_app(served: Served, hosts: frozenset[str]) -> Starlette:
    """The application that serves a queue under these names."""
    return Starlette(
        routes=[Route("/healthz", _healthz), *jobs.routes(served), *pages.routes(served)],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            QueuectlError: problems.of_error,
            HTTPException: problems.of_http,
            Exception: problems.of_defect,
        },
    )
