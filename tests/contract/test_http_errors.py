"""HTTP refusals: problem documents (checked on every error by the client), origins and CORS."""

from __future__ import annotations

import httpx
import pytest

from tests.client.checked import turned_away
from tests.client.http import Http, Visitor
from tests.client.messages import Server, new_item, query

PAGE = "https://blog.example"
EVERY = [
    ("POST", "/v1/visitors"),
    ("GET", "/v1/items"),
    ("PUT", "/v1/reaction"),
    ("DELETE", "/v1/reaction"),
]

BAD_ITEMS = {
    "empty": "",
    "nul": "a%00b",
    "newline": "%0A",
    "delete": "%7F",
    "c1": "%C2%9F",
    "not-utf8": "%FF",
    "cut-utf8": "%C3",
    "surrogate": "%ED%A0%80",
    "overlong": "%C0%80",
    "257-bytes": "x" * 257,
    "258-bytes-encoded": "%C3%A9" * 129,
}


@pytest.mark.parametrize("item", BAD_ITEMS.values(), ids=BAD_ITEMS)
async def test_bad_items(http: Http, alice: Visitor, item: str) -> None:
    for method, path in EVERY[1:]:
        body = {"reaction": "like"} if method == "PUT" else None
        answer = await http.send(method, f"{path}?site=default&item={item}", token=alice.token, json=body)
        assert answer.status_code == 400
        assert answer.json()["code"] == "bad_item"
    answer = await http.send("GET", f"/v1/items?site=default&item=good&item={item}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_item")


async def test_missing_item(http: Http, alice: Visitor) -> None:
    for method in ("PUT", "DELETE"):
        body = {"reaction": "like"} if method == "PUT" else None
        answer = await http.send(method, f"/v1/reaction?{query()}", token=alice.token, json=body)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("bad_item", "bad_message")


BODIES = {
    "nothing": b"",
    "cut": b'{"reaction":"like"',
    "two": b'{"reaction":"like"}{}',
    "form": b"reaction=like",
    "null": b"null",
    "list": b'["like"]',
    "string": b'"like"',
    "number": b"5",
    "no-field": b"{}",
    "other-field": b'{"Reaction":"like"}',
    "not-utf8": b'{"reaction":"\xff"}',
    "nested": b"[" * 5000,
    "nested-field": b'{"reaction":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "huge-number": b'{"reaction":' + b"9" * 5000 + b"}",
    "messagepack": b"\x81\xa8reaction\xa4like",
    "list-in-field": b'{"reaction":["like"]}',
    "number-in-field": b'{"reaction":1}',
    "true-in-field": b'{"reaction":true}',
    "lone-surrogate": b'{"reaction":"\\ud800"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_broken_bodies(http: Http, alice: Visitor, body: bytes) -> None:
    item = new_item()
    ack = await http.react(item, "dislike", alice.token)
    answer = await http.send(
        "PUT",
        f"/v1/reaction?{query(item)}",
        token=alice.token,
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400
    assert answer.json()["code"] in ("bad_message", "bad_reaction")
    assert (await http.item(item, alice.token))["reaction"] == "dislike"
    assert (await http.item(item))["version"] == ack["version"]


@pytest.mark.parametrize("kind", ["love", "", "Like", "like ", "\x00", "x" * 1000])
async def test_unknown_kinds(http: Http, alice: Visitor, kind: str) -> None:
    item = new_item()
    answer = await http.send("PUT", f"/v1/reaction?{query(item)}", token=alice.token, json={"reaction": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_reaction")
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_body_too_large(http: Http, alice: Visitor, declared: bool) -> None:
    item = new_item()
    body = b'{"reaction":"like","pad":"' + b"x" * 1_000_000 + b'"}'

    async def chunks():
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]

    try:
        answer = await http.send(
            "PUT",
            f"/v1/reaction?{query(item)}",
            token=alice.token,
            content=body if declared else chunks(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 413
    except httpx.WriteError:
        pass  # the server may close before it has read what it will not take
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize("site", ["nobody", "Default", "default%20", "%FF"])
async def test_unknown_site(http: Http, alice: Visitor, site: str) -> None:
    item = new_item()
    for method, path in EVERY:
        body = {"reaction": "like"} if method == "PUT" else None
        answer = await http.send(method, f"{path}?site={site}&item={item}", token=alice.token, json=body)
        assert answer.status_code == 404
    assert (await http.item(item))["version"] == 0


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v1/", "/v1/items/x", "/v2/items", "/%00", "/..", "/ws/x"]
)
async def test_unknown_path(http: Http, path: str) -> None:
    if path == "/..":
        path = "/%2e%2e/etc/passwd"
    assert (await http.send("GET", path)).status_code == 404


async def test_method_not_allowed(http: Http) -> None:
    for method, path in (
        ("GET", "/v1/visitors"),
        ("POST", "/v1/items"),
        ("DELETE", "/v1/items"),
        ("GET", "/v1/reaction"),
        ("POST", "/v1/reaction"),
        ("PATCH", "/v1/reaction"),
        ("POST", "/livez"),
        ("PUT", "/openapi.json"),
    ):
        answer = await http.send(method, path + (f"?{query(new_item())}" if path.startswith("/v1") else ""))
        assert answer.status_code == 405, (method, path)
        assert "allow" in answer.headers  # RFC 9110, 15.5.6
        assert method not in answer.headers["allow"].upper().replace(" ", "").split(",")


async def test_socket_path_without_an_upgrade(http: Http, server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as plain:
        answer = await plain.get(f"/ws?{query()}")
    assert 400 <= answer.status_code < 500


# ----------------------------------------------------------------------------------------- origins


async def test_origin_null_is_403_before_any_effect(http: Http, server: Server, alice: Visitor) -> None:
    item = new_item()
    ack = await http.react(item, "like", alice.token)
    for method, path in EVERY:
        body = {"reaction": "dislike"} if method == "PUT" else None
        answer = await http.send(
            method, f"{path}?{query(item)}", token=alice.token, json=body, headers={"Origin": "null"}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), method
        assert answer.headers.get("access-control-allow-origin") is None
    # Also without a token, and whatever else is wrong with it.
    for method, path in EVERY:
        answer = await http.send(method, f"{path}?{query(item)}", headers={"Origin": "null"}, content=b"{")
        assert answer.status_code == 403, method
    entry = await http.item(item, alice.token)
    assert (entry["version"], entry["reaction"]) == (ack["version"], "like")
    assert await turned_away(server, f"/ws?{query(item)}", origin="null") == 4503


async def test_preflight_of_null_is_403(http: Http) -> None:
    for method, path in EVERY:
        answer = await http.send(
            "OPTIONS",
            f"{path}?{query(new_item())}",
            headers={"Origin": "null", "Access-Control-Request-Method": method},
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def allows(answer: httpx.Response, origin: str = PAGE) -> None:
    where = f"{answer.request.method} {answer.request.url} {answer.status_code}"
    assert answer.headers.get("access-control-allow-origin") in (origin, "*"), where
    vary = {name.strip().lower() for name in answer.headers.get("vary", "").split(",")}
    assert "origin" in vary, where


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000", "https://a.b.c.example:8443"])
async def test_preflight(http: Http, origin: str) -> None:
    for method, path in EVERY:
        answer = await http.send(
            "OPTIONS",
            f"{path}?{query(new_item())}",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization,content-type,if-none-match",
            },
        )
        assert answer.status_code in (200, 204)
        allows(answer, origin)
        methods = answer.headers.get("access-control-allow-methods", "").replace(" ", "").split(",")
        assert method in methods or method in ("GET", "POST")  # those two are always allowed
        headers = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert {"authorization", "content-type", "if-none-match"} <= set(headers)


async def test_cors_on_answers(http: Http, alice: Visitor) -> None:
    item, headers = new_item(), {"Origin": PAGE}
    answers = [
        await http.send("POST", f"/v1/visitors?{query()}", headers=headers),
        await http.send("GET", f"/v1/items?{query(item)}", headers=headers),
        await http.send("GET", f"/v1/items?{query(item)}", headers=headers, token=alice.token),
        await http.send(
            "PUT",
            f"/v1/reaction?{query(item)}",
            headers=headers,
            token=alice.token,
            json={"reaction": "like"},
        ),
        await http.send("DELETE", f"/v1/reaction?{query(item)}", headers=headers, token=alice.token),
        await http.send("GET", f"/v1/items?{query(item)}", headers={**headers, "If-None-Match": "*"}),
    ]
    assert [a.status_code for a in answers] == [201, 200, 200, 200, 200, 304]
    for answer in answers:
        allows(answer)
        exposed = answer.headers.get("access-control-expose-headers", "").lower().replace(" ", "").split(",")
        assert {"etag", "retry-after"} <= set(exposed)


async def test_cors_on_errors(http: Http, alice: Visitor) -> None:
    """A page must be able to read why."""
    item, headers = new_item(), {"Origin": PAGE}
    answers = [
        await http.send("GET", f"/v1/items?{query('')}", headers=headers),
        await http.send("PUT", f"/v1/reaction?{query(item)}", headers=headers, json={"reaction": "like"}),
        await http.send(
            "PUT", f"/v1/reaction?{query(item)}", headers=headers, token=alice.token, content=b"{"
        ),
        await http.send("POST", f"/v1/visitors?{query()}", headers=headers, token="forged"),
    ]
    assert [a.status_code for a in answers] == [400, 401, 400, 401]
    for answer in answers:
        allows(answer)


async def test_no_cors_without_an_origin_but_vary(http: Http) -> None:
    """A cache must not hand the answer for no origin to a page, nor that of one page to another."""
    answer = await http.send("GET", f"/v1/items?{query(new_item())}")
    assert (
        "origin" in answer.headers.get("vary", "").lower()
        or answer.headers["access-control-allow-origin"] == "*"
    )
