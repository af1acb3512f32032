"""The description of the API: valid, and what a program finds that believes it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from programs import Shell
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import Web, token

from queuectl.web.api.openapi import document

EXAMPLES = 10
"""For each operation."""


def test_it_is_openapi_3_1() -> None:
    validate(json.loads(json.dumps(document())), cls=OpenAPIV31SpecValidator)


schema = schemathesis.openapi.from_dict(
    # Streams never end; they have tests of their own.
    {**document(), "paths": {k: v for k, v in document()["paths"].items() if "events" not in k}}
)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server that nobody else depends on."""
    shell = Shell(tmp_path_factory.mktemp("described"))
    shell.add("--id", "a", "false")
    web = Web(shell)
    web.token = token(shell, "boss", "admin")
    yield web
    assert web.running.process.poll() is None and not web.running.err.count("Traceback")
    shell.close()


@schema.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
def test_every_answer_is_one_that_it_describes(case: schemathesis.Case, busy: Web) -> None:
    case.call_and_validate(
        base_url=f"http://{busy.host}",
        headers={"Authorization": f"Bearer {busy.token}"},
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ],
    )
