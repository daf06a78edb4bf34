"""auth on sockets: who I am from here on, and the tokens that do not say so."""

from __future__ import annotations

import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import Server, new_item

from .tokens import FORGED, MALFORMED


async def test_ready_says_who_i_am(server: Server, alice: Visitor, bob: Visitor, protocol: str) -> None:
    async with connect(server, protocol) as page:
        for visitor in (alice, alice, bob, alice):
            assert (await page.auth(visitor.token))["visitor"] == visitor.id


async def test_every_auth_replaces_the_one_before(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    item = new_item()
    async with connect(server, protocol, token=alice.token) as page:
        assert (await page.react(item, "like"))["counts"] == {"like": 1, "dislike": 0}
        await page.auth(bob.token)
        assert (await page.react(item, "like"))["counts"] == {"like": 2, "dislike": 0}
        await page.auth(alice.token)
        assert (await page.react(item, None))["counts"] == {"like": 1, "dislike": 0}
    assert (await http.item(item, bob.token))["reaction"] == "like"


async def test_renewed_token_is_the_same_person(
    server: Server, http: Http, alice: Visitor, protocol: str
) -> None:
    item = new_item()
    renewed = await http.visitor(alice.token)
    async with connect(server, protocol, item, token=alice.token) as page:
        ack = await page.react(item, "like")
        assert (await page.auth(renewed.token))["visitor"] == alice.id
        assert (await page.react(item, "like"))["version"] == ack["version"]


@pytest.mark.parametrize("forge", (FORGED | MALFORMED).values(), ids=FORGED | MALFORMED)
async def test_failed_auth_leaves_the_connection_anonymous(
    server: Server, http: Http, alice: Visitor, protocol: str, forge: object
) -> None:
    assert callable(forge)
    item, token = new_item(), forge(alice.token)
    codes = ["unauthorized"] + (["bad_message"] if token == "" or len(token) > 4096 else [])
    async with connect(server, protocol, item) as page:
        await page.refused("auth", *codes, token=token)
        await page.refused("react", "unauthorized", item=item, reaction="like")
        await page.auth(alice.token)
        ack = await page.react(item, "dislike")
        error = await page.refused("auth", *codes, token=token)
        if error["code"] == "unauthorized":
            await page.refused("react", "unauthorized", item=item, reaction="like")
        # It keeps watching, without what was mine.
        later = await http.react(item, "like", alice.token)
        await page.next("counts", item=item, version=later["version"])
        await page.ping()
        if error["code"] == "unauthorized":
            mine = [f for f in page.frames if f["type"] == "mine" and f["version"] > ack["version"]]
            assert [f for f in mine if f["reaction"] is not None] == []
        await page.auth(alice.token)
        assert page.mine[item].reaction == "like"


@pytest.mark.parametrize("token", [None, 5, True, [], {}, "é", "\x00", "a b c", "\U0001f44d"], ids=repr)
async def test_tokens_that_are_none(server: Server, alice: Visitor, protocol: str, token: object) -> None:
    async with connect(server, protocol) as page:
        await page.refused("auth", "bad_message", "unauthorized", token=token)
        await page.ping()
        await page.refused("auth", "bad_message", "unauthorized")
        await page.refused("react", "unauthorized", item=new_item(), reaction="like")
        await page.auth(alice.token)
