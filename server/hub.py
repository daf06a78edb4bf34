"""Who watches what, and the fan-out of updates to them.

Owns, for each watched item, the latest counts and the ready-made frames, and the subscribers. ``publish`` is
a plain function: updates carry versions, lower or equal ones are dropped, and every subscriber gets the same
bytes. Must not know where updates come from, who a subscriber is, or how it writes.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import UNSET

from server.protocol.codec import WIRES
from server.protocol.messages import Counts
from server.rules.sites import Site

# An item nobody watches is followed for this long (s), so that a page's reload costs the engine nothing.
LINGER = 10.0
UNKNOWN = -1


class Subscriber(Protocol):
    """A connection that watches items."""

    def deliver(self, topic: "Topic", reset: bool) -> None:
        """``topic`` has new counts: write ``topic.frame(…)``, or remember the topic until there is room."""


class Topic:
    """One watched item: the latest counts and who gets them.

    ``version`` is ``UNKNOWN`` until the store was read.
    """

    __slots__ = ("_frames", "channel", "counts", "holders", "item", "left", "site", "subscribers", "version")

    def __init__(self, site: Site, item: str, channel: bytes) -> None:
        self.site = site
        self.item = item
        self.channel = channel
        self.version = UNKNOWN
        self.counts: dict[str, int] = {}
        self.holders = 0
        self.left = 0.0
        self.subscribers: set[Subscriber] = set()
        self._frames: list[bytes | None] = [None] * len(WIRES)

    def frame(self, wire: int, reset: bool = False) -> bytes:
        """The latest counts as a whole frame in one wire format; encoded once, whoever asks."""
        if reset:
            return WIRES[wire].frame(self._message(reset=True))
        frame = self._frames[wire]
        if frame is None:
            frame = self._frames[wire] = WIRES[wire].frame(self._message(reset=False))
        return frame

    def set(self, version: int, counts: Mapping[str, int]) -> None:
        """Take new counts."""
        self.version = version
        self.counts = {kind: counts.get(kind, 0) for kind in self.site.kinds}
        self._frames = [None] * len(WIRES)

    def _message(self, reset: bool) -> Counts:
        return Counts(self.item, self.version, self.counts, True if reset else UNSET)


class Hub:
    """Maps channels to topics. ``follow`` and ``leave`` start and end the supply of updates on a channel."""

    def __init__(
        self,
        name: Callable[[str, str], bytes],
        follow: Callable[[bytes], None],
        leave: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._follow = follow
        self._leave = leave
        self._clock = clock
        self._topics: dict[bytes, Topic] = {}
        self._idle: dict[bytes, Topic] = {}

    def __len__(self) -> int:
        """How many items are followed."""
        return len(self._topics)

    def hold(self, site: Site, item: str) -> Topic:
        """The topic of an item, kept and supplied until it is released as often as it was held."""
        channel = self._name(site.name, item)
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(site, item, channel)
            self._follow(channel)
        elif topic.holders == 0:
            del self._idle[channel]
        topic.holders += 1
        return topic

    def release(self, topic: Topic, subscriber: Subscriber) -> None:
        """The subscriber holds the topic no more, and gets no more of it."""
        topic.subscribers.discard(subscriber)
        topic.holders -= 1
        if topic.holders == 0:
            topic.left = self._clock()
            self._idle[topic.channel] = topic

    def sweep(self) -> None:
        """Let go of items that nobody has watched for a while. Call it every second or so."""
        before = self._clock() - LINGER
        # In the order they became idle: the first one that is too young ends it.
        for channel, topic in list(self._idle.items()):
            if topic.left > before:
                break
            del self._idle[channel], self._topics[channel]
            self._leave(channel)

    def version(self, channel: bytes) -> int:
        """The latest version known on a channel, or ``UNKNOWN``."""
        topic = self._topics.get(channel)
        return UNKNOWN if topic is None else topic.version

    def known(self, channels: Iterable[bytes]) -> list[Topic]:
        """The topics behind these channels, as far as they are still followed."""
        return [self._topics[channel] for channel in channels if channel in self._topics]

    def publish(self, channel: bytes, version: int, counts: Mapping[str, int]) -> None:
        """Fan out new counts. Lower or equal versions are dropped."""
        topic = self._topics.get(channel)
        if topic is not None and version > topic.version:
            self._fan_out(topic, version, counts, reset=False)

    def reconcile(self, channel: bytes, version: int, counts: Mapping[str, int], floor: int) -> None:
        """Take counts read from the store.

        ``floor`` is the version that was known here before the read began. A store that shows a lower one
        went back in time (a restored backup, a failover): its counts are taken all the same, and sent as a
        reset.
        """
        topic = self._topics.get(channel)
        if topic is None:
            return
        if version < floor == topic.version:
            self._fan_out(topic, version, counts, reset=True)
        else:
            self.publish(channel, version, counts)

    def _fan_out(self, topic: Topic, version: int, counts: Mapping[str, int], reset: bool) -> None:
        topic.set(version, counts)
        # A subscriber may end while it is written to: iterate over a copy.
        for subscriber in tuple(topic.subscribers):
            subscriber.deliver(topic, reset)


class Person(Protocol):
    """A connection of a known visitor."""

    def hear(self, item: str, version: int, reaction: str | None, origin: int) -> None:
        """What the visitor holds on an item changed."""


class People:
    """Which connections belong to which visitor, by the visitor's channel."""

    def __init__(self, follow: Callable[[bytes], None], leave: Callable[[bytes], None]) -> None:
        self._follow = follow
        self._leave = leave
        self._present: defaultdict[bytes, set[Person]] = defaultdict(set)

    def join(self, channel: bytes, person: Person) -> None:
        """The connection hears of its visitor's changes from now on."""
        if channel not in self._present:
            self._follow(channel)
        self._present[channel].add(person)

    def part(self, channel: bytes, person: Person) -> None:
        """It hears of them no more."""
        present = self._present[channel]
        present.discard(person)
        if not present:
            del self._present[channel]
            self._leave(channel)

    def tell(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        """Tell the visitor's connections here, the one it came from excepted by its ``origin``."""
        for person in tuple(self._present.get(channel, ())):
            person.hear(item, version, reaction, origin)
