"""The dashboard: what people see."""

from __future__ import annotations

from starlette.routing import BaseRoute

from queuectl.web.served import Served


def routes(served: Served) -> list[BaseRoute]:
    """All pages, and what they load."""
    return []
