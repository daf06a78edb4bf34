"""Fixtures of the conformance suite. `server` comes from the suite above."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from .client import JSON, MSGPACK, Frame, Http, Server, Visitor, connect


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each test with it runs once in each subprotocol."""
    return str(request.param)


@pytest.fixture
async def http(server: Server) -> AsyncIterator[Http]:
    async with Http(server) as client:
        yield client


@pytest.fixture
async def alice(http: Http) -> Visitor:
    return await http.visitor()


@pytest.fixture
async def bob(http: Http) -> Visitor:
    return await http.visitor()


@pytest.fixture(scope="session", autouse=True)
def idle(server: Server) -> Iterator[Future[tuple[float, Frame]]]:
    """A socket that says nothing from the start of the session: what came first on it, and after how long."""
    stop: Future[None] = Future()

    async def listen() -> tuple[float, Frame]:
        async with connect(server) as silent:
            started = time.monotonic()
            first = asyncio.ensure_future(silent.next(within=40))
            stopped = asyncio.wrap_future(stop)
            await asyncio.wait([first, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                first.cancel()
                return 0.0, {}
            return time.monotonic() - started, await first

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(asyncio.run, listen())
        stop.set_result(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that waits for half a minute of silence runs last, when most of it has passed."""
    items.sort(key=lambda item: item.nodeid.endswith("::test_beat_after_25_s_of_silence"))
