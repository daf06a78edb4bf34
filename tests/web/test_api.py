"""What the HTTP API says beside its bodies, and to which pages."""

import http.client
import json
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.client.tokens import bearer, visitor_token_blocking
from tests.client.websocket import connect
from tests.support.process import ServerProcess

ALLOWED, OTHER = "http://page.example", "http://other.example"


def test_a_cache_tells_strangers_from_visitors(server: ServerProcess) -> None:
    url = f"{server.url}/v1/items?item=cached"
    public = httpx.get(url)
    private = httpx.get(url, headers=bearer(visitor_token_blocking(server.url)))
    unchanged = httpx.get(url, headers={"If-None-Match": public.headers["ETag"]})
    assert (public.status_code, private.status_code, unchanged.status_code) == (200, 200, 304)
    for answer in (public, private, unchanged):
        assert "authorization" in [word.strip().lower() for word in answer.headers["Vary"].split(",")]


@pytest.mark.parametrize("origins", [(ALLOWED, OTHER), (ALLOWED, ALLOWED)])
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_a_request_has_one_origin(server: ServerProcess, method: str, origins: tuple[str, str]) -> None:
    token = visitor_token_blocking(server.url)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    path = "/v1/items?item=twice" if method == "GET" else "/v1/reaction?item=twice"
    connection.putrequest(method, path)
    for origin in origins:
        connection.putheader("Origin", origin)
    connection.putheader("Authorization", f"Bearer {token}")
    body = b'{"reaction":"like"}' if method == "PUT" else b""
    connection.putheader("Content-Length", str(len(body)))
    if method == "OPTIONS":
        connection.putheader("Access-Control-Request-Method", "PUT")
    connection.endheaders(body)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert (answer.status, said["code"]) == (403, "forbidden")
    assert answer.getheader("Access-Control-Allow-Origin") is None
    shown = httpx.get(f"{server.url}/v1/items?item=twice").json()["items"][0]
    assert shown["version"] == 0, "it has no effect"


async def test_an_upgrade_has_one_origin(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.ws_url}/ws", additional_headers=[("Origin", ALLOWED), ("Origin", OTHER)])
    assert refused.value.response.status_code == 400


def test_a_problem_does_nothing_to_a_terminal(server: ServerProcess) -> None:
    """The id is escaped as JSON does it, so a machine reads the same one."""
    answer = httpx.get(f"{server.url}/v1/items", params={"item": "a\u202eb\x9b2J"})
    assert answer.status_code == 400
    assert answer.text.isprintable()
    assert answer.json()["item"] == "a\u202eb\x9b2J"
