"""Fixtures of the conformance suite. `server` comes from the suite above."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import JSON, MSGPACK, Frame, Server, new_item

from .stream import listen

T = TypeVar("T")


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


async def _first(next_frame: Coroutine[Any, Any, Frame], stop: Future[None]) -> tuple[float, Frame]:
    """What comes first, and after how long; nothing when the session ends before."""
    started = time.monotonic()
    first = asyncio.ensure_future(next_frame)
    await asyncio.wait([first, asyncio.wrap_future(stop)], return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        return 0.0, {}
    return time.monotonic() - started, await first


@contextmanager
def _meanwhile(listening: Callable[[Future[None]], Coroutine[Any, Any, T]]) -> Iterator[Future[T]]:
    """Listen from now on, beside the tests."""
    stop: Future[None] = Future()
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: asyncio.run(listening(stop)))
        stop.set_result(None)


@pytest.fixture(scope="session", autouse=True)
def idle(server: Server) -> Iterator[Future[tuple[float, Frame]]]:
    """A socket that says nothing from the start of the session: what came first on it, and after how long."""

    async def listening(stop: Future[None]) -> tuple[float, Frame]:
        async with connect(server) as silent:
            return await _first(silent.next(within=40), stop)

    with _meanwhile(listening) as first:
        yield first


@pytest.fixture(scope="session", autouse=True)
def idle_stream(server: Server) -> Iterator[Future[tuple[float, Frame]]]:
    """The same of a stream, after its snapshot."""

    async def listening(stop: Future[None]) -> tuple[float, Frame]:
        async with listen(server, new_item()) as silent:
            await silent.next()
            return await _first(silent.next(within=40), stop)

    with _meanwhile(listening) as first:
        yield first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The test that waits for half a minute of silence runs last, when most of it has passed."""
    items.sort(key=lambda item: item.nodeid.endswith("::test_beat_after_25_s_of_silence"))
