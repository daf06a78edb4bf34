"""The engine stands still, or cannot write: what is known is shown, what is not safe is refused."""

import asyncio
import json
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from server.ledger.embedded import running_engine
from tests.conftest import MakeServer
from tests.faults import FULL, rounds
from tests.faults.conftest import Measured
from tests.faults.oracle import Crowd, audience, quiet, stored
from tests.support.process import ServerProcess
from tests.support.waiting import eventually

# Who waits for an engine that stands still is refused after 2 s; a busy machine may be late.
REFUSED_WITHIN = 20.0


async def readiness(server: ServerProcess) -> int:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        return (await http.get("/readyz")).status_code


@asynccontextmanager
async def newcomer(server: ServerProcess, item: str) -> AsyncIterator[ClientConnection]:
    """Somebody who comes to watch an item that nobody here has watched before."""
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
            # What was committed last may not have come through: what is shown is what is told.
            told = await stored(server.url, crowd.items)
            assert all(watcher.shown == told for watcher in watchers.watchers)
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
        assert {watcher.connections for watcher in watchers.watchers} == {1}, "nobody was dropped"
    assert await readiness(server) == 200
    longest = max(visitor.longest for visitor in crowd.visitors)
    measured(
        f"refused after {longest:.2f} s at most; all watchers exact {took:.1f} s after the last reaction"
    )


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


async def _fill_and_make_room(server: ServerProcess, disk: FullDisk | FileSizeLimit) -> None:
    crowd = Crowd(visitors=8, items=4, seed=8)
    await crowd.arrive(server.url)
    async with audience(server.url, crowd.items) as watchers:
        tasks = crowd.start(server.ws_url, 0.02)
        await crowd.more(200, *watchers.tasks)
        disk.fill()
        await eventually(lambda: "the engine cannot write its data" in server.output(), within=120)
        # It is tried again and again, and each time a write ends it. What still fits is safe, and confirmed.
        ends: list[int] = []

        def nothing_fits() -> bool:
            if server.output().count("the engine is back") > len(ends):
                ends.append(crowd.acks)
            return len(ends) > 2 and ends[-1] == ends[-3]

        await eventually(nothing_fits, within=240)
        assert all(visitor.refusals for visitor in crowd.visitors)
        shown = await stored(server.url, crowd.items)
        assert shown.keys() == set(crowd.items), "what is known is shown"
        disk.make_room()
        await crowd.more(200, *watchers.tasks)
        await quiet(tasks)
        await crowd.settle(server.url, running_engine(server.data))
        await watchers.exact()
