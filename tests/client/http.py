"""The HTTP side of the contract: requests, and the shape of every answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import httpx

from .messages import (
    DEADLINE,
    Frame,
    Server,
    check_shape,
    check_truth,
    demand,
    is_counts,
    is_int,
    is_reaction,
    is_text,
    query,
)


@dataclass(frozen=True)
class Visitor:
    id: str
    token: str
    expires: int


# Statuses whose `code` the contract gives by name.
PROBLEM_CODES = {
    401: {"unauthorized"},
    403: {"forbidden"},
    429: {"rate_limited"},
    503: {"unavailable"},
}


def check_problem(answer: httpx.Response) -> None:
    """Errors are `application/problem+json` with a `code`, never cached."""
    where = f"{answer.request.method} {answer.request.url} -> {answer.status_code} {answer.text[:500]}"
    assert "no-store" in answer.headers.get("cache-control", ""), f"cacheable error: {where}"
    if answer.status_code in (429, 503):
        assert "retry-after" in answer.headers, where
    if answer.request.method == "HEAD":
        return
    assert answer.headers.get("content-type", "").split(";")[0] == "application/problem+json", where
    body = answer.json()
    assert isinstance(body, dict), where
    assert body.get("status", answer.status_code) == answer.status_code, where
    for name in ("type", "title", "detail", "instance", "code"):
        assert name not in body or is_text(body[name]), f"{name}: {where}"
    if answer.status_code in PROBLEM_CODES:
        assert body["code"] in PROBLEM_CODES[answer.status_code], where
    elif answer.status_code == 400:
        assert body["code"].startswith("bad_") or body["code"] == "too_many_items", where


class Http:
    """The HTTP side, one connection pool."""

    def __init__(self, server: Server) -> None:
        self._client = httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=DEADLINE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Any request; errors are checked for their shape."""
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = await self._client.request(method, path, headers=headers, **more)
        assert answer.request.url.raw_path == path.encode(), "the query must go out as written"
        if answer.status_code >= 400:
            check_problem(answer)
        return answer

    async def visitor(self, token: str | None = None) -> Visitor:
        answer = await self.send("POST", f"/v1/visitors?{query()}", token=token)
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert isinstance(body["visitor"], str), body
        assert body["visitor"].startswith("a:"), body
        assert isinstance(body["token"], str), body
        assert is_int(body["expires"]), body
        return Visitor(body["visitor"], body["token"], body["expires"])

    async def items(self, *items: str, token: str | None = None) -> list[Frame]:
        answer = await self.send("GET", f"/v1/items?{query(*items)}", token=token)
        assert answer.status_code == 200, answer.text
        return self.check_items(answer, token is not None)

    async def item(self, item: str, token: str | None = None) -> Frame:
        (entry,) = await self.items(item, token=token)
        assert entry["item"] == item
        return entry

    @staticmethod
    def check_items(answer: httpx.Response, with_reaction: bool = False) -> list[Frame]:
        assert answer.headers["content-type"].split(";")[0] == "application/json"
        entries = answer.json()["items"]
        assert isinstance(entries, list)
        for entry in entries:
            demand(is_text(entry["item"]), "`item`", entry)
            demand(is_int(entry["version"]), "`version`", entry)
            demand(is_counts(entry["counts"]), "`counts`", entry)
            check_truth(entry["item"], entry["version"], entry["counts"], entry)
            demand(("reaction" in entry) == with_reaction, "`reaction` comes with a token, only", entry)
            demand(is_reaction(entry.get("reaction")), "`reaction`", entry)
        return entries

    async def react(self, item: str, reaction: str | None, token: str) -> Frame:
        """PUT or DELETE a reaction; the fields of an ack."""
        path = f"/v1/reaction?{query(item)}"
        if reaction is None:
            answer = await self.send("DELETE", path, token=token)
        else:
            answer = await self.send("PUT", path, token=token, json={"reaction": reaction})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        check_shape({"type": "ack", **body})
        assert body["item"] == item
        assert body["reaction"] == reaction
        assert body.get("type", "ack") == "ack"
        return body
