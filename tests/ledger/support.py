"""What the ledger's tests share: wishes to wait for, and a look into the engine past the ledger."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from server.errors import Refusal
from server.ledger import keys
from server.ledger.reader import Query, Reader, State
from server.ledger.writer import Receipt, Wish, Writer
from server.rules.sites import Site

SITE = Site()


def submitted(
    writer: Writer, visitor: str, item: str, reaction: str | None, origin: int = 0
) -> "asyncio.Future[Receipt | Refusal]":
    """Submit a wish; its answer."""
    future: asyncio.Future[Receipt | Refusal] = asyncio.get_running_loop().create_future()
    writer.submit(Wish(SITE, item, keys.member(visitor), reaction, origin, future.set_result))
    return future


async def wish(writer: Writer, visitor: str, item: str, reaction: str | None, origin: int = 0) -> Receipt:
    """Submit a wish and wait; it must be granted."""
    answer = await submitted(writer, visitor, item, reaction, origin)
    assert isinstance(answer, Receipt), answer
    return answer


async def read(reader: Reader, items: list[str], visitor: str | None = None) -> list[State]:
    """Read items and wait; it must work."""
    future: asyncio.Future[list[State] | Refusal] = asyncio.get_running_loop().create_future()
    reader.submit(Query(SITE, items, visitor, future.set_result))
    answer = await future
    assert isinstance(answer, list), answer
    return answer


async def membership(client: Any, item: str) -> dict[str, int]:
    """Counts by counting who holds what."""
    held = await client.hgetall(keys.item_key(SITE.name, item))
    kinds = [kind for who, kind in held.items() if who]
    return {kind: kinds.count(kind.encode()) for kind in SITE.kinds}


def raw(url: str) -> Any:
    """A client of the engine that knows nothing of the ledger."""
    return Redis.from_url(url)
