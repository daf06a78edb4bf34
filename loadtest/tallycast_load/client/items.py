"""What the store holds, asked over HTTP as everybody may.

Must not know what ought to be there.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from tallycast.contract.errors import LoadError

from tallycast_load.client.http import Http, Reply, Request, told, why
from tallycast_load.client.target import Target

ITEMS_A_REQUEST = 100
AT_ONCE = 8
# How long a server that limits requests is asked again, and how long at most between two times (s).
PATIENCE, LONGEST_WAIT = 120.0, 10.0


class Stored(msgspec.Struct, frozen=True):
    """One item, and what the bearer of the token holds on it."""

    item: str
    version: int
    counts: dict[str, int]
    reaction: str | None = None


class _Answer(msgspec.Struct):
    items: list[Stored]


class Store:
    """Reads of one site."""

    def __init__(self, http: Http, target: Target, site: str) -> None:
        self._http = http
        self._target = target
        self._site = site

    async def read(self, items: Iterable[str], token: str | None) -> list[Stored]:
        """These items, as the bearer sees them: with a token no cache stands between.

        Raises:
            LoadError: they cannot be read.
        """
        wanted, found = list(items), []
        for start in range(0, len(wanted), ITEMS_A_REQUEST):
            found += await self._some(wanted[start : start + ITEMS_A_REQUEST], token)
        return found

    async def _some(self, items: list[str], token: str | None) -> list[Stored]:
        reply = await self._ask(Request("GET", self._target.path("/v1/items", self._site, items), token))
        try:
            if reply.status != 200:
                raise ValueError
            answer = msgspec.json.decode(reply.body, type=_Answer)
        except ValueError:
            raise LoadError(f"GET /v1/items was answered {told(reply)}") from None
        if [stored.item for stored in answer.items] != items:
            raise LoadError("GET /v1/items was answered with other items than those asked for")
        return answer.items

    async def _ask(self, request: Request) -> Reply:
        """The answer; a limit on requests is waited for, because a check is no load."""
        until = time.monotonic() + PATIENCE
        try:
            while True:
                reply = await self._http.ask(request)
                if reply.status != 429 or time.monotonic() > until:
                    return reply
                await asyncio.sleep(_wait(reply))
        except OSError as error:
            raise LoadError(f"GET /v1/items: {why(error)}") from None


def _wait(reply: Reply) -> float:
    """How long a server wants to be left alone (s); it may say so as a date, which is not read."""
    said = reply.headers.get("retry-after", "")
    return min(float(said), LONGEST_WAIT) if said.isdecimal() else 1.0


async def together(work: Iterator[Any]) -> None:
    """Run coroutines, a few at once, each as soon as one before it has ended."""

    async def some() -> None:
        for one in work:
            await one

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
