"""``/readyz`` of a whole server: right, and nothing but that. Why is in the metrics."""

import os
import shutil
import signal
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis

from tests.client.tokens import bearer
from tests.conftest import MakeServer
from tests.support.engine import private_engine
from tests.support.pair import pair
from tests.support.process import ServerProcess
from tests.support.scrape import FLAGS, scrape
from tests.support.waiting import wait_for


@pytest.fixture
def url() -> Iterator[str]:
    with private_engine() as url:
        yield url


OK, NOT = (200, {"status": "ok"}), (503, {"status": "unavailable"})


def until(server: ServerProcess, reply: tuple[int, dict[str, str]]) -> None:
    def says_so() -> bool:
        answer = httpx.get(f"{server.url}/readyz", timeout=30)
        return (answer.status_code, answer.json()) == reply

    wait_for(says_so, str(reply), 60)


def test_an_engine_without_memory_takes_nothing_and_shows_everything(
    make_server: MakeServer, url: str
) -> None:
    server = make_server(flags=["--workers", "2", *FLAGS], env={"REDIS_URL": url})
    with httpx.Client(base_url=server.url, timeout=30) as http, Redis.from_url(url) as engine:
        token = http.post("/v1/visitors").json()["token"]
        headers = bearer(token)

        def react(reaction: str) -> httpx.Response:
            return http.put("/v1/reaction?item=x", json={"reaction": reaction}, headers=headers)

        assert react("like").status_code == 200
        until(server, OK)
        # Without reactions it is found out all the same.
        engine.config_set("maxmemory", 1)
        until(server, NOT)
        wait_for(lambda: scrape(server).get_one("engine_writable") == 0, "the metric", 60)
        assert scrape(server).get_one("engine_up") == 1
        assert react("dislike").json()["code"] == "unavailable"
        shown = http.get("/v1/items?item=x")
        assert (shown.status_code, shown.json()["items"][0]["counts"]["like"]) == (200, 1)
        assert http.get("/livez").status_code == 200
        engine.config_set("maxmemory", 0)
        wait_for(lambda: scrape(server).get_one("engine_writable") == 1, "both workers", 60)
        until(server, OK)
        assert react("dislike").json()["counts"] == {"like": 0, "dislike": 1}


def test_an_engine_that_is_told_to_evict_is_an_error_until_it_is_told_not_to(
    make_server: MakeServer, url: str
) -> None:
    server = make_server(flags=FLAGS, env={"REDIS_URL": url})

    def unsafe() -> float:
        return scrape(server).get_one("engine_unsafe", "maxmemory-policy")

    with httpx.Client(base_url=server.url, timeout=30) as http, Redis.from_url(url) as engine:
        assert scrape(server).get_one("engine_unsafe", "appendonly") == 1
        assert "engine setting can lose acknowledged reactions" in server.output()
        assert unsafe() == 0
        engine.config_set("maxmemory-policy", "allkeys-lru")
        until(server, NOT)
        assert unsafe() == 1
        assert "maxmemory-policy is allkeys-lru" in server.output()
        # It is for the operator to mend; a vote is taken meanwhile.
        token = http.post("/v1/visitors").json()["token"]
        headers = bearer(token)
        assert http.put("/v1/reaction?item=x", json={"reaction": "like"}, headers=headers).status_code == 200
        refused = make_server(env={"REDIS_URL": url}, start=False).start(wait=False)
        assert refused.wait() == 1
        assert "maxmemory-policy is allkeys-lru: " in refused.output()
        assert "set it to noeviction" in refused.output()
        engine.config_set("maxmemory-policy", "noeviction")
        until(server, OK)
        assert unsafe() == 0


@pytest.mark.parametrize(
    "setting",
    [("maxmemory-policy", "allkeys-lru"), ("maxmemory", "1"), ("min-replicas-to-write", "1")],
    ids=lambda setting: setting[0],
)
def test_a_worker_that_is_restarted_meanwhile_serves_and_is_not_ready(
    make_server: MakeServer, url: str, setting: tuple[str, str]
) -> None:
    """A start would be refused; with one worker nothing would be answered for as long as that lasts."""
    server = make_server(env={"REDIS_URL": url})
    with Redis.from_url(url) as engine:
        engine.config_set(*setting)
        os.kill(server.workers[0], signal.SIGKILL)
        until(server, NOT)
        assert httpx.get(f"{server.url}/v1/items?item=x", timeout=30).status_code == 200
        assert server.output().count("worker died") == 1


def test_a_data_folder_that_was_replaced_by_another(make_server: MakeServer) -> None:
    """As by a backup restored under a running server: nothing is confirmed, and nothing overwritten."""
    server = make_server()
    elsewhere = server.data.with_name("elsewhere")
    server.data.rename(elsewhere)
    (server.data / "appendonlydir").mkdir(parents=True)
    until(server, NOT)
    assert list(server.data.iterdir()) == [server.data / "appendonlydir"]
    shutil.rmtree(server.data)
    elsewhere.rename(server.data)
    until(server, OK)


def test_an_engine_that_stands_still_and_a_server_that_drains(make_server: MakeServer) -> None:
    server = make_server()
    assert server.engine is not None
    os.kill(server.engine, signal.SIGSTOP)
    try:
        until(server, NOT)
    finally:
        os.kill(server.engine, signal.SIGCONT)
    with httpx.Client(base_url=server.url, timeout=30) as http:
        # More than once: on a busy machine the feed may find out late that the engine stood still.
        wait_for(lambda: all(http.get("/readyz").status_code == 200 for _ in range(20)), "readiness", 60)
        assert http.get("/readyz").json() == {"status": "ok"}
        os.kill(server.pid, signal.SIGTERM)
        reply = {"status": "ok"}
        while reply["status"] == "ok":
            answer = http.get("/readyz")
            reply = answer.json()
    assert (answer.status_code, reply) == NOT
    assert server.wait() == 0


def test_a_worker_that_dies_during_a_failover_waits_for_the_primary(make_server: MakeServer) -> None:
    with pair() as two:
        server = make_server(env={"REDIS_URL": two.primary.url})
        two.primary.do("REPLICAOF", "127.0.0.1", two.replica.port)
        os.kill(server.workers[0], signal.SIGKILL)
        # Said again by the same one, or for the first time by another.
        wait_for(lambda: server.output().count("waiting for the engine") == 2, "the second line", 60)
        assert server.output().count("worker died") == 1
        two.primary.do("REPLICAOF", "NO", "ONE")
        until(server, OK)
        assert "engine ready" in server.output()
