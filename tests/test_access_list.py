"""A whole server with the smallest access list that the documents name, on Redis and on Valkey.

An engine keeps a log of all that it refused for want of a right, in scripts too: it has the last word.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from redis import Redis

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer
from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support.access import PASSWORD, USER, documented
from tests.support.cluster import cluster
from tests.support.engine import private_engine
from tests.support.process import ServerProcess
from tests.support.scrape import FLAGS, scrape
from tests.support.signing import user_token
from tests.support.waiting import wait_for
from tests.web.test_on_a_cluster import (
    CONFIG,
    admin,
    held,
    react,
    shown,
    stranger,
)

# What the server asks for and can do without.
OPTIONAL = {"info", "config|get"}
# So many members of an item that it is split.
MANY = 60

Admins = list["Redis[Any]"]


@pytest.fixture(params=["redis", "valkey"])
def engine_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with private_engine(request.param) as url:
        yield url


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tallycast.toml"
    file.write_text(CONFIG)
    return file


def refused(engines: Admins) -> set[str]:
    return {str(entry["object"]) for engine in engines for entry in engine.acl_log()}


def command(url: str, config: Path) -> Callable[..., str]:
    """Runs a command beside the server; its output."""

    def run(*words: str) -> str:
        done = tallycast(*words, env={"REDIS_URL": url, "TALLYCAST_CONFIG": str(config)})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def vote_and_follow(server: ServerProcess, http: httpx.Client) -> str:
    """A stranger's vote by a socket, seen by another tab of the same visitor; the token."""
    token = stranger(http)
    with (
        connect_blocking(f"{server.ws_url}/ws?item=a") as page,
        connect_blocking(f"{server.ws_url}/ws?item=a") as tab,
    ):
        for socket in (page, tab):
            assert socket.ask("auth", token=token)["type"] == "ready"
        assert page.ask("react", item="a", reaction="like")["type"] == "ack"
        frames = [tab.next() for _ in range(2)]
        # In no order.
        assert {frame["type"] for frame in frames} == {"counts", "mine"}
    assert held(http, token) == {"a": "like"}
    return token


def become_known(server: ServerProcess, http: httpx.Client, token: str) -> None:
    """The stranger signs in, and takes everything back."""
    ann = user_token("ann")
    with connect_blocking(f"{server.ws_url}/ws?item=a") as page:
        assert page.ask("auth", token=ann, merge=token)["type"] == "ready"
        assert held(http, ann) == {"a": "like"}
        assert http.delete("/v1/me", headers=bearer(ann)).json() == {"erased": 1}
        page.next("counts", counts={"like": 0, "dislike": 0})


def administer(http: httpx.Client) -> None:
    for number in range(MANY):
        assert react(http, user_token(f"{number}"), "big", "like").status_code == 200
    assert shown(http, ["big"]) == [(MANY, 0)]
    assert admin(http, "freeze", "big").json()["frozen"]
    assert react(http, user_token("1"), "big", "dislike").status_code == 403
    assert not admin(http, "unfreeze", "big").json()["frozen"]
    assert admin(http, "erase", json={"visitor": "u:7"}).json() == {"erased": 1}
    assert admin(http, "reset", "big").json()["counts"] == {"like": 0, "dislike": 0}
    assert react(http, user_token("1"), "big", "dislike").json()["counts"] == {"like": 0, "dislike": 1}
    assert admin(http, "remove", "big").status_code == 200
    assert shown(http, ["big"]) == [(0, 0)]


def operate(run: Callable[..., str], http: httpx.Client) -> None:
    token = user_token("9")
    assert react(http, token, "z", "like").status_code == 200
    assert "all counts are right" in run("audit", "--all")
    run("revoke", "--sub", "9")
    wait_for(lambda: http.get("/v1/me", headers=bearer(token)).status_code == 401, "the revocation")
    whats = [line.split()[2] for line in run("audit").splitlines()]
    assert whats == ["freeze", "unfreeze", "erase", "reset", "remove", "revoke"]


def bring_in(run: Callable[..., str], http: httpx.Client, tmp_path: Path) -> None:
    votes, counts = tmp_path / "votes.csv", tmp_path / "counts.csv"
    votes.write_text("item,visitor,reaction,time\n" + "".join(f"i,u:{n},like,{n + 1}\n" for n in range(MANY)))
    counts.write_text("item,like,dislike\nj,5,6\n")
    run("import", str(votes))
    run("import", str(counts))
    assert shown(http, ["i", "j"]) == [(MANY, 0), (5, 6)]


def is_well(server: ServerProcess, http: httpx.Client, engines: Admins) -> None:
    found = scrape(server)
    assert (found.get_one("engine_up"), found.get_one("engine_writable")) == (1, 1)
    assert http.get("/readyz").status_code == 200
    assert refused(engines) <= OPTIONAL
    assert "NOPERM" not in server.output()
    (answer,) = [json.loads(line) for line in server.output().splitlines() if "settings not checked" in line]
    assert answer["settings"] == ["appendfsync", "appendonly", "maxmemory-policy"]


def test_the_smallest_list_serves_on_one_engine(
    make_server: MakeServer, engine_url: str, config: Path, tmp_path: Path
) -> None:
    url = engine_url.replace("unix://", f"unix://{USER}:{quote(PASSWORD)}@")
    with Redis.from_url(engine_url) as engine:
        engine.execute_command("ACL", "SETUSER", USER, *documented(sharded=False))
        server = make_server(flags=["--config", str(config), *FLAGS], env={"REDIS_URL": url})
        run = command(url, config)
        with httpx.Client(base_url=server.url, timeout=30) as http:
            become_known(server, http, vote_and_follow(server, http))
            administer(http)
            operate(run, http)
            bring_in(run, http, tmp_path)
            is_well(server, http, [engine])
        # With these as well, all is checked.
        engine.execute_command("ACL", "SETUSER", USER, "+info", "+config|get")
        server.restart()
        assert server.output().count("settings not checked") == 1


@pytest.mark.parametrize("product", ["redis", "valkey"])
def test_the_smallest_list_serves_on_a_cluster(make_server: MakeServer, product: str, config: Path) -> None:
    with cluster(primaries=1, product=product) as ring:
        for node in ring.nodes:
            node.do("ACL", "SETUSER", USER, *documented(sharded=True))
        url = ring.url.replace("//", f"//{USER}:{quote(PASSWORD)}@")
        server = make_server(flags=["--config", str(config), *FLAGS], env={"REDIS_URL": url})
        with httpx.Client(base_url=server.url, timeout=30) as http:
            become_known(server, http, vote_and_follow(server, http))
            administer(http)
            operate(command(url, config), http)
            is_well(server, http, [node.client for node in ring.primaries])


def test_what_is_missing_ends_the_start_and_is_named(make_server: MakeServer, engine: str) -> None:
    with Redis.from_url(engine) as client:
        client.execute_command("ACL", "SETUSER", USER, *documented(sharded=False), "-hset", "-publish")
        url = engine.replace("unix://", f"unix://{USER}:{quote(PASSWORD)}@")
        server = make_server(env={"REDIS_URL": url}, start=False).start(wait=False)
        assert server.wait() == 1
    assert "may not run HSET on keys tc:{*; PUBLISH on channels tc:{*@0; PUBLISH on" in server.output()


def test_rights_that_are_taken_away_while_it_runs(
    make_server: MakeServer, engine_url: str, config: Path
) -> None:
    """It is not ready until they are given back, a worker that is started meanwhile neither; reads go on."""
    url = engine_url.replace("unix://", f"unix://{USER}:{quote(PASSWORD)}@")
    with Redis.from_url(engine_url) as engine:
        engine.execute_command("ACL", "SETUSER", USER, *documented(sharded=False))
        server = make_server(flags=["--config", str(config), *FLAGS], env={"REDIS_URL": url})
        with httpx.Client(base_url=server.url, timeout=30) as http:
            token = stranger(http)

            def is_ready() -> bool:
                return httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200

            engine.execute_command("ACL", "SETUSER", USER, "-hset")
            assert react(http, token, "a", "like").json()["code"] == "unavailable"
            wait_for(lambda: not is_ready(), "the readiness", 30)
            assert "may not run HSET on keys tc:{*: " in server.output()
            assert scrape(server).get_one("engine_writable") == 0
            os.kill(server.workers[0], signal.SIGKILL)
            wait_for(lambda: "worker restarted" in server.output(), "a worker", 30)
            assert not is_ready()
            assert shown(http, ["b"]) == [(0, 0)]
            engine.execute_command("ACL", "SETUSER", USER, "+hset")
            wait_for(is_ready, "the readiness", 30)
            assert react(http, token, "a", "like").json()["counts"] == {"like": 1, "dislike": 0}
            assert "engine rights complete again" in server.output()
