"""SIGHUP on a whole server: what changes, what does not, and that no connection is dropped for it."""

import os
import signal
from pathlib import Path

import httpx
import pytest
from websockets.typing import Origin

from tests.client.tokens import visitor_token_blocking
from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support import processes
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for

BEFORE = """
[sites.a]
origins = ["*"]
[sites.b]
origins = ["*"]
"""
AFTER = """
[sites.a]
origins = ["https://a.example"]
kinds = ["love", "like"]
[sites.c]
origins = ["*"]
anonymous = false
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tallycast.toml"
    file.write_text(BEFORE)
    return file


def status(server: ServerProcess, site: str, origin: str | None = None) -> int:
    headers = {} if origin is None else {"Origin": origin}
    return httpx.get(
        f"{server.url}/v1/items", params={"site": site, "item": "x"}, headers=headers
    ).status_code


def hang_up(server: ServerProcess, said: str) -> None:
    before = server.output().count(said)
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: server.output().count(said) > before, said)


def everywhere(server: ServerProcess, site: str, expected: int) -> None:
    """All workers answer so: many new connections in a row did."""
    wait_for(lambda: all(status(server, site) == expected for _ in range(20)), f"{site}: {expected}")


def test_sites_change_in_place(make_server: MakeServer, file: Path) -> None:
    server = make_server(flags=["--workers", "2", "--config", str(file)])
    token = visitor_token_blocking(server.url, "a")
    with (
        connect_blocking(f"{server.ws_url}/ws?site=a&item=x") as page,
        connect_blocking(f"{server.ws_url}/ws?site=b&item=x") as gone,
    ):
        assert page.ask("auth", token=token, ref=1)["type"] == "ready"
        assert page.ask("react", item="x", reaction="like", ref=2)["counts"] == {
            "like": 1,
            "dislike": 0,
        }
        file.write_text(AFTER)
        hang_up(server, "sites file reloaded")
        assert gone.closed() == 4504
        everywhere(server, "b", 404)
        everywhere(server, "c", 200)
        # The session on it takes part within about a second.
        wait_for(lambda: page.ask("react", item="x", reaction="love", ref=3)["type"] == "ack", "the new kind")
        assert page.ask("react", item="x", reaction="dislike", ref=4)["code"] == "bad_reaction"
        with connect_blocking(
            f"{server.ws_url}/ws?site=a&item=x", origin=Origin("https://a.example")
        ) as other:
            assert other.next("counts")["counts"] == {"love": 1, "like": 0}
    assert [status(server, "a", origin) for origin in ("https://a.example", "https://b.example")] == [
        200,
        403,
    ]
    assert httpx.post(f"{server.url}/v1/visitors?site=c").json()["code"] == "forbidden"
    # A worker that comes later serves them too.
    worker = server.workers[0]
    processes.kill(worker)
    wait_for(lambda: len(server.workers) == 2 and worker not in server.workers, "another worker")
    wait_for(lambda: "worker restarted" in server.output(), "its word")
    everywhere(server, "b", 404)


def test_a_mistake_changes_nothing(make_server: MakeServer, file: Path) -> None:
    server = make_server(flags=["--config", str(file)])
    with connect_blocking(f"{server.ws_url}/ws?site=b&item=x") as page:
        for text, reason in (
            (AFTER + "wrong = 1\n", "line 8: sites.c.wrong: unknown key"),
            (None, "no such file"),
        ):
            if text is None:
                file.unlink()
            else:
                file.write_text(text)
            hang_up(server, reason)
            assert "sites file rejected" in server.output()
            assert [status(server, site) for site in "abc"] == [200, 200, 404]
        assert page.ask("ping", ref=1)["type"] == "pong"


def test_anonymous_visitors_who_are_not_wanted_any_more(make_server: MakeServer, file: Path) -> None:
    server = make_server(flags=["--config", str(file)])
    token = visitor_token_blocking(server.url, "a")
    with connect_blocking(f"{server.ws_url}/ws?site=a&item=x") as page:
        assert page.ask("auth", token=token, ref=1)["type"] == "ready"
        file.write_text(BEFORE.replace("[sites.b]", "anonymous = false\n[sites.b]"))
        hang_up(server, "sites file reloaded")
        assert "ref" not in page.next("error", code="unauthorized")
        assert page.ask("react", item="x", reaction="like", ref=2)["code"] == "unauthorized"
        assert page.ask("auth", token=token, ref=3)["code"] == "forbidden"
        assert page.ask("watch", items=["x"], ref=4)["type"] == "watching"


def test_without_a_file_a_hangup_is_the_end(make_server: MakeServer) -> None:
    server = make_server(limited=True)
    os.kill(server.pid, signal.SIGHUP)
    assert server.wait() == 0
    server.family_is_gone()


def test_a_wrong_file_stops_the_start(make_server: MakeServer, file: Path) -> None:
    file.write_text("[sites.a]\norigins = 7\n")
    server = make_server(env={"TALLYCAST_CONFIG": str(file)}, start=False, limited=True)
    server.start(wait=False)
    assert server.wait() == 2
    assert server.output() == f"tallycast: {file}, line 2: sites.a.origins: input should be a valid list\n"
    assert not server.data.exists()


def test_a_public_server_without_a_file_warns(make_server: MakeServer, file: Path) -> None:
    warning = "all origins allowed"
    assert warning not in make_server(limited=True).output()
    assert warning in make_server(flags=["--host", "0.0.0.0"], limited=True).output()
    assert warning not in make_server(flags=["--host", "0.0.0.0", "--config", str(file)]).output()
