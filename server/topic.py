"""One watched item: its latest counts, its ready-made frames, and who was brought which version of them.

Owns the innermost loop of the whole server, the write of an update to those who lack it. Every subscriber
gets the same bytes. Must not know when a sweep is due, where updates come from, who a subscriber is, or how
it writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog
from msgspec import UNSET

from server.measures import TIMES, Histogram
from server.protocol.codec import WIRES
from server.protocol.messages import Counts
from server.rules.sites import Site

UNKNOWN = -1
NO_DESCRIPTOR = -1

_log = structlog.get_logger("hub")


class Subscriber(Protocol):
    """A connection that watches items."""

    @property
    def wire(self) -> int:
        """The index of its wire format."""

    @property
    def straight(self) -> int:
        """The descriptor of a socket that a frame may be written to as it is, or ``NO_DESCRIPTOR``."""

    @property
    def several(self) -> bool:
        """Whether it watches more than one item."""

    def overflow(self, rest: bytes) -> None:
        """Send the rest of a frame of which the socket took only the beginning."""

    def take(self, frame: bytes) -> bool:
        """Write a frame; ``False`` when there is no room, and then ``miss`` follows."""

    def miss(self, topic: "Topic") -> None:
        """Remember the topic, and have it ``bring`` the latest when there is room."""


class Deliveries:
    """What all subscribers together were brought, and what not.

    ``age`` tells how long ago (s) a version was committed, or ``None`` when that is not known.
    """

    __slots__ = ("age", "conflated", "lag", "sent")

    def __init__(self, age: Callable[[int], float | None]) -> None:
        self.age = age
        self.sent = 0
        self.conflated = 0
        self.lag = Histogram(TIMES)


# Writes a frame to many at once, and gives those back whom it cannot write to. The flag says that no other
# item is being swept, so that whoever watches several need not wait for one that could come with it.
Spread = Callable[[bytes, Sequence[Subscriber], bool], Sequence[Subscriber]]


def nobody(_: bytes, subscribers: Sequence[Subscriber], __: bool) -> Sequence[Subscriber]:
    """A ``Spread`` that leaves everybody to be asked one by one."""
    return subscribers


class Topic:
    """One watched item: the latest counts, and who was brought which version of them.

    ``version`` is ``UNKNOWN`` until the store was read.
    """

    __slots__ = (
        "_deliveries",
        "_frames",
        "_highest",
        "_reached",
        "_sweep",
        "_swept",
        "_swept_from",
        "_wires",
        "began",
        "channel",
        "counts",
        "dirty",
        "holders",
        "item",
        "left",
        "ready_at",
        "site",
        "subscribers",
        "swept_at",
        "version",
    )

    def __init__(self, site: Site, item: str, channel: bytes, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self.site = site
        self.item = item
        self.channel = channel
        self.version = UNKNOWN
        self.counts: Mapping[str, int] = {}
        self.holders = 0
        self.left = 0.0
        # Who gets updates, and the version each was brought last.
        self.subscribers: dict[Subscriber, int] = {}
        # How many of them have this version.
        self._reached = 0
        # Waiting for a sweep, being swept, or resting: then ``publish`` has nothing to do but to set the
        # counts.
        self.dirty = False
        self.began = 0.0
        self.ready_at = self.swept_at = 0.0
        self._frames: list[bytes | None] = [None] * len(WIRES)
        self._highest = UNKNOWN
        self._sweep: list[Subscriber] = []
        self._swept = 0
        self._swept_from = UNKNOWN
        # The formats of those who came, also when they have left.
        self._wires: set[int] = set()

    def frame(self, wire: int, reset: bool = False) -> bytes:
        """The latest counts as a whole frame in one wire format; encoded once, whoever asks."""
        if reset:
            return WIRES[wire].frame(self._message(reset=True))
        frame = self._frames[wire]
        if frame is None:
            frame = self._frames[wire] = WIRES[wire].frame(self._message(reset=False))
        return frame

    def attach(self, subscriber: Subscriber) -> int:
        """The subscriber is shown the latest right now, and gets updates from here on.

        Gives the version it was brought last, ``UNKNOWN`` when it was none.
        """
        before = self.subscribers.get(subscriber, UNKNOWN)
        self.subscribers[subscriber] = self.version
        self._reached += before != self.version
        self._wires.add(subscriber.wire)
        return before

    def detach(self, subscriber: Subscriber) -> None:
        """The subscriber gets no more updates, if it ever did."""
        self._reached -= self.subscribers.pop(subscriber, UNKNOWN) == self.version

    def set(self, version: int, counts: Mapping[str, int]) -> None:
        """Take new counts."""
        if self.version != UNKNOWN:
            # Who was not brought the ones before never will be.
            self._deliveries.conflated += len(self.subscribers) - self._reached
        self._reached = 0
        self.version = version
        self._highest = max(self._highest, version)
        self.counts = counts
        self._frames = [None] * len(WIRES)

    def adopt(self, site: Site) -> None:
        """The site was read again: from the next frame on its kinds are as it says now."""
        self.site = site
        self._frames = [None] * len(WIRES)

    def bring(self, subscriber: Subscriber) -> None:
        """Bring one subscriber the latest, unless it has it or has left."""
        self._bring((subscriber,), nobody, alone=False)

    def sweep(self, stride: int, spread: Spread, *, alone: bool) -> bool:
        """Bring the latest to the next so many subscribers; ``True`` when those were the last.

        ``alone``: no other item is being swept.
        """
        if self._swept == 0:
            # A copy, because subscribers come and go meanwhile. Who comes is shown the latest anyway.
            self._sweep = list(self.subscribers)
            self._swept_from = self.version
        end = self._swept + stride
        self._bring(self._sweep[self._swept : end], spread, alone=alone)
        self._swept = end
        if end < len(self._sweep):
            return False
        self._swept = 0
        self._sweep = []
        return True

    def _bring(self, to: Iterable[Subscriber], spread: Spread, *, alone: bool) -> None:
        """The innermost loop of the whole server: for each subscriber little more than one system call."""
        brought, version = self.subscribers, self.version
        # Whoever has left is not in it any more, and whoever came meanwhile was shown the latest.
        behind = [subscriber for subscriber in to if brought.get(subscriber, version) != version]
        left: Iterable[Subscriber] = behind
        # A version below the highest means that the store went back: not everybody is told the same.
        if version == self._highest:
            left = self._spread(behind, spread, alone=alone)
        refused = [subscriber for subscriber in left if not self._give(subscriber)]
        if len(refused) < len(behind):
            self._count(len(behind) - len(refused))
        missed = {subscriber: brought[subscriber] for subscriber in refused}
        # At once for all, in one operation of the dictionary.
        brought.update(dict.fromkeys(behind, version))
        brought.update(missed)
        for subscriber in refused:
            subscriber.miss(self)

    def _spread(self, behind: Sequence[Subscriber], spread: Spread, *, alone: bool) -> list[Subscriber]:
        """Write to many at once; gives those who are to be asked one by one."""
        left: list[Subscriber] = []
        for wire in self._wires:
            these = behind if len(self._wires) == 1 else [one for one in behind if one.wire == wire]
            left += spread(self.frame(wire), these, alone)
        return left

    def _give(self, subscriber: Subscriber) -> bool:
        """Bring one subscriber the latest; whether it took it."""
        try:
            reset = self.subscribers[subscriber] > self.version
            return subscriber.take(self.frame(subscriber.wire, reset))
        except Exception:
            _log.exception("an update could not be delivered")
            return True

    def _count(self, brought: int) -> None:
        """So many more have this version."""
        deliveries = self._deliveries
        self._reached += brought
        deliveries.sent += brought
        # One that the store went back to was committed long ago, and is not late.
        age = deliveries.age(self.version) if self.version == self._highest else None
        if age is not None:
            deliveries.lag.add(age, brought)

    @property
    def overtaken(self) -> bool:
        """Whether newer counts came during the last sweep, so that some were brought older ones."""
        return self._swept_from != self.version

    def _message(self, reset: bool) -> Counts:
        counts = {kind: self.counts.get(kind, 0) for kind in self.site.kinds}
        return Counts(self.item, self.version, counts, True if reset else UNSET)
