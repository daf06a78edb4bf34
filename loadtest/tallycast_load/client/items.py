"""What the server stores, read over HTTP by the public endpoint.

Does not depend on what is expected there.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tallycast_load.client.http import HttpClient, Reply, Request, describe_error, describe_reply
from tallycast_load.client.target import Target
from tallycast_load.plan.errors import LoadError

ITEMS_PER_REQUEST = 100
CONCURRENCY = 8
# How long a request that is limited is repeated, and the longest delay between two (s).
RETRY_TIMEOUT, MAX_DELAY = 120.0, 10.0


class StoredItem(msgspec.Struct, frozen=True):
    """One item; ``reaction`` is that of the token's visitor."""

    item: str
    version: int
    counts: dict[str, int]
    reaction: str | None = None


class _Items(msgspec.Struct):
    items: list[StoredItem]


class ItemReader:
    """Reads the items of one site."""

    def __init__(self, http: HttpClient, target: Target, site: str) -> None:
        self._http = http
        self._target = target
        self._site = site

    async def read(self, items: Iterable[str], token: str | None) -> list[StoredItem]:
        """Read items as a visitor sees them: with a token the response comes from no cache.

        Raises:
            LoadError: they cannot be read.
        """
        wanted, found = list(items), []
        for start in range(0, len(wanted), ITEMS_PER_REQUEST):
            found += await self._read_some(wanted[start : start + ITEMS_PER_REQUEST], token)
        return found

    async def _read_some(self, items: list[str], token: str | None) -> list[StoredItem]:
        path = self._target.path("/v1/items", self._site, items)
        reply = await self._send(Request("GET", path, token))
        try:
            if reply.status != 200:
                raise ValueError
            stored = msgspec.json.decode(reply.body, type=_Items).items
        except ValueError:
            raise LoadError(f"GET /v1/items was answered {describe_reply(reply)}") from None
        if [one.item for one in stored] != items:
            raise LoadError("GET /v1/items was answered with other items than those requested")
        return stored

    async def _send(self, request: Request) -> Reply:
        """Send a request, and repeat it while it is limited: a check is not load."""
        until = time.monotonic() + RETRY_TIMEOUT
        try:
            while True:
                reply = await self._http.send(request)
                if reply.status != 429 or time.monotonic() > until:
                    return reply
                await asyncio.sleep(_retry_after(reply))
        except OSError as error:
            raise LoadError(f"GET /v1/items: {describe_error(error)}") from None


def _retry_after(reply: Reply) -> float:
    """Seconds until the next try (RFC 9110, section 10.2.3); a date is not parsed."""
    value = reply.headers.get("retry-after", "")
    return min(float(value), MAX_DELAY) if value.isdecimal() else 1.0


async def run_limited(work: Iterator[Any]) -> None:
    """Run coroutines, ``CONCURRENCY`` at a time."""

    async def run() -> None:
        for one in work:
            await one

    await asyncio.gather(*(run() for _ in range(CONCURRENCY)))
