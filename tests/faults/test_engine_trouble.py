"""The engine stands still, or cannot write: what is known is shown, what is not safe is refused."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import httpx
import pytest
from tallycast.engine.embedded.server import running_engine

from tests.client.tokens import visitor_token
from tests.client.websocket import Connection, connect
from tests.conftest import MakeServer
from tests.faults import FULL, rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet, stored
from tests.ledger.support import membership, raw
from tests.support.process import ServerProcess
from tests.support.processes import resident
from tests.support.waiting import eventually

# Together more than a thousand reactions a second, on one item.
SENDERS, EACH, CROWDED = 100, 12, "crowded"
MIB = 2**20
# So many starts of the engine without one more ack: nothing fits any more.
TRIES = rounds(2, 3)
# Requests to an engine that stands still are refused after 2 s; a busy machine may be late.
REFUSED_WITHIN = 20.0


async def readiness(server: ServerProcess) -> int:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        return (await http.get("/readyz")).status_code


@asynccontextmanager
async def newcomer(server: ServerProcess, item: str) -> AsyncIterator[Connection]:
    """A connection that watches an item that was never watched here."""
    async with connect(f"{server.ws_url}/ws") as socket:
        await socket.send(json.dumps({"type": "watch", "items": [item], "ref": 1}))
        yield socket


async def test_the_engine_stands_still(make_server: MakeServer, measured: Measured) -> None:
    server = make_server()
    engine = server.engine
    assert engine is not None
    crowd = Crowd(visitors=20, items=5, seed=6)
    await crowd.arrive(server.url)
    async with audience(server.url, crowd.items) as watchers:
        tasks = crowd.start(server.ws_url, 0.1)
        await crowd.more(100, *watchers.tasks)
        os.kill(engine, signal.SIGSTOP)
        try:
            await eventually(
                lambda: all(visitor.refusals for visitor in crowd.visitors), within=REFUSED_WITHIN
            )

            async def is_stale() -> bool:
                return await readiness(server) == 503

            await eventually(is_stale, within=REFUSED_WITHIN)
            # What was committed last may not have come through: what is shown is what counts.
            reply = await stored(server.url, crowd.items)
            assert all(watcher.shown == reply for watcher in watchers.watchers)
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
                unknown = await http.get("/v1/items", params={"item": "unknown"})
                assert (unknown.status_code, unknown.json()["code"]) == (503, "unavailable")
            async with newcomer(server, "new") as socket:
                answer = json.loads(await socket.recv())
                assert (answer["type"], answer["code"]) == ("error", "unavailable")
                await asyncio.sleep(rounds(0, 15))
                os.kill(engine, signal.SIGCONT)
                answer = json.loads(await socket.recv())
                assert (answer["type"], answer["item"], answer["version"]) == ("counts", "new", 0)
        finally:
            os.kill(engine, signal.SIGCONT)
        await crowd.more(100, *watchers.tasks)
        await quiet(tasks)
        await crowd.settle(server.url, running_engine(server.data))
        took = await watchers.exact()
        assert {watcher.connections for watcher in watchers.watchers} == {1}, "no connection was dropped"
    assert await readiness(server) == 200
    longest = max(visitor.longest for visitor in crowd.visitors)
    measured(
        f"refused after {longest:.2f} s at most; all watchers exact {took:.1f} s after the last reaction"
    )


async def test_writes_do_not_pile_up_before_an_engine_that_stands_still(
    make_server: MakeServer, measured: Measured
) -> None:
    """A thousand reactions a second, whether they are answered or not."""
    server = make_server()
    engine, (worker,) = server.engine, server.workers
    assert engine is not None
    async with AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(sending(server)) for _ in range(SENDERS)]
        # What so many reactions take of memory while all is well.
        await asyncio.gather(*(sender.run(rounds(1, 5)) for sender in senders))
        before = highest = resident(worker)
        os.kill(engine, signal.SIGSTOP)
        try:
            began, seconds = time.monotonic(), rounds(2, 15)
            running = [asyncio.create_task(sender.run(seconds)) for sender in senders]
            while not all(task.done() for task in running):
                assert time.monotonic() - began < seconds + REFUSED_WITHIN
                highest = max(highest, resident(worker))
                await asyncio.sleep(0.05)
            rate = sum(sender.refused for sender in senders) / (time.monotonic() - began)
        finally:
            os.kill(engine, signal.SIGCONT)
        await asyncio.gather(*running)
        assert all(sender.answered == sender.sent for sender in senders)
        # Some hundred bytes for each that waits its two seconds.
        assert highest - before < 4 * MIB
        # What was refused has no effect later, and what comes now has.
        await asyncio.gather(*(sender.confirmed("like") for sender in senders))
        shown = await stored(server.url, [CROWDED])
        assert shown[CROWDED][1] == {"like": SENDERS, "dislike": 0}
        async with raw(running_engine(server.data)) as client:
            assert await membership(client, CROWDED) == shown[CROWDED][1]
    longest = max(sender.longest for sender in senders)
    measured(
        f"{rate:.0f} reactions/s refused, after {longest:.2f} s at most; the worker grew by "
        f"{(highest - before) / MIB:.1f} MiB from {before / MIB:.0f}"
    )


class Sender:
    """A visitor that reacts again and again, and waits for no answer."""

    def __init__(self, socket: Connection) -> None:
        self.sent = self.answered = self.refused = 0
        self.longest = 0.0
        self._socket = socket
        self._since: deque[float] = deque()

    async def run(self, seconds: float) -> None:
        """React for a while, and wait for the last answer then."""
        began, first = time.monotonic(), self.sent
        listening = asyncio.create_task(self._listen(first + int(seconds * EACH)))
        for number in range(int(seconds * EACH)):
            await asyncio.sleep(max(0, began + number / EACH - time.monotonic()))
            await self._send(("like", "dislike")[number % 2])
        await listening

    async def confirmed(self, reaction: str) -> None:
        """React until it is confirmed."""
        refused = -1
        while refused != self.refused:
            refused = self.refused
            listening = asyncio.create_task(self._listen(self.sent + 1))
            await self._send(reaction)
            await listening

    async def _send(self, reaction: str) -> None:
        self.sent += 1
        self._since.append(time.monotonic())
        await self._socket.send(json.dumps({"type": "react", "item": CROWDED, "reaction": reaction}))

    async def _listen(self, answers: int) -> None:
        while self.answered < answers:
            answer = json.loads(await self._socket.recv())
            if answer["type"] == "beat":
                continue  # It was silent while the others came.
            self.answered += 1
            self.longest = max(self.longest, time.monotonic() - self._since.popleft())
            if answer["type"] == "error":
                assert answer["code"] == "unavailable"
                self.refused += 1


@asynccontextmanager
async def sending(server: ServerProcess) -> AsyncIterator[Sender]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        token = await visitor_token(http)
    async with connect(f"{server.ws_url}/ws") as socket:
        await socket.send(json.dumps({"type": "auth", "token": token}))
        assert json.loads(await socket.recv())["type"] == "ready"
        yield Sender(socket)


# A full disk


class FileSizeLimit:
    """The engine's files cannot grow. The signal that comes with that is ignored, as the launcher sees to."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server

    def fill(self) -> None:
        (file,) = self._server.data.glob("appendonlydir/*.incr.aof")
        self._limit(file.stat().st_size + 20_000)

    def make_room(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        # The parent too, because the engines that it starts again inherit it.
        for pid in (self._server.pid, self._server.engine):
            if pid is not None:
                try:
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                except ProcessLookupError:
                    pass  # It has just ended.


class FullDisk:
    """The data lies on a small file system of its own, and something else fills that."""

    def __init__(self, server: ServerProcess) -> None:
        self._ballast = server.data / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass

    def make_room(self) -> None:
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount one, if this user may."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tallycast-test", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["limit", "disk"] if FULL else ["limit"])
async def test_the_disk_is_full(
    make_server: MakeServer, tmp_path: Path, how: str, measured: Measured
) -> None:
    with small_disk(tmp_path / "disk" / "data") as mounted:
        if how == "disk" and mounted:
            server = make_server(folder=tmp_path / "disk")
            disk: FullDisk | FileSizeLimit = FullDisk(server)
        else:
            server = make_server()
            disk = FileSizeLimit(server)
        try:
            await _fill_and_make_room(server, disk)
        finally:
            server.close()
    measured(
        f"{type(disk).__name__}: no ack once nothing fitted, 0 lost; went on by itself when there was room"
    )


@asynccontextmanager
async def refused_newcomer(server: ServerProcess, known: list[str]) -> AsyncIterator[Connection]:
    """A connection that begins to watch while the engine is down; what is ``known`` is read all the time."""
    for number in count():
        shown = await stored(server.url, known)
        assert shown.keys() == set(known), "what is known is shown from memory"
        async with newcomer(server, f"new/{number}") as socket:
            answer = json.loads(await socket.recv())
            if answer["type"] == "error":
                assert (answer["code"], answer["item"]) == ("unavailable", f"new/{number}")
                yield socket
                return
        # Between its start and the next write the engine answers.
        await asyncio.sleep(0.05)


async def _fill_and_make_room(server: ServerProcess, disk: FullDisk | FileSizeLimit) -> None:
    crowd = Crowd(visitors=8, items=4, seed=8)
    await crowd.arrive(server.url)
    async with audience(server.url, crowd.items) as watchers:
        tasks = crowd.start(server.ws_url, 0.02)
        await crowd.more(200, *watchers.tasks)
        disk.fill()
        await eventually(lambda: "engine write failed" in server.output(), within=120)
        # It is tried again and again, and each time a write ends it. What still fits is safe, and confirmed.
        ends: list[int] = []

        def nothing_fits() -> bool:
            if server.output().count("engine restarted") > len(ends):
                ends.append(crowd.acks)
            return len(ends) >= TRIES and ends[-1] == ends[-TRIES]

        await eventually(nothing_fits, within=240)
        assert all(visitor.refusals for visitor in crowd.visitors)
        acks = crowd.acks
        async with AsyncExitStack() as stack:
            socket = await stack.enter_async_context(refused_newcomer(server, crowd.items))
            # A reaction that is smaller than those before may still fit; a full disk takes no other.
            assert crowd.acks - acks < len(crowd.visitors)
            disk.make_room()
            answer = json.loads(await socket.recv())
            assert (answer["type"], answer["version"]) == ("counts", 0), "what was refused follows"
        await crowd.more(200, *watchers.tasks)
        await quiet(tasks)
        await crowd.settle(server.url, running_engine(server.data))
        await watchers.exact()
