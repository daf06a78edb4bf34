"""What the ledger's tests share: reactions to wait for, and a look into the engine past the ledger."""

import asyncio
import re
from copy import copy
from hashlib import sha1
from typing import Any

import msgpack
from redis.asyncio import Redis
from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.ledger import layout
from tallycast.ledger.layout import Stored
from tallycast.ledger.reader import Query, Reader, State
from tallycast.ledger.writer import Committed, SetReaction, Writer

from tests.support.names import NAMES

SITE = Site()


def submitted(
    writer: Writer, visitor: str, item: str, reaction: str | None, connection_id: int = 0
) -> "asyncio.Future[Committed | Refusal]":
    """Submit a reaction; its answer."""
    future: asyncio.Future[Committed | Refusal] = asyncio.get_running_loop().create_future()
    writer.submit(SetReaction(SITE, item, keys.member(visitor), reaction, connection_id, future.set_result))
    return future


async def set_reaction(
    writer: Writer, visitor: str, item: str, reaction: str | None, connection_id: int = 0
) -> Committed:
    """Submit a reaction and wait; it must be granted."""
    answer = await submitted(writer, visitor, item, reaction, connection_id)
    assert isinstance(answer, Committed), answer
    return answer


async def read(reader: Reader, items: list[str], visitor: str | None = None) -> list[State]:
    """Read items and wait; it must work."""
    future: asyncio.Future[list[State] | Refusal] = asyncio.get_running_loop().create_future()
    reader.submit(Query(SITE, items, visitor, future.set_result))
    answer = await future
    assert isinstance(answer, list), answer
    return answer


async def membership(client: Any, item: str) -> dict[str, int]:
    """Counts by counting what visitors hold."""
    state = layout.unpack(await client.hget(NAMES.item_key(SITE.name, item), ""))
    hashes = [await client.hgetall(key) for key in bucket_keys(state, SITE.name, item)]
    kinds = list(members(state, hashes).values())
    return {kind: kinds.count(kind) for kind in SITE.kinds}


def stored(client: Any, site: str, item: str) -> tuple[Stored, dict[bytes, str]]:
    """An item's state, and what each visitor holds, past the ledger."""
    state = layout.unpack(client.hget(NAMES.item_key(site, item), ""))
    hashes = [client.hgetall(key) for key in bucket_keys(state, site, item)]
    return state, members(state, hashes)


def bucket_keys(state: Stored, site: str, item: str) -> list[bytes]:
    """Where an item's members are; the first holds the state, too, under the empty field."""
    return [NAMES.bucket_key(site, item, state.generation, bucket) for bucket in range(state.buckets)]


def members(state: Stored, buckets: list[dict[bytes, bytes]]) -> dict[bytes, str]:
    """What each visitor holds, from the buckets; none is in two."""
    kinds = list(state.counts)
    found = [
        (visitor, kinds[int(number) - 1])
        for bucket in buckets
        for visitor, number in bucket.items()
        if visitor
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def sequence(*words: Any) -> bytes:
    """A state as it is stored: version, frozen, generation, buckets, bases, then each kind and its count."""
    return b"".join(map(msgpack.packb, words))


def cramped(script: Script, spread: int = 2) -> Script:
    """The same script for items of a few members: it splits buckets that hold so many."""
    made = copy(script)
    made.text, changed = re.subn(r"(?<=^local SPREAD = )\d+$", str(spread), script.text, flags=re.MULTILINE)
    assert changed == 1
    made.sha = sha1(made.text.encode(), usedforsecurity=False).hexdigest()
    return made


def raw(url: str) -> Any:
    """A client of the engine that knows nothing of the ledger."""
    return Redis.from_url(url)
