"""The feed on a real engine: what it hears, and that it finds its way back."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from tallycast.contract.errors import Unavailable
from tallycast.engine import keys
from tallycast.engine.feed import SILENCE, Feed, NodeFeed
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger.moderation import reset
from tallycast.ledger.writer import Writer

from tests.ledger.support import set_reaction
from tests.support.names import NAMES
from tests.support.waiting import end, eventually

X, Y = NAMES.item_channel("default", "x"), NAMES.item_channel("default", "y")


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.counts: list[tuple[bytes, dict[str, int]]] = []
        self.persons: list[tuple[str, str | None, int]] = []
        self.rereads: list[set[bytes]] = []
        self.gone: list[bytes] = []
        self.empty: list[tuple[bytes, int]] = []
        self.unable = 0

    def on_counts(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        assert version > 0
        self.counts.append((channel, counts))

    def on_reaction(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        self.persons.append((item, reaction, connection_id))

    def on_emptied(self, channel: bytes, version: int) -> None:
        self.empty.append((channel, version))

    def on_retired(self, channel: bytes) -> None:
        self.gone.append(channel)

    async def reread(self, channels: list[bytes]) -> None:
        if self.unable:
            self.unable -= 1
            raise Unavailable("not now")
        self.rereads.append(set(channels))


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
async def feed(link: StandaloneStore, ear: Ear) -> AsyncIterator[Feed]:
    feed = NodeFeed(link, ear, NAMES)
    task = asyncio.create_task(feed.run())
    yield feed
    await end(task)


async def subscribers(client: Any, channel: bytes) -> int:
    return int(dict(await client.pubsub_numsub(channel))[channel])


async def test_followed_channels_are_received_and_no_others(feed: Feed, ear: Ear, writer: Writer) -> None:
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])
    await set_reaction(writer, "a:1", "y", "like")
    await set_reaction(writer, "a:1", "x", "like")
    await eventually(lambda: len(ear.counts) == 1)
    assert ear.counts == [(X, {"like": 1})]


async def test_what_changes_nothing_is_not_published(feed: Feed, ear: Ear, writer: Writer) -> None:
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])
    for _ in range(3):
        await set_reaction(writer, "a:1", "x", "like")
    await set_reaction(writer, "a:1", "x", None)
    await eventually(lambda: len(ear.counts) == 2)


async def test_an_item_that_is_reset_is_held_by_no_visitor(
    feed: Feed, ear: Ear, link: Store, writer: Writer
) -> None:
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])
    await set_reaction(writer, "a:1", "x", "like")
    version = await reset(link, "default", "x")
    await eventually(lambda: ear.empty == [(X, version)])
    assert ear.counts == [(X, {"like": 1}), (X, {"like": 0})]


async def test_a_visitor_hears_of_itself_with_the_origin(
    feed: Feed, ear: Ear, writer: Writer, client: Any
) -> None:
    channel = NAMES.visitor_channel("default", keys.member("a:1"))
    feed.subscribe(channel)

    async def followed() -> bool:
        return await subscribers(client, channel) == 1

    await eventually(followed)
    await set_reaction(writer, "a:2", "x", "like", 3)
    await set_reaction(writer, "a:1", "x", "like", 7)
    await set_reaction(writer, "a:1", "x", None, 8)
    await eventually(lambda: len(ear.persons) == 2)
    assert ear.persons == [("x", "like", 7), ("x", None, 8)]
    assert ear.rereads == []


async def test_a_retired_visitor_is_passed_on(feed: Feed, ear: Ear, client: Any) -> None:
    channel = NAMES.visitor_channel("default", keys.member("a:1"))
    feed.subscribe(channel)

    async def published() -> bool:
        return bool(await client.publish(channel, b""))

    await eventually(published)
    await eventually(lambda: ear.gone == [channel])


async def test_channels_left_are_left(feed: Feed, ear: Ear, client: Any) -> None:
    feed.subscribe(X)
    feed.subscribe(Y)
    await eventually(lambda: set().union(*ear.rereads) == {X, Y})
    feed.unsubscribe(X)

    async def left() -> bool:
        return await subscribers(client, X) == 0

    await eventually(left)
    assert await subscribers(client, Y) == 1


async def test_a_lost_link_is_found_again_and_everything_is_read_again(
    feed: Feed, ear: Ear, client: Any, writer: Writer
) -> None:
    feed.subscribe(X)
    feed.subscribe(Y)
    await eventually(lambda: set().union(*ear.rereads) == {X, Y})
    for _ in range(3):
        ear.rereads.clear()
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await eventually(lambda: bool(ear.rereads) and set().union(*ear.rereads) == {X, Y})
    await set_reaction(writer, "a:1", "x", "like")
    await eventually(lambda: len(ear.counts) == 1)
    await eventually(lambda: feed.up)


async def test_a_read_that_failed_is_tried_again(feed: Feed, ear: Ear) -> None:
    ear.unable = 1
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])


async def test_nonsense_on_a_channel_does_no_harm(feed: Feed, ear: Ear, client: Any, writer: Writer) -> None:
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])
    for nonsense in (
        b"",
        b"\xc1",
        b"\x80",
        b"\x93\x01\x02\x03",
        b"text",
        b"\x92\x09\x91\x01",
        b"\x92\xa1x\x80",
    ):
        await client.publish(X, nonsense)
    await set_reaction(writer, "a:1", "x", "like")
    await eventually(lambda: len(ear.counts) == 1)


async def test_thousands_of_channels(feed: Feed, ear: Ear, client: Any) -> None:
    channels = {NAMES.item_channel("default", str(i)) for i in range(3000)}
    for channel in channels:
        feed.subscribe(channel)
    await eventually(lambda: set().union(*ear.rereads) == channels)
    for channel in channels:
        feed.unsubscribe(channel)

    async def gone() -> bool:
        return len(await client.pubsub_channels("tc:{*")) == 0

    await eventually(gone)


async def test_an_engine_that_stands_still_is_noticed_and_followed_again(
    feed: Feed, ear: Ear, client: Any, writer: Writer
) -> None:
    """In the middle of subscribing to everything anew, when most is under way."""
    channels = {NAMES.item_channel("default", str(i)) for i in range(20_000)} | {X}
    for channel in channels:
        feed.subscribe(channel)
    await eventually(lambda: set().union(*ear.rereads) == channels)
    engine = (await client.info())["process_id"]
    ear.rereads.clear()
    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: bool(ear.rereads))
    os.kill(engine, signal.SIGSTOP)
    try:
        await eventually(lambda: not feed.up)
    finally:
        os.kill(engine, signal.SIGCONT)
    await eventually(lambda: feed.up and set().union(*ear.rereads) == channels, within=20.0)
    await set_reaction(writer, "a:1", "x", "like")
    await eventually(lambda: len(ear.counts) == 1)


async def test_a_link_that_says_nothing_is_left_though_the_engine_answers(
    engine: str, ear: Ear, writer: Writer
) -> None:
    """As when a machine in between has forgotten this one connection."""
    forgotten = asyncio.Event()

    async def between(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Hand on what both say. What the engine publishes is lost when it is forgotten."""
        server, on = await asyncio.open_unix_connection(engine.removeprefix("unix://"))
        subscribed = False

        async def ask() -> None:
            nonlocal subscribed
            while data := await client.read(65536):
                subscribed = subscribed or b"SUBSCRIBE" in data
                on.write(data)
            on.close()

        async def answer() -> None:
            lost = False
            while data := await server.read(65536):
                lost = lost or (subscribed and forgotten.is_set())
                if not lost:
                    back.write(data)
            back.close()

        await asyncio.gather(ask(), answer())

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/between.sock"
        proxy = await asyncio.start_unix_server(between, path)
        link = StandaloneStore(f"unix://{path}")
        feed = NodeFeed(link, ear, NAMES)
        feed.subscribe(X)
        task = asyncio.create_task(feed.run())
        try:
            await eventually(lambda: feed.up and ear.rereads == [{X}])
            forgotten.set()
            await set_reaction(writer, "a:1", "x", "like")
            await eventually(lambda: not feed.up, within=2 * SILENCE)
            forgotten.clear()
            await eventually(lambda: ear.rereads == [{X}, {X}], within=2 * SILENCE)
            await set_reaction(writer, "a:1", "x", "dislike")
            await eventually(lambda: ear.counts[-1:] == [(X, {"like": 0, "dislike": 1})])
        finally:
            await end(task)
            await link.close()
            proxy.close()


async def test_an_unexpected_error_is_a_lost_link_too(
    feed: Feed, ear: Ear, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.subscribe(X)
    await eventually(lambda: ear.rereads == [{X}])

    async def defect(channels: list[bytes]) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(ear, "reread", defect)
    feed.subscribe(Y)
    await eventually(lambda: bool(ear.rereads) and ear.rereads[-1] == {X, Y})
    await set_reaction(writer, "a:1", "x", "like")
    await eventually(lambda: len(ear.counts) == 1)


async def test_links_are_tried_again_a_little_apart_from_one_another(ear: Ear) -> None:
    """Else all workers of all servers would come back to an engine in the same moment."""
    third: list[float] = []

    class Nowhere(StandaloneStore):
        def __init__(self) -> None:
            super().__init__("unix:///nonexistent/engine.sock")
            self.tries = 0

        def connection(self) -> AbstractConnection:
            self.tries += 1
            if self.tries == 3:
                third.append(time.monotonic())
            return super().connection()

    links = [Nowhere() for _ in range(20)]
    tasks = [asyncio.create_task(NodeFeed(link, ear, NAMES).run()) for link in links]
    await eventually(lambda: len(third) == len(links))
    assert max(third) - min(third) > 0.03
    for task, link in zip(tasks, links, strict=True):
        await end(task)
        await link.close()


async def test_a_feed_without_an_engine_is_not_up(ear: Ear) -> None:
    link = StandaloneStore("unix:///nonexistent/engine.sock")
    feed = NodeFeed(link, ear, NAMES)
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    assert not feed.up
    await end(task)
    await link.close()
