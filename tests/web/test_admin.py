"""The admin API on a server of two workers: its effects, its callers, and its trail."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest
from tallycast.engine import keys
from tallycast.services.moderation import ITEM_ACTIONS

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer
from tests.client.websocket import BlockingConnection, connect_blocking
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for
from tests.web.conftest import KEY, OTHER_KEY

ADMIN = f"sha256:{sha256(KEY.encode()).hexdigest()[:12]}"
ZERO = {"like": 0, "dislike": 0}


@pytest.fixture
def server(admin_server: ServerProcess) -> ServerProcess:
    return admin_server


@pytest.fixture
def item(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name} é"


def admin(
    server: ServerProcess,
    what: str,
    item: str | None = None,
    *,
    key: str | None = KEY,
    site: str = "blog",
    **more: Any,
) -> httpx.Response:
    headers = {**({} if key is None else bearer(key)), **more.pop("headers", {})}
    params = {"site": site, **({} if item is None else {"item": item})}
    return httpx.post(f"{server.url}/v1/admin/{what}", params=params, headers=headers, **more)


class Visitor:
    def __init__(self, server: ServerProcess) -> None:
        self._url = server.url
        made = httpx.post(f"{server.url}/v1/visitors?site=blog").json()
        self.id, self.token = made["visitor"], made["token"]

    def react(self, item: str, reaction: str | None) -> httpx.Response:
        return httpx.put(
            f"{self._url}/v1/reaction",
            params={"site": "blog", "item": item},
            json={"reaction": reaction},
            headers=bearer(self.token),
        )


def shown(server: ServerProcess, item: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/v1/items", params={"site": "blog", "item": item})
    return dict(answer.json()["items"][0])


def counts(page: BlockingConnection, **wanted: int) -> dict[str, Any]:
    """The next update with these counts."""
    return page.next("counts", counts=ZERO | wanted)


def mine(page: BlockingConnection) -> tuple[str, str | None, int]:
    """The next that a tab receives of what its visitor holds: item, reaction, version."""
    reply = page.next("mine")
    return reply["item"], reply["reaction"], reply["version"]


@contextmanager
def tabs(
    server: ServerProcess, visitor: Visitor, item: str, many: int = 6
) -> Iterator[list[BlockingConnection]]:
    """Tabs of one person that show an item; enough of them for both workers."""
    with ExitStack() as stack:
        pages = [
            stack.enter_context(connect_blocking(f"{server.ws_url}/ws?site=blog&item={item}"))
            for _ in range(many)
        ]
        for page in pages:
            assert page.ask("auth", token=visitor.token)["type"] == "ready"
        yield pages


@pytest.mark.parametrize("what", ["reset", "remove", "erase"])
def test_no_tab_goes_on_showing_what_is_held_no_more(server: ServerProcess, item: str, what: str) -> None:
    one, two, other = Visitor(server), Visitor(server), f"{item} other"
    with (
        tabs(server, one, item) as pages,
        tabs(server, two, item, 1) as theirs,
        tabs(server, one, other, 1) as at,
    ):
        version = one.react(item, "like").json()["version"]
        for page in pages:
            assert mine(page) == (item, "like", version)
        two.react(item, "like")
        mine(theirs[0])
        if what == "erase":
            assert admin(server, "erase", json={"visitor": one.id}).json() == {"erased": 1}
        else:
            admin(server, what, item)
        for page in pages:
            reply, reaction, at_version = mine(page)
            assert (reply, reaction) == (item, None)
            assert at_version > version
        # Only the visitors concerned are notified, and only of what is shown.
        assert [frame["type"] for frame in at[0].until(ref=at[0].post("ping"))] == ["pong"]
        if what == "erase":
            assert "mine" not in [frame["type"] for frame in theirs[0].until(ref=theirs[0].post("ping"))]
        # What comes after it holds.
        again = two.react(item, "dislike").json()["version"]
        while (reply := mine(theirs[0])) != (item, "dislike", again):
            assert reply[2] < again


def trail(server: ServerProcess, item: str) -> list[str]:
    """What was done to an item, by the audit trail."""
    done = tallycast("audit", "--data", str(server.data))
    assert (done.returncode, done.stderr) == (0, "" if done.stdout else "the audit trail is empty\n")
    lines = [line for line in done.stdout.splitlines() if line.endswith(f"  blog  {item}")]
    assert all(line.split()[1] == ADMIN for line in lines), lines
    return [line.split()[2] for line in lines]


def test_reset(server: ServerProcess, item: str) -> None:
    visitors = [Visitor(server) for _ in range(3)]
    before = [visitor.react(item, "like").json()["version"] for visitor in visitors][-1]
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item={item}") as page:
        counts(page, like=3)
        answer = admin(server, "reset", item)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        reply = answer.json()
        assert (reply["item"], reply["counts"], reply["frozen"]) == (item, ZERO, False)
        frame = counts(page)
        assert "reset" not in frame
        assert frame["version"] == reply["version"] > before
        assert shown(server, item) == {"item": item, "version": reply["version"], "counts": ZERO}
        # It is harmless to repeat, and everybody can react again.
        assert admin(server, "reset", item).json()["counts"] == ZERO
        assert visitors[0].react(item, "like").json()["counts"]["like"] == 1
        counts(page, like=1)
    assert trail(server, item) == ["reset", "reset"]


def test_remove(server: ServerProcess, item: str) -> None:
    visitor = Visitor(server)
    before = visitor.react(item, "like").json()["version"]
    assert admin(server, "freeze", item).json()["frozen"]
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item={item}") as page:
        counts(page, like=1)
        reply = admin(server, "remove", item).json()
        assert reply == {"item": item, "version": 0, "counts": ZERO, "frozen": False}
        assert counts(page)["version"] > before
        assert shown(server, item)["version"] == 0
        after = visitor.react(item, "dislike").json()
        assert after["counts"] == {"like": 0, "dislike": 1}
        assert counts(page, dislike=1)["version"] == after["version"] > before
    assert admin(server, "remove", "untouched").json()["version"] == 0
    assert trail(server, item) == ["freeze", "remove"]


def test_freeze(server: ServerProcess, item: str) -> None:
    one, two = Visitor(server), Visitor(server)
    version = one.react(item, "like").json()["version"]
    for _ in range(2):
        reply = admin(server, "freeze", item).json()
        assert reply == {
            "item": item,
            "version": version,
            "counts": {"like": 1, "dislike": 0},
            "frozen": True,
        }
    for visitor, reaction in ((one, None), (one, "dislike"), (one, "like"), (two, "like")):
        answer = visitor.react(item, reaction)
        assert (answer.status_code, answer.json()["code"], answer.json()["item"]) == (403, "forbidden", item)
    with connect_blocking(f"{server.ws_url}/ws?site=blog") as page:
        page.post("auth", token=two.token)
        page.post("react", item=item, reaction="like")
        answers = {frame["ref"]: frame for frame in (json.loads(page.recv(timeout=40)) for _ in range(2))}
    assert (answers[1]["type"], answers[2]["code"], answers[2]["item"]) == ("ready", "forbidden", item)
    assert shown(server, item)["version"] == version
    assert not admin(server, "unfreeze", item).json()["frozen"]
    assert two.react(item, "like").json()["counts"]["like"] == 2
    assert trail(server, item) == ["freeze", "freeze", "unfreeze"]


def test_an_item_is_frozen_before_anybody_reacts(server: ServerProcess, item: str) -> None:
    assert admin(server, "freeze", item).json() == {
        "item": item,
        "version": 0,
        "counts": ZERO,
        "frozen": True,
    }
    assert Visitor(server).react(item, "like").status_code == 403


def test_erase(server: ServerProcess, item: str) -> None:
    """On frozen items too: an erased visitor must not stay counted there."""
    cheater, other = Visitor(server), Visitor(server)
    items = [f"{item} {number}" for number in range(5)]
    for one in items:
        cheater.react(one, "like")
        other.react(one, "like")
    admin(server, "freeze", items[2])
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item={items[0]}") as page:
        counts(page, like=2)
        for erased in (5, 0):
            answer = admin(server, "erase", json={"visitor": cheater.id})
            assert (answer.status_code, answer.json()) == (200, {"erased": erased})
        counts(page, like=1)
    assert [shown(server, one)["counts"]["like"] for one in items] == [1] * 5
    assert cheater.react(items[0], "like").status_code == 200
    member = keys.member(cheater.id).hex()
    reply = tallycast("audit", "--data", str(server.data)).stdout
    assert reply.count(f"  {ADMIN}  erase     blog  visitor {member}\n") == 2
    assert cheater.id not in reply


@pytest.mark.parametrize("visitor", ["", "42", "u:", "a:1", "u:" + "x" * 129, 42, None, ["u:42"]])
def test_an_id_that_is_no_visitor_is_not_erased(server: ServerProcess, visitor: object) -> None:
    answer = admin(server, "erase", json={"visitor": visitor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_bodies_that_are_none(server: ServerProcess) -> None:
    for body in (b"", b"{}", b"[", b'{"visitor":"u:\xff"}', b"[" * 5000):
        answer = admin(server, "erase", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_message"), body
    assert admin(server, "erase", content=b"x" * 9000).status_code == 413


@pytest.mark.parametrize("what", [*ITEM_ACTIONS, "erase"])
def test_callers_without_the_right(server: ServerProcess, item: str, what: str) -> None:
    visitor = Visitor(server)
    version = visitor.react(item, "like").json()["version"]
    more: dict[str, Any] = {"json": {"visitor": visitor.id}} if what == "erase" else {}
    for key in (None, "wrong", KEY.upper(), OTHER_KEY, visitor.token, sha256(KEY.encode()).hexdigest()):
        answer = admin(server, what, item, key=key, **more)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), key
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = admin(server, what, item, headers={"Authorization": f"Basic {KEY}"}, **more)
    assert answer.status_code == 401
    for site, status, code in (
        ("bare", 404, "not_found"),
        ("none", 404, "unknown_site"),
        ("other", 401, "unauthorized"),
    ):
        answer = admin(server, what, item, site=site, **more)
        assert (answer.status_code, answer.json()["code"]) == (status, code), site
    answer = admin(server, what, item, headers={"Origin": "https://evil.example"}, **more)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    answer = httpx.get(f"{server.url}/v1/admin/{what}?site=blog", headers=bearer(KEY))
    assert answer.status_code == 405
    assert shown(server, item)["version"] == version, "nothing happened"
    assert trail(server, item) == []


@pytest.mark.parametrize("what", ITEM_ACTIONS)
def test_what_is_no_item(server: ServerProcess, what: str) -> None:
    for wrong in ("", "x" * 257, "a\x00", None):
        answer = admin(server, what, wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_item"), wrong


def test_a_page_of_the_sites_may(server: ServerProcess, item: str) -> None:
    origin = {"Origin": "https://blog.example"}
    answer = admin(server, "reset", item, headers=origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    asked = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert httpx.options(f"{server.url}/v1/admin/reset?site=blog", headers=asked).status_code == 204


def test_the_log_has_the_action_and_no_key(server: ServerProcess, item: str) -> None:
    admin(server, "reset", item)
    visitor = Visitor(server).id
    admin(server, "erase", json={"visitor": visitor})
    admin(server, "erase", key="nearly the key", json={"visitor": visitor})
    wait_for(lambda: server.output().count('"action": "erase"') >= 1, "the line in the log")
    said = server.output()
    assert ADMIN in said
    assert '"action": "reset"' in said
    for secret in (KEY, "nearly the key", visitor, sha256(KEY.encode()).hexdigest()):
        assert secret not in said
