"""The wiring of a worker: its parts together, on a real engine, in this process."""

import asyncio
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from websockets.sync.client import connect

from server import app, hub
from server.app import Relay, run_worker
from server.errors import Unavailable
from server.hub import Hub
from server.ledger import engine as engine_module
from server.ledger import feed
from server.ledger.keys import item_key
from server.ledger.reader import Query, State
from server.rules.sites import Site
from server.settings import load
from server.web.socket import Socket
from tests.support.engine import private_engine
from tests.support.waiting import eventually, wait_for

X = item_key("default", "x")


def with_worker(redis_url: str, act: Callable[[str], None]) -> None:
    """Run a worker as long as ``act`` needs, which is given its address (host and port)."""
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def acting() -> None:
            try:
                act(address)
            except BaseException as error:
                failures.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=acting)
        settings = load().model_copy(update={"redis_url": redis_url})
        run_worker(settings, listener, thread.start, {"default": Site()}, lambda take: None)
        thread.join()
    for failure in failures:
        raise failure


def followers(client: Any, channel: bytes) -> int:
    return int(dict(client.pubsub_numsub(channel))[channel])


def readiness(address: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.usefixtures("no_settings")
def test_an_item_is_left_some_time_after_its_last_watcher(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER", 0.1)
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.05)

    def act(address: str) -> None:
        with Redis.from_url(engine) as client:
            with connect(f"ws://{address}/ws?item=x") as watcher:
                watcher.recv(timeout=10)
                assert followers(client, X) == 1
            wait_for(lambda: followers(client, X) == 0, "the end of the subscription")

    with_worker(engine, act)


@pytest.mark.usefixtures("no_settings")
def test_the_engines_clock_is_looked_at_when_nothing_else_asks(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "KEEP_TIME_EVERY", 0.01)

    def act(address: str) -> None:
        with Redis.from_url(engine) as client:
            client.config_resetstat()

            def looks() -> int:
                return int(client.info("commandstats").get("cmdstat_time", {}).get("calls", 0))

            wait_for(lambda: looks() >= 3, "looks at the clock")

    with_worker(engine, act)


@pytest.mark.usefixtures("no_settings")
def test_connections_are_kept_alive_and_nothing_piles_up_in_the_kernel(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[int, ...]] = []
    made = Socket.connection_made

    def connection_made(self: Socket, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        tcp = (socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT, socket.TCP_NOTSENT_LOWAT)
        found.append(
            (
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp),
            )
        )
        made(self, transport)

    monkeypatch.setattr(Socket, "connection_made", connection_made)

    def act(address: str) -> None:
        with connect(f"ws://{address}/ws"):
            pass

    with_worker(engine, act)
    ((alive, at_once, patience, waiting),) = found
    assert alive
    assert at_once
    assert 10_000 <= patience <= 60_000
    assert 0 < waiting <= 64 * 1024


@pytest.mark.usefixtures("no_settings")
def test_it_is_not_ready_when_the_engine_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noticed by the broken link, and not only by a long silence.
    monkeypatch.setattr(feed, "SILENCE", 3600.0)

    with private_engine() as url:

        def act(address: str) -> None:
            wait_for(lambda: readiness(address) == 200, "readiness")
            with Redis.from_url(url) as client:
                pid = client.info("server")["process_id"]
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: readiness(address) == 503, "the end of readiness")

        with_worker(url, act)


# The relay


class Reread:
    """A relay with a hub, and a store that answers when the test says so."""

    def __init__(self) -> None:
        self.queries: list[Query] = []
        self.relay = Relay(self.queries.append)
        nothing: Callable[[bytes], None] = lambda channel: None  # noqa: E731
        self.hub = self.relay.hub = Hub(item_key, nothing, nothing, lambda _, call: None)
        for item, version in (("x", 9), ("y", 9)):
            self.hub.hold(Site(), item)
            self.relay.changed(item_key("default", item), version, {"like": version})

    def answer(self, item: str, answer: State | Unavailable) -> None:
        (query,) = (query for query in self.queries if query.items == [item])
        query.done(answer if isinstance(answer, Unavailable) else [answer])

    def versions(self) -> list[int]:
        return [self.hub.version(item_key("default", item)) for item in "xy"]


async def test_a_reread_that_failed_is_said_and_the_others_are_taken() -> None:
    scene = Reread()
    reading = asyncio.create_task(scene.relay.reread([item_key("default", item) for item in "xyz"]))
    await eventually(lambda: len(scene.queries) == 2)
    scene.answer("x", Unavailable("gone", retry_after=1.0))
    scene.answer("y", State(12, {"like": 12}, None))
    with pytest.raises(Unavailable):
        await reading
    assert scene.versions() == [9, 12]


async def test_a_store_that_went_back_is_taken_and_one_that_was_overtaken_is_not() -> None:
    scene = Reread()
    reading = asyncio.create_task(scene.relay.reread([item_key("default", item) for item in "xy"]))
    await eventually(lambda: len(scene.queries) == 2)
    scene.relay.changed(item_key("default", "y"), 10, {"like": 10})
    scene.answer("x", State(4, {"like": 4}, None))
    scene.answer("y", State(4, {"like": 4}, None))
    await reading
    assert scene.versions() == [4, 10]
