"""The wiring of a worker: its parts together, on a real engine, in this process."""

import asyncio
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import pytest
from redis import Redis
from tallycast.app import Host, run_worker
from tallycast.config.settings import load
from tallycast.domain.sites import Site
from tallycast.engine import feed
from tallycast.engine import standalone as engine_module
from tallycast.engine.keys import member
from tallycast.engine.standalone import StandaloneStore
from tallycast.fanout import fanout, hub
from tallycast.fanout import reconciler as reconciliation
from tallycast.ledger import auditor, merge
from tallycast.ledger.writer import Committed, SetReaction, StandaloneWriter
from tallycast.observability.measures import Snapshot
from tallycast.transport.websocket.protocol import Socket

from tests.client.websocket import connect_blocking
from tests.ledger.support import sequence
from tests.support.engine import private_engine
from tests.support.names import NAMES
from tests.support.waiting import wait_for

X, CHANNEL = NAMES.item_key("default", "x"), NAMES.item_channel("default", "x")


def with_worker(redis_url: str, act: Callable[[str], None]) -> Snapshot:
    """Run a worker as long as ``act`` needs, which is given its address (host and port); the last numbers."""
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
        sites = {"default": Site()}
        nothing: Any = lambda *_: None  # noqa: E731
        idle = partial(asyncio.sleep, 0)
        host = Host(thread.start, nothing, nothing, nothing, idle)
        last = run_worker(settings, listener, sites, host)
        thread.join()
    for failure in failures:
        raise failure
    return last


def followers(client: Any, channel: bytes) -> int:
    return int(dict(client.pubsub_numsub(channel))[channel])


def readiness(address: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.usefixtures("no_settings")
def test_an_item_is_left_some_time_after_its_last_watcher(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER", 0.1)
    monkeypatch.setattr(fanout, "EXPIRY_INTERVAL", 0.05)

    def act(address: str) -> None:
        with Redis.from_url(engine) as client:
            with connect_blocking(f"ws://{address}/ws?item=x") as watcher:
                watcher.next()
                assert followers(client, CHANNEL) == 1
            wait_for(lambda: followers(client, CHANNEL) == 0, "the end of the subscription")

    with_worker(engine, act)


@pytest.mark.usefixtures("no_settings")
def test_the_engines_clock_is_looked_at_when_nothing_else_asks(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAINTENANCE_INTERVAL", 0.01)

    def act(address: str) -> None:
        with Redis.from_url(engine) as client:
            client.config_resetstat()

            def looks() -> int:
                return int(client.info("commandstats").get("cmdstat_time", {}).get("calls", 0))

            wait_for(lambda: looks() >= 3, "looks at the clock")

    with_worker(engine, act)


@pytest.mark.usefixtures("no_settings")
def test_what_was_not_published_is_found_and_counted(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "PERIOD", 0.5)
    monkeypatch.setattr(reconciliation, "GRACE", 0.1)

    async def react_quietly() -> None:
        link = StandaloneStore(engine.replace("unix://", "unix://quiet@"))
        writer = StandaloneWriter(link)
        loop = asyncio.get_running_loop()
        receipt: asyncio.Future[Any] = loop.create_future()
        writer.submit(SetReaction(Site(), "x", member("a:1"), "like", 0, receipt.set_result))
        assert isinstance(await receipt, Committed)
        await writer.close()
        await link.close()

    def act(address: str) -> None:
        with Redis.from_url(engine) as client:
            client.acl_setuser("quiet", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
        with connect_blocking(f"ws://{address}/ws?item=x") as watcher:
            assert watcher.next()["counts"]["like"] == 0
            asyncio.run(react_quietly())
            assert watcher.next()["counts"]["like"] == 1

    assert with_worker(engine, act).counters["reconciliation_repairs"] == {"": 1}


@pytest.mark.usefixtures("no_settings")
def test_counts_are_audited_and_merges_finished_in_the_background(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditor, "LEASE_INTERVAL", 0.05)
    monkeypatch.setattr(auditor, "FULL_AUDIT_INTERVAL", 1)
    monkeypatch.setattr(merge, "INTERVAL", 0.05)

    def act(address: str) -> None:
        with Redis.from_url(engine) as client, connect_blocking(f"ws://{address}/ws?item=x") as watcher:
            watcher.next()
            client.zadd(NAMES.merges, {msgpack.packb([b"default", b"stranger", b"account"]): 0})
            client.hset(X, mapping={"": sequence(1, 0, 0, 1, 0, "like", 5), member("a:1"): 1})
            assert watcher.next()["counts"]["like"] == 1
            wait_for(lambda: not client.exists(NAMES.merges), "an end of the merge")

    counters = with_worker(engine, act).counters
    assert counters["audited_items"][""] >= 1
    assert counters["audit_repairs"] == {"": 1}


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
        with connect_blocking(f"ws://{address}/ws"):
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
