"""A hub whose supply, clock and scheduler are moved by hand, and its subscribers."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack
from tallycast.contract.codec import EVENTS, JSON, MSGPACK
from tallycast.domain.sites import Site
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import Broadcast, Codec, Topic, no_broadcast

SITE = Site()
CODECS: tuple[Codec, ...] = (JSON, MSGPACK, EVENTS)


def name(site: str, item: str) -> bytes:
    return f"{site}/{item}".encode()


def counts(like: int) -> dict[str, int]:
    return {"like": like}


def read(codec: Codec, frame: bytes) -> dict[str, Any]:
    """The message in a frame: only what was encoded for this wire format can be read."""
    if codec is EVENTS:
        return dict(json.loads(frame.partition(b"data: ")[2]))
    body = frame[4:] if frame[1] == 126 else frame[2:]
    return dict(msgpack.unpackb(body) if codec is MSGPACK else json.loads(body))


class Transport(NamedTuple):
    """What connects readers."""

    codec: Codec
    broadcast: Broadcast = no_broadcast


class Reader:
    """A subscriber that records its updates, and may be blocked for a while.

    ``open``: it may be written to with many others at once, as long as it is not blocked.
    """

    def __init__(self, codec: Codec = JSON) -> None:
        self.transport = Transport(codec)
        self.open = False
        self.got: list[tuple[str, int, bool]] = []
        self.blocked = False
        self.missed: set[Topic] = set()

    def deliver(self, frame: bytes) -> bool:
        if self.blocked:
            return False
        update = read(self.transport.codec, frame)
        self.got.append((update["item"], update["version"], update.get("reset", False)))
        return True

    def mark_stale(self, topic: Topic) -> None:
        self.missed.add(topic)

    def drain(self) -> None:
        """Take what was missed."""
        self.blocked = False
        missed, self.missed = self.missed, set()
        for topic in missed:
            topic.deliver_latest(self)


class Setup:
    """A hub with a supply that is written down, and a clock and a scheduler that are moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.followed: list[bytes] = []
        self.left: list[bytes] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []
        # What each broadcast got: its size, and whether no other item was being swept.
        self.broadcasts: list[tuple[int, bool]] = []
        # What one reading of the clock adds to it (s).
        self.cost = 0.0
        self.hub = Hub(name, self.followed.append, self.left.append, self.later, self.clock)
        self.transports = {codec: Transport(codec, self.broadcast) for codec in CODECS}

    def clock(self) -> float:
        self.now += self.cost
        return self.now

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self.planned.append((self.now + delay, call))

    def broadcast(self, frame: bytes, subscribers: Sequence[Any], only_topic: bool) -> list[Any]:
        self.broadcasts.append((len(subscribers), only_topic))
        return [one for one in subscribers if not one.open or not one.deliver(frame)]

    def turn(self) -> None:
        """One turn of the loop: what is due now, but not what that plans."""
        due = [call for when, call in self.planned if when <= self.now]
        self.planned = [(when, call) for when, call in self.planned if when > self.now]
        for call in due:
            call()

    def settle(self) -> None:
        """Let time pass until nothing is left to do."""
        for _ in range(10_000):
            if not self.planned:
                return
            self.now = max(self.now, min(when for when, _ in self.planned))
            self.turn()
        raise AssertionError("it never comes to rest")

    def watch(self, subscriber: Reader, item: str) -> Topic:
        """As a session does: hold the topic, and show the latest where there is one."""
        subscriber.transport = self.transports[subscriber.transport.codec]
        topic = self.hub.subscribe(SITE, item)
        topic.attach(subscriber)
        return topic

    def publish(self, item: str, version: int) -> None:
        self.hub.publish(name("default", item), version, counts(version))
