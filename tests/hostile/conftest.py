"""The server that is attacked."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from redis import Redis

from tests.client.websocket import connect_blocking
from tests.hostile.watch import FULL
from tests.support.limits import loose
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the limits that everybody has, and one worker, so that there is one memory to watch."""
    with ServerProcess(tmp_path_factory.mktemp("victim")) as process:
        warm(process, 300)
        # Unsubscribing from unwatched items takes memory, too.
        with Redis.from_url(f"unix://{process.data / 'engine.sock'}") as engine:
            wait_for(lambda: not engine.pubsub_channels("tc:{default:*"), "the end of the crowd", 60)
        yield process


@pytest.fixture(scope="session")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that refuses nothing for being too much, so that everything is done; two workers."""
    folder = tmp_path_factory.mktemp("lenient")
    with ServerProcess(folder, flags=["--workers", "2", *loose(folder)]) as process:
        yield warm(process, 1000 if FULL else 30)


def warm(server: ServerProcess, crowd: int = 30) -> ServerProcess:
    """Start it, and let an honest crowd make it hold what it holds for good, before anybody looks."""
    server.start()
    with httpx.Client(base_url=server.url) as http:
        token = http.post("/v1/visitors").json()["token"]
        for number in range(crowd):
            http.get(f"/v1/items?item={number}")
    with ExitStack() as stack:
        lines = [
            stack.enter_context(connect_blocking(f"{server.ws_url}/ws?item={number}"))
            for number in range(crowd)
        ]
        for number, line in enumerate(lines):
            line.post("watch", items=[f"warm{number}-{n}" for n in range(40)])
            line.post("auth", token=token)
        for line in lines:
            line.next("ready")
    return server
