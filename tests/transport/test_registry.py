"""A new transport is one class and one registration: shown with one in memory, in less than 40 lines."""

import inspect
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tallycast.contract.codec import JSON
from tallycast.contract.errors import CloseCode
from tallycast.domain.sites import Site
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import Topic
from tallycast.ledger.reader import Query, State
from tallycast.transport.drain import Drain
from tallycast.transport.liveness import BEAT_AFTER
from tallycast.transport.registry import Registry, Transport

from tests.support.names import NAMES
from tests.support.parts import Parts, ignore


class Memory:
    """A connection in memory. ``sent`` are the frames that its client has read, unless it is ``blocked``."""

    blocked, closed = False, False

    def __init__(self, transport: Transport, parts: Parts) -> None:
        self.transport, self.timers = transport, parts.timers
        self.sent, self.sent_at = list[bytes](), parts.timers.now
        self.stale = set[Topic]()
        self.pause_reading = self.resume_reading = ignore
        self.on_watching: Callable[[int], None] = ignore
        self.session = parts.open_session(self, Site(), JSON)
        self.bye, self.abort = self.session.bye, self.close
        self.close_gracefully = self.session.close_gracefully
        self.slot = parts.timers.add(self)
        transport.open += 1

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        self.sent_at = self.timers.now

    def deliver(self, frame: bytes) -> bool:
        if not self.blocked:
            self.write(frame)
        return not self.blocked

    def mark_stale(self, topic: Topic) -> None:
        self.stale.add(topic)

    def on_tick(self, now: float) -> None:
        if now - self.sent_at >= BEAT_AFTER:
            self.session.beat()

    def close(self, code: CloseCode = CloseCode.RESTART) -> None:
        self.closed = True
        self.transport.open -= 1
        self.timers.remove(self.slot, self)
        self.session.close()


class Scene:
    """A connection in memory to the services of a worker, over a store that is empty."""

    def __init__(self) -> None:
        self.now = 100.0
        self.hub = Hub(NAMES.item_channel, ignore, ignore, lambda _, call: call(), lambda: self.now)
        self.parts = Parts(lambda: self.now, hub=self.hub, read=self.read)
        self.transport = self.parts.registry.register("memory", JSON)
        self.connection = Memory(self.transport, self.parts)
        self.connection.session.open("a")

    def read(self, query: Query) -> None:
        query.done([State(0, {}, None) for _ in query.items])

    def publish(self, version: int) -> None:
        self.hub.publish(NAMES.item_channel("default", "a"), version, {"like": version})

    def unblock(self) -> None:
        self.connection.blocked = False
        for topic in self.connection.stale:
            topic.deliver_latest(self.connection)

    def messages(self) -> list[dict[str, Any]]:
        frames, self.connection.sent = self.connection.sent, []
        return [json.loads(frame[frame.index(b"{") :]) for frame in frames]


def test_it_is_small() -> None:
    assert len(inspect.getsource(Memory).splitlines()) < 40


def test_a_snapshot_is_followed_by_updates() -> None:
    scene = Scene()
    scene.publish(7)
    assert [(m["type"], m["version"], m["counts"]["like"]) for m in scene.messages()] == [
        ("counts", 0, 0),
        ("counts", 7, 7),
    ]


def test_it_shares_items_and_frames_with_other_transports() -> None:
    scene = Scene()
    other = Memory(scene.parts.registry.register("other", JSON), scene.parts)
    other.session.open("a")
    scene.publish(7)
    assert other.sent[-1] is scene.connection.sent[-1]


def test_updates_of_a_blocked_client_are_conflated() -> None:
    scene = Scene()
    scene.messages()
    scene.connection.blocked = True
    for version in range(1, 50):
        scene.publish(version)
    assert scene.messages() == []
    scene.unblock()
    assert [m["version"] for m in scene.messages()] == [49]


def test_a_silent_connection_gets_a_beat() -> None:
    scene = Scene()
    scene.messages()
    scene.now += BEAT_AFTER
    for _ in range(10):
        scene.parts.timers.advance()
    assert [m["type"] for m in scene.messages()] == ["beat"]


async def test_it_is_counted_and_drained() -> None:
    scene = Scene()
    scene.messages()
    assert scene.parts.registry.connections()["memory"] == 1
    await Drain(scene.parts.timers).run(time.monotonic() + 5)
    assert [m["type"] for m in scene.messages()] == ["bye"]
    assert scene.connection.closed
    assert scene.parts.registry.connections()["memory"] == 0
    assert not scene.parts.timers.members()


def test_each_has_a_name_of_its_own() -> None:
    registry = Registry()
    registry.register("memory", JSON)
    with pytest.raises(ValueError, match="choose another name"):
        registry.register("memory", JSON)
