"""A server below a path, behind a proxy that takes it off, and behind one that passes it on."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio
from tallycast.api.pages import DEMO

from tests.client.tokens import bearer, visitor_token
from tests.client.websocket import connect
from tests.conftest import listed
from tests.load.support import harness
from tests.support.below import below
from tests.support.limits import loose
from tests.support.process import ServerProcess

PATH = "/tally/"


@pytest.fixture(scope="module")
def at_a_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a base path."""
    folder = tmp_path_factory.mktemp("at_a_path")
    with listed(ServerProcess(folder, flags=[*loose(folder), "--base-path", "/tally"])) as process:
        yield process.start()


@pytest_asyncio.fixture(params=["passed on", "taken off", "taken off, not told"])
async def url(
    request: pytest.FixtureRequest, at_a_path: ServerProcess, server: ServerProcess
) -> AsyncIterator[str]:
    behind = server if "not told" in request.param else at_a_path
    async with below(behind.url, PATH, strips="taken off" in request.param) as url:
        yield url


async def test_everything_is_there(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        for path in ("/readyz", "/livez", "/embed.js", "/openapi.json", "/v1/items?item=a", *DEMO):
            assert (await http.get(path)).status_code == 200, path
        token = await visitor_token(http)
        headers = bearer(token)
        body = {"reaction": "like"}
        put = await http.put("/v1/reaction", params={"item": "below"}, json=body, headers=headers)
        assert put.json()["reaction"] == "like"
    async with connect(f"{url.replace('http', 'ws')}/ws?item=below") as socket:
        await socket.next("counts")


async def test_a_load_test_of_it(at_a_path: ServerProcess) -> None:
    given = {"connections": "4", "items": "1", "reactions": "9/s", "duration": "1s", "warmup": "0s"}
    async with below(at_a_path.url, PATH, strips=False) as url:
        result = await harness(url, **given)
    assert result.totals.count("acked") > 0


async def test_a_server_with_a_base_path_says_so(at_a_path: ServerProcess, server: ServerProcess) -> None:
    assert f"{at_a_path.url}/tally/\n" in at_a_path.output()
    async with httpx.AsyncClient() as http:
        document = (await http.get(f"{at_a_path.url}/tally/openapi.json")).json()
        assert document["servers"] == [{"url": "/tally"}]
        assert (await http.get(f"{server.url}/openapi.json")).json()["servers"] == [{"url": "/"}]
        # Links of the page would lead nowhere without the slash.
        answer = await http.get(f"{at_a_path.url}/tally?theme=dark")
        assert (answer.status_code, answer.headers["location"]) == (308, "/tally/?theme=dark")
        for path in ("/tallyho/livez", "/tally/tally/livez"):
            assert (await http.get(at_a_path.url + path)).status_code == 404, path
