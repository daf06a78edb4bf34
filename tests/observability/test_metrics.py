"""Metrics of a whole server: what was done is what they show."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgpack
import pytest
from tallycast import __version__
from tallycast.observability.measures import Snapshot
from tallycast.process.exporter import MetricsServer
from websockets.typing import Subprotocol

from tests.client.tokens import bearer, visitor_token_blocking
from tests.client.websocket import BlockingConnection, connect_blocking
from tests.conftest import MakeServer
from tests.support import processes
from tests.support.process import ServerProcess
from tests.support.scrape import FLAGS, Scrape, scrape
from tests.support.waiting import wait_for

ITEM = "posts/42"
SOCKETS = {"tallycast.v1.json": 3, "tallycast.v1.msgpack": 2}
WATCHERS = sum(SOCKETS.values()) + 1  # and one stream


@pytest.fixture
def two(make_server: MakeServer) -> ServerProcess:
    return make_server(flags=["--workers", "2", *FLAGS])


def until(server: ServerProcess, condition: Callable[[Scrape], bool], what: str) -> Scrape:
    """The first scrape that is as wanted."""

    def look() -> Scrape | None:
        found = scrape(server)
        return found if condition(found) else None

    found = wait_for(look, what, 30)
    assert found is not None
    return found


def token(http: httpx.Client) -> dict[str, str]:
    answer = http.post("/v1/visitors").raise_for_status().json()
    return bearer(answer["token"])


def put(http: httpx.Client, reaction: str, headers: dict[str, str]) -> Any:
    answer = http.put("/v1/reaction", params={"item": ITEM}, json={"reaction": reaction}, headers=headers)
    return answer.json()


def until_likes(socket: BlockingConnection, likes: int) -> None:
    """Read until the item is shown with so many."""
    while True:
        data = socket.recv(timeout=30)
        message = json.loads(data) if isinstance(data, str) else msgpack.unpackb(data)
        if message["type"] == "counts" and message["counts"]["like"] == likes:
            return


def stream_until_likes(lines: Iterator[str], likes: int) -> None:
    for line in lines:
        if line.startswith("data: ") and json.loads(line[6:]).get("counts", {}).get("like") == likes:
            return


def test_every_metric_against_what_was_done(two: ServerProcess) -> None:
    with ExitStack() as stack:
        http = stack.enter_context(httpx.Client(base_url=two.url, timeout=30))
        # Nothing has happened: everything is there, and zero.
        found = until(two, lambda found: found.get_one("engine_up") == 1, "the workers")
        assert found.total("reactions_total") == found.total("connections") == 0
        assert found.get_one("reactions_total", "rate_limited") == 0
        assert found.get_one("build_info", __version__) == 1
        assert [found.get_one("worker_up", number) for number in "12"] == [1, 1]

        sockets = [
            stack.enter_context(
                connect_blocking(f"{two.ws_url}/ws?item={ITEM}", subprotocols=[Subprotocol(name)])
            )
            for name, count in SOCKETS.items()
            for _ in range(count)
        ]
        stream = stack.enter_context(http.stream("GET", "/v1/stream", params={"item": ITEM}))
        lines = stream.iter_lines()
        stream_until_likes(lines, 0)
        for one in sockets:
            until_likes(one, 0)
        found = scrape(two)
        assert found.get_one("connections", "ws-json") == 3
        assert found.get_one("connections", "ws-msgpack") == 2
        assert found.get_one("connections", "sse") == 1
        assert found.get_one("watched_items") in (1, 2), "once for each worker"
        assert found.get_one("updates_sent_total") == 0, "a snapshot is no update"

        # One after the other: everybody is brought every one.
        for likes in range(1, 4):
            assert put(http, "like", token(http))["counts"]["like"] == likes
            for one in sockets:
                until_likes(one, likes)
            stream_until_likes(lines, likes)
        found = until(two, lambda found: found.get_one("updates_sent_total") == 3 * WATCHERS, "updates")
        assert found.get_one("updates_conflated_total") == 0
        assert found.get_one("delivery_lag_seconds_count") == 3 * WATCHERS
        assert 0 < found.get_one("delivery_lag_seconds_sum") < 3 * WATCHERS * 30
        assert found.get_one("reactions_total", "acked") == 3
        assert found.get_one("batch_size_count") == found.get_one("batch_size_sum") == 3
        assert found.get_one("batch_size_bucket", "1.0") == 3
        assert found.get_one("engine_round_trip_seconds_count") >= 3

        # Many at once: some of them travel together, and some updates are overtaken.
        sender = stack.enter_context(connect_blocking(f"{two.ws_url}/ws"))
        sender.post("auth", token=visitor_token_blocking(two.url), ref=1000)
        for ref in range(300):
            reaction = ("like", "dislike")[ref % 2]
            sender.post("react", item=ITEM, reaction=reaction, ref=ref)
        sender.ask("react", item=ITEM, reaction="like", ref=300)
        # What is brought last differs from all before: another visitor likes it too.
        assert put(http, "like", token(http))["counts"]["like"] == 5
        for one in sockets:
            until_likes(one, 5)
        stream_until_likes(lines, 5)
        found = scrape(two)
        assert found.get_one("reactions_total", "acked") == found.get_one("batch_size_sum") == 305
        # Every batch was published once, and every watcher brought that, or spared it.
        batches = found.get_one("batch_size_count")
        spared = found.get_one("updates_conflated_total")
        assert found.get_one("updates_sent_total") + spared == batches * WATCHERS
        assert found.get_one("delivery_lag_seconds_count") == found.get_one("updates_sent_total")

        # Refused, over both.
        put(http, "like", {})
        put(http, "love", token(http))
        for message in ({"reaction": "love", "item": ITEM}, {"reaction": "like", "item": ""}):
            sender.post("react", **message)
        sender.next(code="bad_item")
        found = scrape(two)
        assert found.get_one("reactions_total", "unauthorized") == 1
        assert found.get_one("reactions_total", "bad_reaction") == 2
        assert found.get_one("reactions_total", "acked") == 305
        assert found.get_one("engine_failures_total") == 0
        assert found.get_one("worker_restarts_total") == 0

    found = until(two, lambda found: found.total("connections") == 0, "the end of all connections")
    assert found.get_one("disconnects_total", "1000") == 6


def test_disconnects_by_code(two: ServerProcess) -> None:
    with connect_blocking(f"{two.ws_url}/ws?site=none") as refused:
        refused.closed()
    with connect_blocking(f"{two.ws_url}/ws") as abusive:
        for _ in range(10):
            abusive.send("?")
        abusive.closed()
    with connect_blocking(f"{two.ws_url}/ws") as strange:
        strange.close(3999)
    with connect_blocking(f"{two.ws_url}/ws") as away:
        away.close(1001)
    with connect_blocking(f"{two.ws_url}/ws") as lost:
        lost.socket.shutdown(socket.SHUT_RDWR)
    found = until(two, lambda found: found.total("disconnects_total") == 5, "all disconnects")
    wanted = dict.fromkeys(("4504", "4500", "other", "1001", "1006"), 1.0)
    assert {code: found.get_one("disconnects_total", code) for code in wanted} == wanted
    assert found.total("connections") == 0


def test_a_workers_death_makes_no_counter_fall(two: ServerProcess) -> None:
    with httpx.Client(base_url=two.url, timeout=30) as http:
        for _ in range(10):
            put(http, "like", token(http))
    before = scrape(two)
    assert before.get_one("reactions_total", "acked") == 10
    for worker in two.workers:
        processes.kill(worker)
    again = until(two, lambda found: found.get_one("worker_restarts_total") == 2, "two restarts")
    ready = until(two, lambda found: found.total("worker_up") == 2, "both workers")
    for found in (again, ready):
        counters = {key for key in before if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}
        fallen = {key for key in counters if found[key] < before[key]}
        assert not fallen
    with httpx.Client(base_url=two.url, timeout=30) as http:
        put(http, "like", token(http))
    assert scrape(two).get_one("reactions_total", "acked") == 11


def test_a_worker_that_hangs_does_not_hang_the_scrape(two: ServerProcess) -> None:
    before = scrape(two)
    hung = two.workers[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        found = until(two, lambda found: found.get_one("worker_up", "1") == 0, "it is noticed")
        assert found.get_one("worker_up", "2") == 1
        assert found.get_one("engine_up") == 1, "the other one hears from it"
        counter = ("tallycast_engine_round_trip_seconds_count", "")
        assert found[counter] >= before[counter], "what it reported last still counts"
    finally:
        os.kill(hung, signal.SIGCONT)
    until(two, lambda found: found.total("worker_up") == 2, "it answers again")


def test_an_engine_that_is_gone_shows(make_server: MakeServer) -> None:
    server = make_server(flags=FLAGS)
    assert scrape(server).get_one("engine_up") == 1
    with httpx.Client(base_url=server.url, timeout=30) as http:
        headers = token(http)
    engine = server.engine
    assert engine is not None
    os.kill(engine, signal.SIGSTOP)
    try:
        until(server, lambda found: found.get_one("engine_up") == 0, "the loss is noticed")
        with httpx.Client(base_url=server.url, timeout=30) as http:
            assert put(http, "like", headers)["code"] == "unavailable"
    finally:
        os.kill(engine, signal.SIGCONT)
    found = until(server, lambda found: found.get_one("engine_up") == 1, "it is back")
    assert found.get_one("engine_failures_total") >= 1
    assert found.get_one("reactions_total", "unavailable") == 1


def test_there_are_none_unless_asked_for(server: ServerProcess) -> None:
    assert "Metrics" not in server.output()
    assert httpx.get(f"{server.url}/metrics").status_code == 404


def test_a_port_in_use(make_server: MakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make_server(flags=["--metrics-port", str(port)], start=False).start(wait=False)
        assert server.wait() == 1
        last = server.output().splitlines()[-1]
        assert last.startswith(f"tallycast: port {port} on 127.0.0.1 is in use: ")
        assert last.endswith("--metrics-port")


def test_an_address_that_is_none(make_server: MakeServer) -> None:
    flags = ["--metrics-port", "0", "--metrics-host", "nowhere.invalid"]
    server = make_server(flags=flags, start=False).start(wait=False)
    assert server.wait() == 1
    assert server.output().splitlines()[-1].startswith("tallycast: host nowhere.invalid: ")


def test_an_http_1_0_client_gets_a_length_and_no_chunks() -> None:
    listener = MetricsServer("127.0.0.1", 0, Snapshot)
    address = urlsplit(listener.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    listener.close()
    assert b"transfer-encoding" not in head.lower()
    assert f"Content-Length: {len(body)}".encode() in head.splitlines()
