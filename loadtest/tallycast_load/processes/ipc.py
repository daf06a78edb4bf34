"""The messages between the coordinator and its worker processes: MessagePack structs over pipes.

Owns the messages and their framing (a length in four bytes, then the message). Does not depend on what they
lead to.
"""

import asyncio
from typing import Annotated

from msgspec import Meta, Struct, msgpack

from tallycast_load.measure.updates import AckedReaction

ViolationCounts = dict[str, tuple[int, list[str]]]
Count = Annotated[int, Meta(ge=0)]


class Command(Struct, tag=True, frozen=True):
    """Coordinator to worker."""


class Begin(Command, frozen=True):
    """Prepare a run; answered by ``Prepared`` until the visitors have their tokens."""

    number: int
    processes: int
    plan: str
    url: str
    run: str
    kinds: list[str]
    token_key: str | None


class Open(Command, frozen=True):
    """Open the connections on schedule, from this moment (ns) on."""

    at: int


class Run(Command, frozen=True):
    """Start the schedule of reactions at this moment (ns)."""

    at: int


class Acked(Command, frozen=True):
    """Reactions acknowledged in any process.

    Everything that was sent before ``watermark`` (ns) is answered and has been reported.
    """

    acked: list[AckedReaction]
    watermark: int


class Stop(Command, frozen=True):
    """Send no more reactions, drop no more connections, resume the slow ones."""


class ReportShown(Command, frozen=True):
    """Report what every connection shows; answered by ``Shown``."""


class Audit(Command, frozen=True):
    """Compare the visitors' reactions with the store; answered by ``Audited``."""


class Event(Struct, tag=True, frozen=True):
    """Worker to coordinator."""


class Failed(Event, frozen=True):
    """The worker cannot continue; one line."""

    message: str


class Prepared(Event, frozen=True):
    """The number of visitors that have tokens so far."""

    visitors: int
    done: bool


class Tick(Event, frozen=True):
    """What happened since the last tick, and the present state. Histograms by distribution and stage."""

    at: int
    acked: list[AckedReaction]
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
    pending: int
    waiting: int
    cpu: float
    memory: int
    violations: ViolationCounts


class Shown(Event, frozen=True):
    """How many connections show which version of which item, and the counts of the newest version."""

    versions: dict[int, dict[int, int]]
    counts: dict[int, tuple[int, dict[str, int]]]


class Audited(Event, frozen=True):
    """How many reactions of visitors were compared with the store, and how many acked ones were lost.

    ``tally`` counts the visitors' reactions by item, as they were acknowledged. ``unread``: why the store
    could not be read; then the other fields mean nothing.
    """

    compared: int
    lost: int
    examples: list[str]
    tally: dict[int, dict[str, int]]
    unread: str = ""


COMMAND = Begin | Open | Run | Acked | Stop | ReportShown | Audit
EVENT = Failed | Prepared | Tick | Shown | Audited

_commands = msgpack.Decoder(COMMAND)
_events = msgpack.Decoder(EVENT)
_encode = msgpack.Encoder().encode


def pack(message: Command | Event) -> bytes:
    """Encode a message with its length."""
    body = _encode(message)
    return len(body).to_bytes(4) + body


async def next_command(reader: asyncio.StreamReader) -> COMMAND | None:
    """The coordinator's next message; None when it has ended."""
    body = await _next(reader)
    return None if body is None else _commands.decode(body)


async def next_event(reader: asyncio.StreamReader) -> EVENT | None:
    """A worker's next message; None when it has ended."""
    body = await _next(reader)
    return None if body is None else _events.decode(body)


async def _next(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
