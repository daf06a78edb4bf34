"""Readers that stop on a real server: they harm only themselves, and get the latest or are closed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from tallycast.contract.errors import CloseCode
from tallycast.transport.liveness import CLOSE_WITHIN, STALL_AFTER
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import visitor_token
from tests.client.websocket import Connection, connect
from tests.conftest import MakeServer
from tests.faults import FULL
from tests.faults.conftest import Measured
from tests.support.processes import clients
from tests.support.waiting import eventually

WATCHERS, STOPPED = 100, 5
# An update of this item is about 350 bytes.
ITEM = "slow/" + "x" * 250
BURST = 4
RECEIVE_BUFFER = 4096
# What a reader that stopped may be sent from before: the buffers of two kernels and one frame, no history.
AT_MOST = 48 * 1024


class Watcher:
    """Watches the item and reads all that comes, as long as its connection is let."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.versions: list[int] = []
        self.latest: dict[str, Any] = {}

    async def read(self) -> None:
        """Until it is closed."""
        try:
            while True:
                message = json.loads(await self.connection.recv())
                if message["type"] == "counts":
                    assert "reset" not in message
                    self.versions.append(message["version"])
                    self.latest = message["counts"]
        except ConnectionClosed:
            pass

    @property
    def received(self) -> int:
        """In bytes."""
        return self.connection.bytes_received

    @property
    def version(self) -> int:
        """The latest one shown."""
        return self.versions[-1] if self.versions else -1


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watcher]:
    """A watcher that was shown its snapshot."""
    connection = await connect(f"{url}/ws?item={ITEM}", receive_buffer=RECEIVE_BUFFER)
    watcher = Watcher(connection)
    reading = asyncio.create_task(watcher.read())
    try:
        await eventually(lambda: bool(watcher.versions))
        yield watcher
    finally:
        connection.abort()
        await reading


class Visitor:
    """Reacts, and knows what was confirmed last."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._turn = 0
        self.version = 0
        self.counts: dict[str, int] = {}

    async def burst(self) -> None:
        """Change some times what it holds; wait for the answers."""
        for _ in range(BURST):
            self._turn += 1
            reaction = {"type": "react", "item": ITEM, "reaction": ("like", "dislike", None)[self._turn % 3]}
            await self._line.send(json.dumps(reaction))
        for _ in range(BURST):
            answer = json.loads(await self._line.recv())
            assert answer["type"] == "ack", answer
            self.version, self.counts = answer["version"], answer["counts"]


async def test_a_stopped_reader_is_dropped_and_one_that_reads_on_gets_the_latest(
    make_server: MakeServer, measured: Measured
) -> None:
    # Two workers: what holds for each holds for one.
    server = make_server(flags=["--workers", "2"])
    async with httpx.AsyncClient(base_url=server.url) as http:
        token = await visitor_token(http)
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(connect(f"{server.ws_url}/ws"))
        await line.ask("auth", token=token)
        visitor = Visitor(line)
        watchers = [await stack.enter_async_context(watching(server.ws_url)) for _ in range(WATCHERS)]
        stopped, comes_back, others = watchers[:STOPPED], watchers[STOPPED], watchers[STOPPED + 1 :]
        for watcher in (*stopped, comes_back):
            watcher.connection.pause()

        def connected() -> int:
            return sum(clients(worker) for worker in server.workers)

        # Those for HTTP have ended.
        before = WATCHERS + 1
        await eventually(lambda: connected() == before)

        def reply(*these: Watcher) -> bool:
            return all(one.version == visitor.version and one.latest == visitor.counts for one in these)

        while min(one.received for one in others) < 2 * AT_MOST:
            await visitor.burst()
            await eventually(lambda: reply(*others))

        comes_back.connection.resume()
        await eventually(lambda: reply(comes_back))
        assert comes_back.received < AT_MOST, "what was overtaken was not kept for it"
        await visitor.burst()
        await eventually(lambda: reply(comes_back, *others))

        for watcher in watchers:
            assert watcher.versions == sorted(set(watcher.versions)), "versions rise"
        if not FULL:
            return  # That takes its time; tests/web/test_socket.py has it on a clock of its own.

        # Some time after they took nothing any more, and not those that read.
        dropped = STALL_AFTER + CLOSE_WITHIN
        await eventually(lambda: connected() == before - STOPPED, within=dropped + 10)
        await visitor.burst()
        await eventually(lambda: reply(comes_back, *others))
        for watcher in stopped:
            watcher.connection.resume()
        codes = {await watcher.connection.closed() for watcher in stopped}
        assert all(watcher.received < AT_MOST for watcher in stopped)
        assert codes <= {None, CloseCode.STALLED}
    most = max(one.received for one in stopped) // 1024
    measured(
        f"{STOPPED} that stopped were sent {most} KiB at most and dropped, one came back to the latest; "
        f"{len(others)} others received {len(others[0].versions)} updates each"
    )
