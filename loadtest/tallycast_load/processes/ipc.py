"""What the coordinator and its worker processes say to each other: MessagePack structs over a pipe.

Owns the messages and their framing (a length in four bytes, then the message). Must not know what they lead
to.
"""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct, msgpack

Found = dict[str, tuple[int, list[str]]]
Count = Annotated[int, Meta(ge=0)]


class Order(Struct, tag=True, frozen=True):
    """Coordinator to worker."""


class Begin(Order, frozen=True):
    """What the run is; answered by ``Prepared`` when the visitors have their tokens."""

    number: int
    processes: int
    plan: str
    url: str
    run: str
    kinds: list[str]
    token_key: str | None


class Open(Order, frozen=True):
    """Open the connections on schedule, from this moment (ns) on."""

    at: int


class Run(Order, frozen=True):
    """The timeline starts at this moment (ns)."""

    at: int


class News(Order, frozen=True):
    """Reactions acknowledged anywhere: (item, version, intended, connection, stage).

    Whatever was sent before ``watermark`` is answered, and told.
    """

    acked: list[tuple[int, int, int, int, int]]
    watermark: int


class Halt(Order, frozen=True):
    """Send no more reactions, drop no more connections; everybody reads."""


class Freeze(Order, frozen=True):
    """What does every connection show now? Answered by ``Shown``."""


class Audit(Order, frozen=True):
    """What does the store hold of your visitors? Answered by ``Audited``."""


class Word(Struct, tag=True, frozen=True):
    """Worker to coordinator."""


class Failed(Word, frozen=True):
    """It cannot go on; one line."""

    why: str


class Prepared(Word, frozen=True):
    """So many of its visitors have tokens by now."""

    visitors: int
    done: bool


class Tick(Word, frozen=True):
    """What happened since the last one, and what is true now. Histograms by distribution and stage."""

    at: int
    acked: list[tuple[int, int, int, int, int]]
    watermark: int
    last_ack: int
    latencies: dict[str, dict[int, bytes]]
    counters: dict[str, int]
    refused: dict[str, int]
    failures: dict[str, int]
    closed: dict[int, int]
    late: dict[int, tuple[int, int]]
    failed: dict[int, int]
    up: int
    under_way: int
    waiting: int
    cpu: float
    memory: int
    faults: Found


class Shown(Word, frozen=True):
    """How many connections show which version of which item, and the counts that came with the newest."""

    versions: dict[int, dict[int, int]]
    counts: dict[int, tuple[int, dict[str, int]]]


class Audited(Word, frozen=True):
    """So many visitors' reactions were compared with the store, so many acknowledged ones were not there.

    ``tally`` is who holds what by item, as these visitors were told. ``unread``: why the store could not be
    read; then nothing else counts.
    """

    compared: int
    lost: int
    examples: list[str]
    tally: dict[int, dict[str, int]]
    unread: str = ""


ORDER = Begin | Open | Run | News | Halt | Freeze | Audit
WORD = Failed | Prepared | Tick | Shown | Audited

_orders = msgpack.Decoder(ORDER)
_words = msgpack.Decoder(WORD)
_encode = msgpack.Encoder().encode


def packed(message: Order | Word) -> bytes:
    """A message as it travels."""
    body = _encode(message)
    return len(body).to_bytes(4) + body


async def next_order(reader: asyncio.StreamReader) -> ORDER | None:
    """The next message of the coordinator; ``None`` when it is gone."""
    body = await _next(reader)
    return None if body is None else _orders.decode(body)


async def next_word(reader: asyncio.StreamReader) -> WORD | None:
    """The next message of a worker; ``None`` when it is gone."""
    body = await _next(reader)
    return None if body is None else _words.decode(body)


async def _next(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
