"""A server with many connections is stopped and started: all get `bye`, come back, and see the latest."""

import asyncio
import json
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tallycast.app import RESERVE
from tallycast.engine.embedded.server import running_engine
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.client.websocket import Connection, connect, stall
from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, quiet, stored
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

PAGES, STALLED = rounds(200, 2000), rounds(3, 10)
DRAIN = rounds(4, 8)
ITEM = "item/0"
# How long (s) a page waits before it tries again to connect, at first and at most.
SOONEST, LATEST = 0.25, 4.0


class Page:
    """Watches, as a browser would; when told to wait before it comes back, it does."""

    def __init__(self, url: str) -> None:
        self.shown: tuple[int, dict[str, int]] = (-1, {})
        self.connections = 0
        self.closed_at = 0.0
        self.pause: float | None = None
        self.codes: list[int | None] = []
        self._url = f"{url}/ws?item={ITEM}"

    async def show(self) -> None:
        """Until cancelled."""
        again = SOONEST
        while True:
            try:
                async with connect(self._url) as connection:
                    await self._read(connection)
            except ConnectionClosed as closed:
                self.closed_at = time.monotonic()
                self.codes.append(closed.rcvd and closed.rcvd.code)
                again = SOONEST
                await asyncio.sleep(self.pause or again)
            except (OSError, InvalidHandshake):
                await asyncio.sleep(again * random.uniform(0.5, 1.5))
                again = min(2 * again, LATEST)

    async def _read(self, connection: Connection) -> None:
        """Until it is closed."""
        counted = False
        while True:
            message = json.loads(await connection.recv())
            if message["type"] == "counts":
                assert message["version"] >= self.shown[0]
                self.shown = message["version"], message["counts"]
                self.connections += not counted
                counted = True
            elif message["type"] == "bye":
                self.pause = message["retry_after"]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each connection is two descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def show(pages: list[Page]) -> "list[asyncio.Task[None]]":
    """Let all pages connect, some at a time."""
    tasks = []
    for start in range(0, len(pages), 100):
        some = pages[start : start + 100]
        tasks += [asyncio.create_task(page.show()) for page in some]
        await eventually(lambda some=some: all(page.connections for page in some), within=60)
    return tasks


async def gone_after(server: ServerProcess) -> float:
    """Tell the server to stop; how long that took (s)."""

    def wait() -> float:
        # In a thread, because this process's own loop is busy with thousands of closes.
        assert server.wait(10 * DRAIN) == 0
        return time.monotonic()

    began = time.monotonic()
    waiting = asyncio.create_task(asyncio.to_thread(wait))
    os.kill(server.pid, signal.SIGTERM)
    return await waiting - began


@pytest.mark.usefixtures("many_files")
async def test_every_page_gets_bye_and_comes_back(make_server: MakeServer, measured: Measured) -> None:
    server = make_server(flags=["--workers", "2", "--drain", str(DRAIN)])
    crowd = Crowd(visitors=4, items=1, seed=41)
    await crowd.arrive(server.url)
    pages = [Page(server.ws_url) for _ in range(PAGES)]
    tasks = await show(pages)
    reacting = crowd.start(server.ws_url, 0.05)
    await crowd.more(20)
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(await asyncio.to_thread(stall, server.url))
        began = time.monotonic()
        gone = await gone_after(server)
    # Each got `bye`, and was closed in good order, one after the other, with all that it had asked for done.
    await eventually(lambda: all(page.codes for page in pages), within=60)
    assert {code for page in pages for code in page.codes} == {1012}
    assert all(page.pause is not None for page in pages)
    closed = sorted(page.closed_at - began for page in pages)
    assert closed[-1] - closed[0] > (DRAIN - RESERVE) / 2, "evenly over most of the time"
    await asyncio.gather(*reacting)
    assert not any(visitor.refusals for visitor in crowd.visitors)

    began = time.monotonic()
    await asyncio.to_thread(server.start)
    reacting = crowd.start(server.ws_url)
    await crowd.more(50)
    await quiet(reacting)
    await crowd.settle(server.url, running_engine(server.data))
    latest = (await stored(server.url, [ITEM]))[ITEM]
    await eventually(
        lambda: all(page.connections == 2 and page.shown == latest for page in pages), within=120
    )
    back = time.monotonic() - began
    for task in tasks:
        assert not task.done(), task.exception()
    await quiet(tasks)
    measured(
        f"{PAGES} sockets and {STALLED} stalled: gone after {gone:.1f} s of {DRAIN}, closes spread over "
        f"{closed[-1] - closed[0]:.1f} s; all back and exact {back:.1f} s after the start"
    )
