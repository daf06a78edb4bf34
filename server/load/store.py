"""What the store holds, asked over HTTP as everybody may.

Must not know what ought to be there.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from server.errors import LoadError
from server.load.http import Http, Request, told, why
from server.load.target import Target

ITEMS_A_REQUEST = 100
AT_ONCE = 8


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
        request = Request("GET", self._target.path("/v1/items", self._site, items), token)
        try:
            reply = await self._http.ask(request)
        except OSError as error:
            raise LoadError(f"GET /v1/items: {why(error)}") from None
        try:
            if reply.status != 200:
                raise ValueError
            answer = msgspec.json.decode(reply.body, type=_Answer)
        except ValueError:
            raise LoadError(f"GET /v1/items was answered {told(reply)}") from None
        if [stored.item for stored in answer.items] != items:
            raise LoadError("GET /v1/items was answered with other items than those asked for")
        return answer.items


async def together(work: Iterator[Any]) -> None:
    """Run coroutines, a few at once, each as soon as one before it has ended."""

    async def some() -> None:
        for one in work:
            await one

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
