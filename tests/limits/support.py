"""Clients of a server with low limits, which trusts this machine to name their addresses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.client.websocket import connect
from tests.support.process import ServerProcess


@asynccontextmanager
async def client(server: ServerProcess, address: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP from an address; without one, from the proxy itself, which has no limits of its own."""
    headers = {} if address is None else {"X-Forwarded-For": address}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20) as http:
        yield http


def opening(server: ServerProcess, address: str | None = None, query: str = "") -> Any:
    """A WebSocket connection from an address."""
    headers = {} if address is None else {"X-Forwarded-For": address}
    return connect(f"{server.ws_url}/ws{query}", additional_headers=headers)


async def refused(server: ServerProcess, address: str | None = None) -> int | None:
    """The code that a new connection is closed with at once; ``None`` when it is let in."""
    async with opening(server, address) as line:
        return await line.refused()


def is_limited(answer: dict[str, Any]) -> bool:
    """Whether an answer says to come later, and when."""
    if answer.get("code") != "rate_limited":
        return False
    assert 0 < answer["retry_after"] < 3600
    return True


def check_limited(answer: httpx.Response) -> None:
    """Over HTTP."""
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"
