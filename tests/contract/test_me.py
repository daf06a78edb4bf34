"""All that a visitor holds: exported, and taken back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import Server, demand, is_int, is_text, new_item, query

from .tokens import FORGED

ME = f"/v1/me?{query()}"
PAGE = "https://blog.example"


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    """An export's lines, each as the contract has them."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/x-ndjson"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.text == "" or answer.text.endswith("\n")
    # Not splitlines(): an id may have what that takes for the end of a line.
    found = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    for line in found:
        demand(
            is_text(line["item"]) and is_int(line["version"]) and is_text(line["reaction"]), "a line", line
        )
    return found


async def held(http: Http, visitor: Visitor) -> dict[str, str]:
    return {line["item"]: line["reaction"] for line in lines(await http.send("GET", ME, token=visitor.token))}


async def test_everything_i_hold_and_nothing_else(http: Http, alice: Visitor, bob: Visitor) -> None:
    items = [new_item(mark) for mark in ("a", "é", "+ &", "\u2028", '"\\', "b")]
    acks = [await http.react(item, "like", alice.token) for item in items]
    await http.react(items[0], "dislike", alice.token)
    await http.react(items[1], None, alice.token)
    await http.react(new_item(), "like", bob.token)
    found = lines(await http.send("GET", ME, token=alice.token))
    assert [(line["item"], line["reaction"]) for line in found] == [
        (items[0], "dislike"),
        *((item, "like") for item in items[2:]),
    ]
    assert [line["version"] for line in found[1:]] == [ack["version"] for ack in acks[2:]]


async def test_nothing_held(http: Http, alice: Visitor) -> None:
    assert lines(await http.send("GET", ME, token=alice.token)) == []
    answer = await http.send("DELETE", ME, token=alice.token)
    assert (answer.status_code, answer.json()) == (200, {"erased": 0})


async def test_more_than_a_page(server: Server, http: Http, alice: Visitor) -> None:
    items = [new_item("x" * 200) for _ in range(250)]
    async with connect(server, token=alice.token) as page:
        for item in items:
            await page.react(item, "like")
        assert list(await held(http, alice)) == items
        assert (await http.send("DELETE", ME, token=alice.token)).json() == {"erased": 250}
    assert await held(http, alice) == {}


async def test_taken_back_in_front_of_everybody(
    server: Server, http: Http, alice: Visitor, bob: Visitor, protocol: str
) -> None:
    one, two = new_item(), new_item()
    for item in (one, two):
        await http.react(item, "like", alice.token)
        await http.react(item, "like", bob.token)
    async with (
        connect(server, protocol, one) as page,
        connect(server, protocol, one, token=alice.token) as tab,
    ):
        await page.watch(two)
        await page.until_shows(one, like=2)
        await tab.until_mine(one, "like")
        answer = await http.send("DELETE", ME, token=alice.token)
        assert (answer.status_code, answer.json()) == (200, {"erased": 2})
        for item in (one, two):
            await page.until_shows(item, like=1)
        await tab.until_mine(one, None)
    for item in (one, two):
        assert (await http.item(item, alice.token))["reaction"] is None
        assert (await http.item(item, bob.token))["reaction"] == "like"
    assert await held(http, alice) == {}
    assert (await http.send("DELETE", ME, token=alice.token)).json() == {"erased": 0}
    # Nobody is shut out by it.
    await http.react(two, "dislike", alice.token)
    assert await held(http, alice) == {two: "dislike"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_only_mine(http: Http, alice: Visitor, method: str) -> None:
    item = new_item()
    ack = await http.react(item, "like", alice.token)
    assert (await http.send(method, ME)).status_code == 401
    assert (await http.send(method, ME, headers={"Authorization": "Basic YTpi"})).status_code == 401
    for forge in FORGED.values():
        assert (await http.send(method, ME, token=forge(alice.token))).status_code == 401
    answer = await http.send(method, ME, token=alice.token, headers={"Origin": "null"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers
    answer = await http.send(method, f"/v1/me?{query()}2", token=alice.token)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_site")
    assert (await http.item(item))["version"] == ack["version"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_page_may_ask(http: Http, alice: Visitor, method: str) -> None:
    preflight = await http.send(
        "OPTIONS",
        ME,
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert preflight.status_code in (200, 204)
    assert method in preflight.headers["access-control-allow-methods"].replace(" ", "").split(",")
    answer = await http.send(method, ME, token=alice.token, headers={"Origin": PAGE})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in (PAGE, "*")


async def test_other_methods(http: Http, alice: Visitor) -> None:
    for method in ("POST", "PUT", "PATCH"):
        answer = await http.send(method, ME, token=alice.token)
        assert answer.status_code == 405
        assert "allow" in answer.headers
    assert (await http.send("HEAD", ME, token=alice.token)).status_code == 200
