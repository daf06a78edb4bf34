"""A reader by itself: what a WebSocket and an event stream take for right and for wrong, and survive."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns as now

import pytest
from tallycast_load.client.target import Target
from tallycast_load.connections.connection import Reader
from tallycast_load.connections.event_stream import Stream
from tallycast_load.connections.pool import Crowd
from tallycast_load.connections.websocket import Watcher
from tallycast_load.measure import violations
from tallycast_load.measure.violations import ABNORMAL

from tests.load.fake import Fake, Faults
from tests.load.support import room
from tests.support.waiting import eventually

ITEM = "load/x/0"
BOTH = pytest.mark.parametrize("transport", ["ws", "sse"])


@dataclass
class Scene:
    """One reader of one item, and the server."""

    fake: Fake
    crowd: Crowd
    reader: Reader
    found: violations.Faults

    async def react(self, visitor: str) -> None:
        """A visitor reacts, and the reader has been brought what the server makes of it."""
        version, _ = self.fake.react(ITEM, visitor, "like")
        await eventually(lambda: self.reader.shown[0].version == version or bool(self.found.found))

    @property
    def names(self) -> list[str]:
        return list(self.found.found)


@asynccontextmanager
async def scene(does: Faults, transport: str, *, up: bool = True) -> AsyncIterator[Scene]:
    async with Fake(does) as fake:
        found, target = violations.Faults(), Target.parse(fake.url)
        crowd = Crowd(target, [], found, lambda _reader, _took: None, lambda _reader, _wanted: None)
        uri = target.websocket("default")
        shared = room(found, [ITEM], uri, ready=crowd.arrived, ended=crowd.ended)
        reader: Reader = Watcher(shared, 0, [0], None, False)
        if transport == "sse":
            reader = Stream(shared, target, 0, [0], False)
        crowd.add([reader])
        await crowd.open_all(now(), 1000.0)
        if up:
            await eventually(lambda: reader.up)
        yield Scene(fake, crowd, reader, found)
        crowd.close()


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
        await eventually(lambda: one.reader.up)
        version, _ = one.fake.react(ITEM, "c", "like")
        await eventually(lambda: one.reader.shown[0].version == version)


@BOTH
async def test_what_is_odd_is_right(transport: str) -> None:
    """Fragments, pings, comments, unknown messages and fields."""
    async with scene(Faults(odd=True), transport) as one:
        for visitor in "abc":
            await one.react(visitor)
        assert one.names == []
        assert one.reader.shown[0].counts == {"like": 3, "dislike": 0}


@BOTH
async def test_a_goodbye_is_no_fault(transport: str) -> None:
    async with scene(Faults(goodbye=1), transport) as one:
        one.fake.react(ITEM, "a", "like")
        await eventually(lambda: one.crowd.reconnects == 1 and one.reader.up)
        assert (one.names, dict(one.crowd.closed)) == ([], {1012: 1})
        await eventually(lambda: one.reader.shown[0].counts == {"like": 1, "dislike": 0})


@BOTH
async def test_a_store_that_went_back_is_believed(transport: str) -> None:
    async with scene(Faults(reset=2), transport) as one:
        await one.react("a")
        version, _ = one.fake.react(ITEM, "b", "like")
        await eventually(lambda: one.reader.shown[0].version == version - 1)
        assert one.reader.shown[0].reset
        assert (one.names, one.reader._room.resets) == ([], 1)


async def test_after_a_final_code_no_reader_comes_back() -> None:
    async with scene(Faults(final_close=1), "ws") as one:
        one.fake.react(ITEM, "a", "like")
        await eventually(lambda: one.crowd.given_up == {0})
        assert (one.names, one.crowd.reconnects, dict(one.crowd.closed)) == ([], 0, {4500: 1})


@pytest.mark.parametrize(
    ("transport", "why"),
    [
        ("ws", "the upgrade was refused: server rejected WebSocket connection: HTTP 503"),
        ("sse", "GET /v1/stream was answered 503"),
    ],
)
async def test_a_reader_that_is_refused_says_why_and_tries_again(transport: str, why: str) -> None:
    async with scene(Faults(full_from_the_start=True), transport, up=False) as one:
        await eventually(lambda: bool(one.crowd.failures))
        assert list(one.crowd.failures) == [why]
        one.fake.full = False
        await eventually(lambda: one.reader.up)
        assert one.names == []
        assert ABNORMAL not in one.crowd.closed
