"""The API, described for programs: made from what it does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from queuectl import __version__
from queuectl.web.api import acting, events, jobs, outputs, queues, schemas, submitting
from queuectl.web.api.operation import PREFIX, Operation, is_list
from queuectl.web.guard import BODY_BYTES_MAX

OPERATIONS: Sequence[Operation] = (
    *submitting.OPERATIONS,
    *acting.OPERATIONS,
    *jobs.OPERATIONS,
    *outputs.OPERATIONS,
    *queues.OPERATIONS,
    *events.OPERATIONS,
)
"""More special paths stand before those that would take them for a name."""
_PROBLEM = {
    "description": "What went wrong.",
    "content": {"application/problem+json": {"schema": schemas.ref("Problem")}},
}
_PART = re.compile(r"\{(\w+)(?::\w+)?\}")


def document() -> dict[str, Any]:
    """The whole as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = _PART.sub(r"{\1}", operation.path)
        paths.setdefault(PREFIX + path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "queuectl",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "A background job queue for shell commands. Times are RFC 3339,"
            f" durations seconds, what is unknown is null. A request has {BODY_BYTES_MAX >> 20} MiB"
            " at most; fields and parameters that are not in here are refused.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.COMPONENTS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "As queuectl web token add prints one.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "queuectl-8080",
                    "description": "What a browser has once it was let in; ends with the port.",
                },
            },
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    doc = " ".join((operation.act.__doc__ or "").split())
    name = _PART.sub(r"\1", operation.path).strip("/").replace("/", "_")
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{name}",
        "summary": operation.summary,
        "description": f"{doc} For the role {operation.role}.".strip(),
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status.value): {
                "description": operation.status.phrase,
                "content": _content(operation),
            },
            "default": _PROBLEM,
        },
    }
    if operation.path.endswith("/output"):
        described["responses"]["206"] = described["responses"]["200"]
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body is object,
            "content": {"application/json": {"schema": _body(operation.body)}},
        }
    return described


def _content(operation: Operation) -> dict[str, Any]:
    answers = operation.answers
    if not any("/" in name for name in answers):
        answers = {"application/json": answers}
    return {media: {"schema": schema} for media, schema in answers.items()}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in _PART.findall(operation.path)
    ]
    (schema,), _ = msgspec.json.schema_components([operation.query])
    shown = _resolved(operation.query, schema)["properties"]
    for field in msgspec.structs.fields(operation.query):
        found = dict(shown[field.name])
        described = found.pop("description", None) or _nested(found)
        if field.default in (None, ""):
            found.pop("default", None)
        parameter: dict[str, Any] = {"name": field.name, "in": "query", "schema": found}
        if described:
            parameter["description"] = described
        if is_list(field.type):
            parameter |= {"style": "form", "explode": True}
        parameters.append(parameter)
    for name, meaning in operation.headers.items():
        parameters.append(
            {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}
        )
    return parameters


def _nested(schema: dict[str, Any]) -> str | None:
    """The description that stands in one of several types."""
    for one in schema.get("anyOf", ()):
        if "description" in one:
            return str(one["description"])
    return None


def _resolved(kind: Any, schema: dict[str, Any]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind])
    found: dict[str, Any] = components[schema["$ref"].rpartition("/")[2]]
    return found


def _body(kind: Any) -> dict[str, Any]:
    if kind is object:
        one = schemas.ref("Submission")
        return {"oneOf": [one, {**schemas.listed(one), "minItems": 1}]}
    (schema,), _ = msgspec.json.schema_components([kind])
    return _resolved(kind, schema)
