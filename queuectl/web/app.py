"""All that is served, as one application: routes, and what stands before them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from queuectl.errors import QueuectlError
from queuectl.web import health, pages, problems
from queuectl.web.answers import answer
from queuectl.web.api.openapi import OPERATIONS, document
from queuectl.web.api.operation import PREFIX, Site
from queuectl.web.guard import Guard, Rules
from queuectl.web.live import Live
from queuectl.web.login import Login
from queuectl.web.served import Served


def create_app(served: Served, live: Live, rules: Rules) -> Starlette:
    """The application that serves a queue to those whom the rules let in."""
    site = Site(served, live)
    described = answer(document())

    async def openapi(request: Request) -> Response:
        return described

    return Starlette(
        routes=[
            *health.routes(served, live),
            *Login(rules.tokens, rules.sessions).routes(),
            Route(f"{PREFIX}/openapi.json", openapi),
            *(operation.route(site) for operation in OPERATIONS),
            *pages.routes(served),
        ],
        middleware=[Middleware(Guard, rules=rules)],
        exception_handlers={
            QueuectlError: problems.of_error,
            HTTPException: problems.of_http,
            ClientDisconnect: problems.of_silence,
            Exception: problems.of_defect,
        },
    )
