"""Who may do what: roles, and whoever stands behind a request."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import HTTPConnection

VIEWER, SUBMITTER, OPERATOR, ADMIN = ROLES = ("viewer", "submitter", "operator", "admin")
"""Each may do what those before it may: see; enqueue jobs, which is to run anything; change what
becomes of jobs and queues; change settings."""


class Visitor(NamedTuple):
    """Who asks."""

    name: str
    role: str
    actor: str = ""
    """What events call them."""

    def may(self, role: str) -> bool:
        """Whether they may do what is for that role."""
        return ROLES.index(self.role) >= ROLES.index(role)


def visitor(connection: HTTPConnection) -> Visitor | None:
    """Who asks; None for somebody unknown."""
    found = connection.scope.get("queuectl.visitor")
    assert found is None or isinstance(found, Visitor)
    return found
