"""A connection by itself: what a WebSocket and an event stream take for right and for wrong, and survive."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns as now

import pytest
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Connection
from tallycast_load.connections.event_stream import EventStreamConnection
from tallycast_load.connections.pool import ConnectionPool
from tallycast_load.connections.websocket import WebSocketConnection
from tallycast_load.measure import violations
from tallycast_load.measure.violations import ABNORMAL

from tests.load.fake import Fake, Faults
from tests.load.support import make_context
from tests.support.waiting import eventually

ITEM = "load/x/0"
BOTH = pytest.mark.parametrize("transport", ["ws", "sse"])


@dataclass
class Scene:
    """One connection of one item, and the server."""

    fake: Fake
    pool: ConnectionPool
    connection: Connection
    found: violations.Violations

    async def react(self, visitor: str) -> None:
        """A visitor reacts, and the connection has received the update, or a violation was found."""
        version, _ = self.fake.react(ITEM, visitor, "like")
        await eventually(lambda: self.connection.shown[0].version == version or bool(self.found.found))

    @property
    def names(self) -> list[str]:
        return list(self.found.found)


@asynccontextmanager
async def scene(does: Faults, transport: str, *, up: bool = True) -> AsyncIterator[Scene]:
    async with Fake(does) as fake:
        found, target = violations.Violations(), Target.parse(fake.url)
        pool = ConnectionPool(
            target, [], found, lambda _connection, _ns: None, lambda _connection, _intentional: None
        )
        uri = target.websocket("default")
        shared = make_context(found, [ITEM], uri, on_ready=pool.on_ready, on_lost=pool.on_lost)
        connection: Connection = WebSocketConnection(shared, 0, [0], None, False)
        if transport == "sse":
            connection = EventStreamConnection(shared, target, 0, [0], False)
        pool.add([connection])
        await pool.open_all(now(), 1000.0)
        if up:
            await eventually(lambda: connection.up)
        yield Scene(fake, pool, connection, found)
        pool.close()


WRONG: list[tuple[str, Callable[[], Faults], str]] = [
    ("ws sse", lambda: Faults(repeat_version=2), violations.REPEATED),
    ("ws sse", lambda: Faults(two_counts=2), violations.TWO_COUNTS),
    ("ws sse", lambda: Faults(go_down=2), violations.WENT_DOWN),
    ("ws sse", lambda: Faults(garbage=2), violations.UNREADABLE),
    ("ws sse", lambda: Faults(not_watched=2), violations.NOT_WATCHED),
    ("ws sse", lambda: Faults(cut_connection=2), violations.LOST),
    ("ws", lambda: Faults(close_without_code=2), violations.LOST),
    ("ws", lambda: Faults(invalid_text=2), violations.UNREADABLE),
    ("ws", lambda: Faults(masked=2), violations.UNREADABLE),
]


@pytest.mark.parametrize(
    ("transport", "does", "name"),
    [(transport, does, name) for both, does, name in WRONG for transport in both.split()],
)
async def test_what_is_wrong_has_a_name(transport: str, does: Callable[[], Faults], name: str) -> None:
    async with scene(does(), transport) as one:
        await one.react("a")
        assert one.names == []
        await one.react("b")
        await eventually(lambda: one.names != [])
        assert one.names == [name]
        # It goes on: what comes next is seen, on this connection or on another.
        await eventually(lambda: one.connection.up)
        version, _ = one.fake.react(ITEM, "c", "like")
        await eventually(lambda: one.connection.shown[0].version == version)


@BOTH
async def test_what_is_odd_is_right(transport: str) -> None:
    """Fragments, pings, comments, unknown messages and fields."""
    async with scene(Faults(odd=True), transport) as one:
        for visitor in "abc":
            await one.react(visitor)
        assert one.names == []
        assert one.connection.shown[0].counts == {"like": 3, "dislike": 0}


@BOTH
async def test_a_goodbye_is_no_fault(transport: str) -> None:
    async with scene(Faults(goodbye=1), transport) as one:
        one.fake.react(ITEM, "a", "like")
        await eventually(lambda: one.pool.reconnects == 1 and one.connection.up)
        assert (one.names, dict(one.pool.closed)) == ([], {1012: 1})
        await eventually(lambda: one.connection.shown[0].counts == {"like": 1, "dislike": 0})


@BOTH
async def test_a_store_that_went_back_is_believed(transport: str) -> None:
    async with scene(Faults(reset=2), transport) as one:
        await one.react("a")
        version, _ = one.fake.react(ITEM, "b", "like")
        await eventually(lambda: one.connection.shown[0].version == version - 1)
        assert one.connection.shown[0].reset
        assert (one.names, one.connection._context.resets) == ([], 1)


async def test_after_a_final_code_no_connection_comes_back() -> None:
    async with scene(Faults(final_close=1), "ws") as one:
        one.fake.react(ITEM, "a", "like")
        await eventually(lambda: one.pool.closed_for_good == {0})
        assert (one.names, one.pool.reconnects, dict(one.pool.closed)) == ([], 0, {4500: 1})


@pytest.mark.parametrize(
    ("transport", "why"),
    [
        ("ws", "the upgrade was refused: server rejected WebSocket connection: HTTP 503"),
        ("sse", "GET /v1/stream was answered 503"),
    ],
)
async def test_a_connection_that_is_refused_says_why_and_tries_again(transport: str, why: str) -> None:
    async with scene(Faults(full_from_the_start=True), transport, up=False) as one:
        await eventually(lambda: bool(one.pool.failures))
        assert list(one.pool.failures) == [why]
        one.fake.full = False
        await eventually(lambda: one.connection.up)
        assert one.names == []
        assert ABNORMAL not in one.pool.closed
