"""The OpenAPI document beside the routes, and the answers beside the document."""

import subprocess
import sys
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tallycast.api.openapi import document

from tests.client.tokens import visitor_token_blocking
from tests.support.parts import all_api_routes
from tests.support.process import ServerProcess
from tests.web.conftest import KEY

# Random requests read an answer to its end, which a stream does not have; tests/contract has its requests.
ENDLESS = "/v1/stream"
SCHEMA = schemathesis.openapi.from_dict(document()).exclude(path=ENDLESS)
ADMIN = "^/v1/admin/"
OPERATIONS = [found.ok() for found in SCHEMA.exclude(path_regex=ADMIN).get_all_operations()]
ADMIN_OPERATIONS = [found.ok() for found in SCHEMA.include(path_regex=ADMIN).get_all_operations()]


@pytest.fixture(scope="module")
def token(server: ServerProcess) -> str:
    return visitor_token_blocking(server.url)


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {route.path: set(route.methods or ()) - {"HEAD"} for route in all_api_routes()}
    del routes["/openapi.json"]
    described = {path: {method.upper() for method in item} for path, item in document()["paths"].items()}
    assert described == routes


async def test_the_document_is_served(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.get("/openapi.json")
    assert answer.json() == document()
    assert answer.json()["openapi"].startswith("3.1")


def test_answers_are_as_described(server: ServerProcess) -> None:
    """Every phase of schemathesis: examples, the borders of every field, and random requests."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--no-color"]
    command += ["--max-examples", "40", "--exclude-path", ENDLESS, "--exclude-path-regex", ADMIN]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_answers_to_a_known_visitor_are_as_described(
    operation: Any, token: str, server: ServerProcess
) -> None:
    ask(operation, server, "default", token)


@pytest.mark.parametrize("operation", ADMIN_OPERATIONS, ids=lambda operation: operation.label)
def test_answers_to_an_administrator_are_as_described(operation: Any, admin_server: ServerProcess) -> None:
    ask(operation, admin_server, "blog", KEY)


def ask(operation: Any, server: ServerProcess, site: str, token: str) -> None:
    """Random requests, some of which must be granted."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def one(case: schemathesis.Case) -> None:
        case.query["site"] = site
        case.headers["Authorization"] = f"Bearer {token}"
        # JSON Schema counts characters, ids have bytes, and the kinds are the site's to choose.
        answer = case.call_and_validate(base_url=server.url, excluded_checks=[positive_data_acceptance])
        seen.add(answer.status_code)

    seen: set[int] = set()
    one()
    assert any(status < 300 for status in seen), "requests that the server grants were among them"
