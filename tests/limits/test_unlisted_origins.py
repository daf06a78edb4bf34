"""A page that is not listed, behind the address of one that is: what it is refused costs the other nothing.

Addresses come from a header that this machine is trusted to set; each test comes from addresses of its own.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tallycast.contract.errors import CloseCode

from tests.client.http1 import HANDSHAKE, open_http
from tests.client.websocket import connect
from tests.limits.support import check_limited
from tests.support.process import ServerProcess

LISTED, UNLISTED = "https://blog.example", "https://evil.example"
SITES = f'[sites.default]\norigins = ["{LISTED}"]\n'
ARRIVALS, REQUESTS, CONNECTIONS = 10, 30, 6
# fmt: off
FLAGS = [
    "--address-connections", str(CONNECTIONS), "--address-arrivals", f"1/m burst {ARRIVALS}",
    "--address-requests", f"1/m burst {REQUESTS}", "--demo",
]
# fmt: on
FOREIGN = {
    "not listed": ("", {"Origin": UNLISTED}, 403),
    "null": ("", {"Origin": "null"}, 403),
    "two": ("", [("Origin", LISTED), ("Origin", LISTED)], 403),
    "no such site": ("&site=none", {"Origin": UNLISTED}, 404),
    "no query": ("&a" * 1000, {"Origin": UNLISTED}, 400),
    "without an Origin": ("", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}, 403),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("unlisted")
    config = folder / "tallycast.toml"
    config.write_text(SITES)
    with ServerProcess(folder, flags=["--config", str(config), *FLAGS]) as process:
        yield process.start()


def client(server: ServerProcess, address: str) -> httpx.AsyncClient:
    headers = {"X-Forwarded-For": address}
    return httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20)


async def code_of(server: ServerProcess, address: str, origin: str, query: str = "") -> int | None:
    """The code that a new socket is closed with at once; ``None`` when it is let in."""
    headers = {"X-Forwarded-For": address, "Origin": origin}
    async with connect(f"{server.ws_url}/ws?{query}", additional_headers=headers) as line:
        return await line.refused()


async def listed_page_works(server: ServerProcess, address: str) -> None:
    """Sockets, streams, requests and new visitors."""
    origin = {"Origin": LISTED}
    assert await code_of(server, address, LISTED) is None
    async with client(server, address) as http:
        assert (await http.get("/v1/items?item=a", headers=origin)).status_code == 200
        assert (await http.post("/v1/visitors", headers=origin)).status_code == 201
        async with http.stream("GET", "/v1/stream?item=a", headers=origin) as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", CloseCode.BAD_ORIGIN),
        ("site=none", CloseCode.UNKNOWN_SITE),
        ("&a" * 1001, CloseCode.BAD_ITEM),
    ],
)
async def test_sockets_that_are_refused(server: ServerProcess, query: str, code: CloseCode) -> None:
    """Above the budget for these, too, the page reads why, and does not come back."""
    address = f"192.0.2.{10 + len(query) % 100}"
    codes = [await code_of(server, address, UNLISTED, query) for _ in range(3 * ARRIVALS)]
    assert codes == [code] * (3 * ARRIVALS)
    await listed_page_works(server, address)


async def test_sockets_that_do_not_close(server: ServerProcess) -> None:
    """They wait for their closing handshake, and take none of the address's connections meanwhile."""
    async with AsyncExitStack() as stack:
        for _ in range(ARRIVALS):
            line = await stack.enter_async_context(open_http(server))
            handshake = ("X-Forwarded-For: 192.0.2.2", f"Origin: {UNLISTED}", *HANDSHAKE)
            assert (await line.get("/ws", *handshake))[0] == 101
        await listed_page_works(server, "192.0.2.2")


@pytest.mark.parametrize("case", FOREIGN)
async def test_requests_that_are_refused(server: ServerProcess, case: str) -> None:
    """They have as large a budget, and cross it without touching that of the listed page."""
    query, headers, status = FOREIGN[case]
    address = f"198.51.100.{list(FOREIGN).index(case)}"
    async with client(server, address) as http:

        async def ask() -> httpx.Response:
            return await http.get(f"/v1/stream?item=a{query}", headers=_fields(headers))

        answers = [await ask() for _ in range(REQUESTS)]
        assert {answer.status_code for answer in answers} == {status}
        crossed = [await ask() for _ in range(2 * REQUESTS)]
        for answer in crossed:
            check_limited(answer)
            assert "Access-Control-Allow-Origin" not in answer.headers
    await listed_page_works(server, address)


def _fields(headers: Any) -> Any:
    return headers if isinstance(headers, list) else list(headers.items())


async def test_pages_and_scripts(server: ServerProcess) -> None:
    """Any page may load the script, so no budget is spent on it; pages have one that is not the API's."""
    address = "192.0.2.3"
    async with client(server, address) as http:
        for path in ("/openapi.json", "/", "/nothing", "/ws") * REQUESTS:
            last = await http.get(path)
        check_limited(last)
        for _ in range(3 * REQUESTS):
            assert (await http.get("/embed.js")).status_code == 200
    await listed_page_works(server, address)


async def test_the_listed_page_has_its_own_limits(server: ServerProcess) -> None:
    """What it may do is not more, though much was refused, and an item that is none is its own affair."""
    address = "192.0.2.4"
    codes = [await code_of(server, address, LISTED, "item=") for _ in range(ARRIVALS)]
    assert codes == [CloseCode.BAD_ITEM] * ARRIVALS
    assert await code_of(server, address, LISTED) == CloseCode.OVERLOADED
    async with client(server, address) as http:
        answers = [await http.get("/v1/items?item=a", headers={"Origin": LISTED}) for _ in range(REQUESTS)]
        assert {answer.status_code for answer in answers} == {200}
        check_limited(await http.get("/v1/items?item=a", headers={"Origin": LISTED}))


ALLOWED = {
    "no browser": ({}, True),
    "no browser, with a mode": ({"Sec-Fetch-Mode": "cors"}, True),
    "typed in": ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}, True),
    "our own page": ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, True),
    "a listed page": ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site", "Origin": LISTED}, True),
    "a listed beacon": (
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site", "Origin": LISTED},
        True,
    ),
    "an image": ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}, False),
    "an image of the same site": ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-site"}, False),
    "an image of ours": ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "same-origin"}, False),
    "only a mode": ({"Sec-Fetch-Mode": "no-cors"}, False),
    "a frame": ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}, False),
    "something new": ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "new-kind"}, False),
    "an unlisted beacon": (
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site", "Origin": UNLISTED},
        False,
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
async def test_requests_by_their_fetch_metadata(server: ServerProcess, case: str) -> None:
    headers, allowed = ALLOWED[case]
    async with client(server, f"203.0.113.{list(ALLOWED).index(case)}") as http:
        answers = await asyncio.gather(
            http.get("/v1/items?item=a", headers=headers), http.post("/v1/visitors", headers=headers)
        )
        if allowed:
            assert [answer.status_code for answer in answers] == [200, 201]
        else:
            assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
                (403, "forbidden")
            ] * 2
        for path in ("/embed.js", "/", "/livez"):
            assert (await http.get(path, headers=headers)).status_code == 200, "pages are for all"
