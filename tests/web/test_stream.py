"""A stream between the hub and an ASGI server that takes what it is sent when the test says so."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sse_starlette.sse import AppStatus
from starlette.types import Message
from tallycast.access.admission import ConnectionSlot
from tallycast.access.guard import Guard
from tallycast.contract.errors import Refusal, Unavailable
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.fanout.hub import Hub
from tallycast.ledger.reader import Query, State
from tallycast.transport.http.protocol import TRANSPORT
from tallycast.transport.liveness import BEAT_AFTER, STALL_AFTER
from tallycast.transport.sse.response import StreamResponse
from tallycast.transport.timer_wheel import TimerWheel

from tests.support.names import NAMES
from tests.support.parts import Parts, ignore, no_later

SITE = Site()
UNKNOWN_CLIENT = Client("", forwarded=False)
SLOT = ConnectionSlot(None, None, counted=True)


class Transport:
    """What of a transport a stream uses."""

    def __init__(self) -> None:
        self.high: int | None = None
        self.buffered = 0
        self.aborted = False

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Bench:
    """A stream that is read, and everything around it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ready = True
        self.answers: list[dict[str, State] | Refusal] = []
        self.asked: list[list[str]] = []
        self.timers = TimerWheel(lambda: self.now)
        self.hub = Hub(NAMES.item_channel, ignore, ignore, no_later)
        self.parts = Parts(
            lambda: self.now,
            guard=Guard({"default": SITE}, b"s" * 32),
            hub=self.hub,
            timers=self.timers,
            read=self._read,
            live=lambda: self.ready,
        )
        self.transport = Transport()
        self.room = asyncio.Event()
        self.room.set()
        self.gone = asyncio.Event()
        self.sent: list[Message] = []
        self.response: StreamResponse
        self.serving: asyncio.Task[None]

    def _read(self, query: Query) -> None:
        self.asked.append(list(query.items))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Refusal):
            query.done(answer)
        else:
            query.done([answer.get(item, State(0, {}, None)) for item in query.items])

    async def open(self, *items: str, method: str = "GET") -> None:
        self.response = await self.parts.streams.open(SLOT, UNKNOWN_CLIENT, SITE, items)
        scope = {"type": "http", "method": method, TRANSPORT: self.transport}
        self.serving = asyncio.create_task(self.response(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """As uvicorn does it: wait for room, then take everything."""
        await self.room.wait()
        self.sent.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        body = b"".join(message.get("body", b"") for message in self.sent).decode()
        return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]

    def versions(self, item: str) -> list[int]:
        return [event["version"] for event in self.events if event.get("item") == item]

    def publish(self, item: str, version: int, like: int = 1) -> None:
        self.hub.publish(NAMES.item_channel("default", item), version, {"like": like})

    async def turn(self) -> None:
        """Let everything happen that can."""
        for _ in range(20):
            await asyncio.sleep(0)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.1, end)
            self.timers.advance()


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    # sse-starlette remembers for the whole process that a server in it was told to stop, as other tests do.
    monkeypatch.setattr(AppStatus, "should_exit", False)
    bench = Bench()
    yield bench
    bench.gone.set()
    bench.room.set()
    if hasattr(bench, "serving"):
        await asyncio.gather(bench.serving, return_exceptions=True)


async def test_a_snapshot_of_each_then_updates(bench: Bench) -> None:
    bench.answers.append({"b": State(7, {"like": 2}, None)})
    await bench.open("a", "b")
    await bench.turn()
    assert [(e["item"], e["version"], e["counts"]["like"]) for e in bench.events] == [
        ("a", 0, 0),
        ("b", 7, 2),
    ]
    bench.publish("a", 8)
    await bench.turn()
    bench.publish("b", 9)
    bench.publish("b", 9)
    bench.publish("b", 5)
    await bench.turn()
    assert (bench.versions("a"), bench.versions("b")) == ([0, 8], [7, 9])
    assert bench.transport.high == 0, "what waits in the transport is seen at once"


async def test_what_happens_before_the_snapshot_is_in_it(bench: Bench) -> None:
    await bench.open("a")
    bench.publish("a", 3)
    await bench.turn()
    assert bench.versions("a") == [3]


async def test_a_burst_in_one_turn_is_one_event(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    for version in range(1, 1001):
        bench.publish("a", version)
    await bench.turn()
    assert bench.versions("a") == [0, 1000]


async def test_a_stream_without_room_gets_the_latest_of_each_when_there_is_some(bench: Bench) -> None:
    await bench.open("a", "b", "c")
    await bench.turn()
    bench.room.clear()
    for version in range(1, 500):
        bench.publish("a", version)
        bench.publish("b", version)
        await asyncio.sleep(0)
    assert len(bench.events) == 3
    bench.room.set()
    await bench.turn()
    assert [bench.versions(item) for item in "abc"] == [[0, 499], [0, 499], [0]]


async def test_a_store_that_went_back_is_a_reset(bench: Bench) -> None:
    await bench.open("a")
    bench.publish("a", 50, like=9)
    await bench.turn()
    channel = NAMES.item_channel("default", "a")
    bench.hub.reconcile(channel, 20, {"like": 4}, 50)
    await bench.turn()
    last = bench.events[-1]
    assert (last["version"], last["counts"]["like"], last["reset"]) == (20, 4, True)
    assert "reset" not in bench.events[0]


async def test_what_is_known_is_not_read_again_while_updates_come_in(bench: Bench) -> None:
    await bench.open("a")
    await bench.parts.streams.open(SLOT, UNKNOWN_CLIENT, SITE, ["a"])
    assert bench.asked == [["a"]]
    bench.ready = False
    await bench.parts.streams.open(SLOT, UNKNOWN_CLIENT, SITE, ["a"])
    assert bench.asked == [["a"], ["a"]]


async def test_an_engine_that_is_away_is_an_error_and_leaves_nothing_behind(bench: Bench) -> None:
    bench.answers.append(Unavailable("gone"))
    with pytest.raises(Unavailable):
        await bench.open("a", "b")
    topics = bench.hub.topics([NAMES.item_channel("default", item) for item in "ab"])
    assert [topic.subscriptions for topic in topics] == [0, 0]


@pytest.mark.parametrize("end", ["gone", "cancelled", "head", "left"])
async def test_however_it_ends_nothing_is_watched_any_more(bench: Bench, end: str) -> None:
    await bench.open("a", "b", method="HEAD" if end == "head" else "GET")
    await bench.turn()
    if end == "gone":
        bench.gone.set()
    elif end == "cancelled":
        bench.serving.cancel()
    elif end == "left":
        bench.response.close_gracefully()
    await asyncio.gather(bench.serving, return_exceptions=True)
    topics = bench.hub.topics([NAMES.item_channel("default", item) for item in "ab"])
    assert [(topic.subscriptions, len(topic.subscribers)) for topic in topics] == [(0, 0), (0, 0)]
    assert len(bench.timers) == 0
    assert bench.transport.aborted is (end == "cancelled"), "what did not come to its end is not waited for"


async def test_head_sends_no_event_and_leaves_the_transport_alone(bench: Bench) -> None:
    await bench.open("a", method="HEAD")
    await bench.serving
    assert bench.events == []
    assert bench.transport.high is None


async def test_silence_is_broken_by_a_beat(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.wait(BEAT_AFTER - 1)
    await bench.turn()
    assert len(bench.events) == 1
    bench.wait(2.1)
    await bench.turn()
    assert [event["type"] for event in bench.events] == ["counts", "beat"]
    bench.publish("a", 1)
    await bench.turn()
    bench.wait(BEAT_AFTER - 1)
    await bench.turn()
    assert [event["type"] for event in bench.events] == ["counts", "beat", "counts"]


async def test_a_beat_that_is_due_gives_way_to_news(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.wait(BEAT_AFTER + 2)
    bench.publish("a", 1)
    await bench.turn()
    assert [event["type"] for event in bench.events] == ["counts", "counts"]


async def test_a_client_that_takes_nothing_is_dropped_and_hears_no_beat(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.transport.buffered = 1000
    bench.room.clear()
    bench.wait(STALL_AFTER - 1)
    assert not bench.transport.aborted
    bench.wait(3)
    assert bench.transport.aborted
    bench.room.set()
    await bench.turn()
    assert len(bench.events) == 1


async def test_a_client_that_takes_little_is_not_dropped(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    for left in range(1000, 900, -10):
        bench.transport.buffered = left
        bench.wait(STALL_AFTER - 2)
    assert not bench.transport.aborted


async def test_a_client_that_takes_all_and_is_given_more_is_not_dropped(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.transport.buffered = 1000
    for version in range(1, 5):
        bench.wait(STALL_AFTER - 2)
        bench.publish("a", version)
        await bench.turn()
    assert not bench.transport.aborted


async def test_bye_is_the_last_event_and_names_the_pause_twice(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.publish("a", 1)
    bench.response.bye(1.5)
    await bench.turn()
    bench.publish("a", 2)
    await bench.turn()
    bench.publish("a", 3)
    bench.response.close_gracefully()
    await bench.serving
    bench.publish("a", 4)
    assert [event["type"] for event in bench.events] == ["counts", "counts", "counts", "counts", "bye"]
    assert bench.events[-1]["retry_after"] == 1.5
    body = b"".join(message.get("body", b"") for message in bench.sent)
    assert body.count(b"retry: 1500\n") == 1
    assert bench.sent[-1]["more_body"] is False
    assert not bench.transport.aborted


async def test_bye_waits_for_room(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.room.clear()
    bench.publish("a", 1)
    await bench.turn()
    bench.response.bye(1.5)
    bench.response.close_gracefully()
    await bench.turn()
    bench.room.set()
    await bench.serving
    assert [event["type"] for event in bench.events] == ["counts", "counts", "bye"]


async def test_a_stream_of_a_site_that_is_gone_ends(bench: Bench) -> None:
    await bench.open("a")
    await bench.turn()
    bench.wait(2)
    assert not bench.transport.aborted
    bench.parts.guard.sites = {}
    bench.wait(2)
    assert bench.transport.aborted
