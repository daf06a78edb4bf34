"""The HTTP side: visitors, items and their caching, reactions, health and the OpenAPI document."""

from __future__ import annotations

import http.client
import time
from urllib.parse import quote, urlsplit

import jwt
import pytest

from tests.client.checked import connect
from tests.client.http import Http, Visitor
from tests.client.messages import SITE, ZERO, Server, new_item, query

from .tokens import FORGED, MALFORMED, MAX_TOKEN


def items_path(*items: str) -> str:
    return f"/v1/items?{query(*items)}"


def reaction_path(item: str) -> str:
    return f"/v1/reaction?{query(item)}"


# ---------------------------------------------------------------------------------------- visitors


async def test_visitors_are_issued(http: Http) -> None:
    one, two = await http.visitor(), await http.visitor()
    assert one.id != two.id
    assert one.token != two.token
    for visitor in (one, two):
        assert visitor.expires > time.time()
        assert len(visitor.token) <= MAX_TOKEN
        assert visitor.token.isascii()


async def test_renewal_keeps_the_visitor(http: Http, alice: Visitor) -> None:
    item = new_item()
    renewed = await http.visitor(alice.token)
    again = await http.visitor(renewed.token)
    assert alice.id == renewed.id == again.id
    assert alice.expires <= renewed.expires <= again.expires
    acks = [await http.react(item, "like", visitor.token) for visitor in (alice, renewed, again)]
    assert len({ack["version"] for ack in acks}) == 1


@pytest.mark.parametrize("forge", (FORGED | MALFORMED).values(), ids=FORGED | MALFORMED)
async def test_forged_tokens_are_401_everywhere(http: Http, alice: Visitor, forge: object) -> None:
    assert callable(forge)
    item, token = new_item(), forge(alice.token)
    ack = await http.react(item, "dislike", alice.token)
    statuses = (400, 401, 413, 431) if len(token) > MAX_TOKEN else (401,)
    headers = {"Authorization": f"Bearer {token}".rstrip()}
    for method, path, body in (
        ("POST", f"/v1/visitors?{query()}", None),
        ("GET", items_path(item), None),
        ("PUT", reaction_path(item), {"reaction": "like"}),
        ("DELETE", reaction_path(item), None),
    ):
        if token == "" and method in ("POST", "GET"):
            continue  # no token is no token
        answer = await http.send(method, path, headers=headers, json=body)
        assert answer.status_code in statuses, (method, answer.text)
        if answer.status_code == 401:
            assert "www-authenticate" in answer.headers  # RFC 9110, 15.5.2
    assert (await http.item(item))["version"] == ack["version"]


async def test_reactions_need_a_token(http: Http) -> None:
    item = new_item()
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Authorization": "x"}):
        answer = await http.send("PUT", reaction_path(item), json={"reaction": "like"}, headers=headers)
        assert answer.status_code == 401
        assert (await http.send("DELETE", reaction_path(item), headers=headers)).status_code == 401
    assert (await http.item(item))["version"] == 0


async def test_scheme_is_case_insensitive(http: Http, alice: Visitor) -> None:
    item = new_item()
    for reaction, scheme in (("like", "bearer"), ("dislike", "BEARER")):
        answer = await http.send(
            "PUT",
            reaction_path(item),
            json={"reaction": reaction},
            headers={"Authorization": f"{scheme} {alice.token}"},
        )
        assert answer.status_code == 200


async def test_no_token_in_the_url(server: Server, http: Http, alice: Visitor) -> None:
    item = new_item()
    for name in ("token", "access_token", "authorization"):
        path = f"{reaction_path(item)}&{name}={alice.token}"
        assert (await http.send("PUT", path, json={"reaction": "like"})).status_code == 401
        async with connect(server, path=f"/ws?{query(item)}&{name}={alice.token}") as page:
            await page.refused("react", "unauthorized", item=item, reaction="like")
    assert (await http.item(item))["version"] == 0


async def test_claims_name_no_more_than_the_visitor(alice: Visitor) -> None:
    """The token is opaque to clients, but it is a JWT that expires when it says."""
    claims = jwt.decode(alice.token, options={"verify_signature": False})
    assert claims["exp"] == alice.expires


# ------------------------------------------------------------------------------------------- items


async def test_items_in_the_order_asked(http: Http, alice: Visitor) -> None:
    items = [new_item(mark) for mark in "zamé"]
    await http.react(items[1], "like", alice.token)
    for order in (items, items[::-1], sorted(items)):
        entries = await http.items(*order)
        assert [e["item"] for e in entries] == order
        assert {e["item"]: e["counts"]["like"] for e in entries} == {i: int(i == items[1]) for i in items}


async def test_item_asked_twice(http: Http) -> None:
    one, two = new_item(), new_item()
    assert [e["item"] for e in await http.items(one, two, one)] in ([one, two, one], [one, two])


async def test_untouched_items_have_version_0(http: Http, alice: Visitor) -> None:
    item = new_item()
    assert await http.item(item) == {"item": item, "version": 0, "counts": ZERO}
    assert (await http.item(item, alice.token))["reaction"] is None


async def test_public_answers_may_be_cached_for_a_second(http: Http) -> None:
    answer = await http.send("GET", items_path(new_item()))
    assert answer.headers["cache-control"].replace(" ", "") == "public,max-age=1,stale-while-revalidate=30"
    assert answer.headers["etag"].removeprefix("W/").startswith('"')


async def test_answers_to_a_token_are_private(http: Http, alice: Visitor, bob: Visitor) -> None:
    item = new_item()
    await http.react(item, "like", alice.token)
    answer = await http.send("GET", items_path(item), token=alice.token)
    assert answer.headers["cache-control"].replace(" ", "") == "private,no-store"
    assert (await http.item(item, alice.token))["reaction"] == "like"
    assert (await http.item(item, bob.token))["reaction"] is None
    assert "reaction" not in await http.item(item)


async def test_304_on_match(http: Http, alice: Visitor) -> None:
    items = [new_item(), new_item()]
    path = items_path(*items)
    await http.react(items[0], "like", alice.token)
    full = await http.send("GET", path)
    etag = full.headers["etag"]
    strong = etag.removeprefix("W/")
    for match in (strong, f"W/{strong}", f'"x", {strong}', f'"x" ,W/"y",W/{strong} , "z"', "*"):
        answer = await http.send("GET", path, headers={"If-None-Match": match})
        assert answer.status_code == 304, match
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert answer.headers["cache-control"] == full.headers["cache-control"]
    for match in ('"x"', 'W/"x"', strong[1:-1] or "x", f'"x{strong[1:]}', '""'):
        answer = await http.send("GET", path, headers={"If-None-Match": match})
        assert answer.status_code == 200, match
    await http.react(items[1], "dislike", alice.token)
    changed = await http.send("GET", path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert http.check_items(changed)[1]["counts"] == {"like": 0, "dislike": 1}


async def test_etag_stands_while_nothing_changes(http: Http, alice: Visitor) -> None:
    item = new_item()
    await http.react(item, "like", alice.token)
    before = (await http.send("GET", items_path(item))).headers["etag"]
    await http.react(item, "like", alice.token)
    assert (await http.send("GET", items_path(item))).headers["etag"] == before
    assert (await http.send("GET", items_path(new_item()))).headers["etag"] != before


async def test_100_items_and_not_101(http: Http) -> None:
    mark = new_item()
    items = [f"{mark}{i}" for i in range(101)]
    assert [e["item"] for e in await http.items(*items[:100])] == items[:100]
    answer = await http.send("GET", items_path(*items))
    assert answer.status_code in (400, 413)
    assert answer.json()["code"] == "too_many_items"


async def test_no_items(http: Http) -> None:
    answer = await http.send("GET", items_path())
    assert answer.status_code == 400 or answer.json() == {"items": []}


@pytest.mark.parametrize("unit", ["xx", "é"], ids=["27-kB", "77-kB"])
def test_100_items_of_256_bytes(server: Server, unit: str) -> None:
    """The longest URLs that the contract allows; the longer is too long for httpx."""
    mark = new_item()
    items = [f"{mark}{i:03}" for i in range(100)]
    items = [item + unit * ((256 - len(item)) // 2) for item in items]
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    try:
        connection.request(
            "GET", "/v1/items?site=default" + "".join(f"&item={quote(item)}" for item in items)
        )
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("written", ["a+b", "a%20b"])
async def test_plus_is_a_space(http: Http, alice: Visitor, written: str) -> None:
    answer = await http.send("GET", f"/v1/items?site={SITE}&item={written}")
    assert answer.json()["items"][0]["item"] == "a b"
    mark = new_item()
    path = f"/v1/reaction?site={SITE}&item={mark}{written}"
    answer = await http.send("PUT", path, token=alice.token, json={"reaction": "like"})
    assert answer.json()["item"] == f"{mark}a b"
    assert (await http.item(f"{mark}a b"))["counts"]["like"] == 1


async def test_site_is_default_when_left_out(http: Http, alice: Visitor) -> None:
    item = new_item()
    assert (await http.send("POST", "/v1/visitors")).status_code == 201
    path = f"/v1/reaction?{query(item, site=None)}"
    assert (await http.send("PUT", path, token=alice.token, json={"reaction": "like"})).status_code == 200
    answer = await http.send("GET", f"/v1/items?{query(item, site=None)}")
    assert answer.json()["items"] == [await http.item(item)]


# --------------------------------------------------------------------------------------- reactions


async def test_put_and_delete(http: Http, alice: Visitor, bob: Visitor) -> None:
    item = new_item()
    like = await http.react(item, "like", alice.token)
    assert like["counts"] == {"like": 1, "dislike": 0}
    assert (await http.react(item, "like", alice.token))["version"] == like["version"]
    dislike = await http.react(item, "dislike", alice.token)
    assert dislike["counts"] == {"like": 0, "dislike": 1}
    assert (await http.react(item, "dislike", bob.token))["counts"] == {"like": 0, "dislike": 2}
    none = await http.react(item, None, alice.token)
    assert none["counts"] == {"like": 0, "dislike": 1}
    assert (await http.react(item, None, alice.token))["version"] == none["version"]
    entry = await http.item(item, bob.token)
    assert (entry["version"], entry["reaction"]) == (none["version"], "dislike")


async def test_delete_on_an_untouched_item(http: Http, alice: Visitor) -> None:
    ack = await http.react(new_item(), None, alice.token)
    assert (ack["version"], ack["counts"]) == (0, ZERO)


async def test_put_null_clears_or_is_refused(http: Http, alice: Visitor) -> None:
    item = new_item()
    await http.react(item, "like", alice.token)
    answer = await http.send("PUT", reaction_path(item), token=alice.token, json={"reaction": None})
    assert answer.status_code in (200, 400)
    held = (await http.item(item, alice.token))["reaction"]
    assert held == (None if answer.status_code == 200 else "like")


async def test_unknown_fields_are_ignored(http: Http, alice: Visitor) -> None:
    body = {"reaction": "like", "ref": 5, "x": {"y": [None]}}
    answer = await http.send("PUT", reaction_path(new_item()), token=alice.token, json=body)
    assert answer.status_code == 200


# ------------------------------------------------------------------------------------------ health


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health(http: Http, path: str) -> None:
    assert (await http.send("GET", path)).status_code == 200


async def test_openapi(http: Http) -> None:
    answer = await http.send("GET", "/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(document["info"])
    for path, methods in {
        "/v1/visitors": {"post"},
        "/v1/items": {"get"},
        "/v1/reaction": {"put", "delete"},
        "/v1/stream": {"get"},
        "/livez": {"get"},
        "/readyz": {"get"},
    }.items():
        operations = document["paths"][path]
        assert methods <= set(operations), path
        for method in methods:
            assert operations[method]["responses"], (path, method)
    parameters = {p["name"]: p for p in document["paths"]["/v1/items"]["get"]["parameters"] if "name" in p}
    if parameters:  # they may also be references
        assert parameters["item"]["in"] == "query"
