"""A server with many connections is stopped and started: all are told, come back, and see the latest."""

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
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.conftest import MakeServer
from tests.faults import rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, quiet
from tests.support.deaf import stall
from tests.support.waiting import eventually

PAGES, STALLED = rounds(200, 2000), rounds(3, 10)
DRAIN = 8
ITEM = "item/0"


class Page:
    """Watches, as a browser would; when told to wait before it comes back, it does."""

    def __init__(self, url: str) -> None:
        self.version = -1
        self.connections = 0
        self.closed_at = 0.0
        self.pause: float | None = None
        self.codes: list[int | None] = []
        self._url = f"{url}/ws?item={ITEM}"

    async def show(self) -> None:
        """Until cancelled."""
        again = 0.25
        while True:
            try:
                async with connect(self._url, ping_interval=None) as line:
                    self.connections += 1
                    again = 0.25
                    async for frame in line:
                        self._heard(json.loads(frame))
            except ConnectionClosed:
                pass
            except (WebSocketException, OSError, TimeoutError):
                await asyncio.sleep(again * random.uniform(0.5, 1.5))
                again = min(2 * again, 4.0)
                continue
            self.closed_at = time.monotonic()
            self.codes.append(line.close_code)
            await asyncio.sleep(self.pause or again)

    def _heard(self, message: dict[str, object]) -> None:
        if message["type"] == "counts":
            version = message["version"]
            assert isinstance(version, int)
            assert version >= self.version
            self.version = version
        elif message["type"] == "bye":
            pause = message["retry_after"]
            assert isinstance(pause, float | int)
            self.pause = pause


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each connection is two descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_everybody_is_told_and_comes_back(make_server: MakeServer, measured: Measured) -> None:
    server = make_server(flags=["--workers", "2", "--drain", str(DRAIN)])
    crowd = Crowd(visitors=1, items=1, seed=41)
    await crowd.arrive(server.url)
    pages = [Page(server.ws_url) for _ in range(PAGES)]
    tasks = []
    for number in range(100, PAGES + 1, 100):
        tasks += [asyncio.create_task(page.show()) for page in pages[number - 100 : number]]
        await eventually(lambda number=number: all(page.version >= 0 for page in pages[:number]), within=60)
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(await asyncio.to_thread(stall, server.url))
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 10 * DRAIN) == 0
        gone_after = time.monotonic() - began
    # Each was told, and closed in good order, one after the other.
    await eventually(lambda: all(page.codes for page in pages), within=60)
    assert {code for page in pages for code in page.codes} == {1012}
    assert all(page.pause is not None for page in pages)
    closed = sorted(page.closed_at - began for page in pages)
    assert closed[-1] - closed[0] > DRAIN / 2, "evenly over most of the time"

    began = time.monotonic()
    await asyncio.to_thread(server.start)
    reacting = crowd.start(server.ws_url)
    await crowd.more(50)
    await quiet(reacting)
    await crowd.settle(server.url)
    latest = max(page.version for page in pages)
    await eventually(
        lambda: all(page.connections == 2 for page in pages) and len({page.version for page in pages}) == 1,
        within=120,
    )
    back_after = time.monotonic() - began
    assert pages[0].version >= latest
    for task in tasks:
        assert not task.done(), task.exception()
    await quiet(tasks)
    measured(
        f"{PAGES} sockets and {STALLED} stalled: gone after {gone_after:.1f} s of {DRAIN}, closes spread "
        f"over {closed[-1] - closed[0]:.1f} s; all back and exact {back_after:.1f} s after the start"
    )
