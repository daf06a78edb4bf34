"""One watched item, and the innermost loop of the fan-out.

Owns the item's latest counts, the version that each subscriber has, and the most frequent loop of the whole
server: the write of an update to the subscribers that lack it. Subscribers of one transport get the same
bytes. Does not depend on when a sweep is due, where updates come from, or how a transport writes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import UNSET

from tallycast.contract.messages import Counts, ServerMessage
from tallycast.domain.sites import Site
from tallycast.observability.measures import TIMES, Histogram

UNKNOWN = -1
# Subscribers that are sent an update before the clock is read.
ROW = 64

_log = structlog.get_logger("hub")


class Codec(Protocol):
    """A wire format."""

    def frame(self, message: ServerMessage) -> bytes:
        """A message in the form in which it is sent."""


class Transport(Protocol):
    """What connects subscribers."""

    @property
    def codec(self) -> Codec:
        """The wire format."""

    @property
    def broadcast(self) -> "Broadcast":
        """Writes a frame to many subscribers of this transport at once."""


class Subscriber(Protocol):
    """A connection that watches items."""

    @property
    def transport(self) -> Transport:
        """What it is connected by."""

    def deliver(self, frame: bytes) -> bool:
        """Write a frame; ``False`` when it has no room for it, and then ``mark_stale`` follows."""

    def mark_stale(self, topic: "Topic") -> None:
        """Remember the topic, and call its ``deliver_latest`` when there is room."""


# Writes a frame to many subscribers of one transport, and returns those that it did not write to: ``deliver``
# is called for them. The flag says that no other item is being swept, so that a subscriber of several items
# need not wait for the frame of another.
Broadcast = Callable[[bytes, Sequence[Any], bool], Sequence[Any]]


def no_broadcast(_: bytes, subscribers: Sequence[Any], __: bool) -> Sequence[Any]:
    """A ``Broadcast`` that leaves every subscriber to ``deliver``."""
    return subscribers


class DeliveryStats:
    """The updates that were delivered and conflated, and how late they were.

    ``age`` returns how long ago (s) a version was committed, or ``None`` when that is not known.
    """

    __slots__ = ("age", "conflated", "lag", "sent")

    def __init__(self, age: Callable[[int], float | None]) -> None:
        self.age = age
        self.sent = 0
        self.conflated = 0
        self.lag = Histogram(TIMES)


class Row:
    """Some subscribers of one transport, nearly all of which have the same version.

    So the version of each need not be looked up or noted for every update.
    """

    __slots__ = ("members", "others", "transport", "version")

    def __init__(self, transport: Transport, version: int) -> None:
        self.transport = transport
        self.members: list[Subscriber] = []
        self.version = version
        # The members with another version, and which.
        self.others: dict[Subscriber, int] = {}

    def delivered(self, subscriber: Subscriber) -> int:
        """The version that a member has."""
        return self.others.get(subscriber, self.version)

    def note(self, subscriber: Subscriber, version: int) -> None:
        """A member has a version from here on."""
        if version == self.version:
            self.others.pop(subscriber, None)
        else:
            self.others[subscriber] = version

    def behind(self, version: int) -> Sequence[Subscriber]:
        """The members that have another version."""
        if self.others:
            return [one for one in self.members if self.others.get(one, self.version) != version]
        # A copy, because a subscriber may leave during the iteration.
        return list(self.members) if self.version != version else ()


class Topic:
    """One watched item: the latest counts, and the version of them that each subscriber has.

    ``version`` is ``UNKNOWN`` until the store was read.
    """

    __slots__ = (
        "_delivery_stats",
        "_filling",
        "_frames",
        "_reached",
        "_rows",
        "_swept",
        "began",
        "channel",
        "counts",
        "dirty",
        "highest",
        "item",
        "left",
        "overtaken",
        "ready_at",
        "site",
        "subscribers",
        "subscriptions",
        "swept_at",
        "version",
    )

    def __init__(self, site: Site, item: str, channel: bytes, delivery_stats: DeliveryStats) -> None:
        self._delivery_stats = delivery_stats
        self.site = site
        self.item = item
        self.channel = channel
        self.version = UNKNOWN
        self.counts: Mapping[str, int] = {}
        self.subscriptions = 0
        self.left = 0.0
        # The subscribers that get updates, and the row that each is in.
        self.subscribers: dict[Subscriber, Row] = {}
        self._rows: list[Row] = []
        # For each transport the row that new subscribers join.
        self._filling: dict[Transport, Row] = {}
        # How many of the subscribers have this version.
        self._reached = 0
        # Waiting for a sweep, being swept, or resting: then ``publish`` has nothing to do but to set the
        # counts.
        self.dirty = False
        self.began = 0.0
        self.ready_at = self.swept_at = 0.0
        self._frames: dict[Codec, bytes] = {}
        # The highest version there ever was: above ``version`` when the store went back.
        self.highest = UNKNOWN
        # The rows that the present sweep has passed.
        self._swept = 0
        # Whether newer counts arrived since the last sweep began, so that some subscribers have older ones.
        self.overtaken = False

    def frame(self, codec: Codec, reset: bool = False) -> bytes:
        """The latest counts as a whole frame in one wire format; encoded once for all subscribers."""
        if reset:
            return codec.frame(self._message(reset=True))
        frame = self._frames.get(codec)
        if frame is None:
            frame = self._frames[codec] = codec.frame(self._message(reset=False))
        return frame

    def delivered(self, subscriber: Subscriber) -> int:
        """The version that a subscriber has; ``UNKNOWN`` when it has none."""
        row = self.subscribers.get(subscriber)
        return UNKNOWN if row is None else row.delivered(subscriber)

    def attach(self, subscriber: Subscriber) -> int:
        """The subscriber is sent the latest counts right now, and gets updates from here on.

        Returns what ``delivered`` was before.
        """
        before = self.delivered(subscriber)
        row = self.subscribers.get(subscriber)
        if row is None:
            row = self.subscribers[subscriber] = self._row(subscriber.transport)
            row.members.append(subscriber)
        row.note(subscriber, self.version)
        self._reached += before != self.version
        return before

    def detach(self, subscriber: Subscriber) -> None:
        """The subscriber gets no more updates."""
        row = self.subscribers.pop(subscriber, None)
        if row is not None:
            self._reached -= row.delivered(subscriber) == self.version
            row.members.remove(subscriber)
            row.others.pop(subscriber, None)

    def set(self, version: int, counts: Mapping[str, int]) -> None:
        """Replace the counts."""
        if self.version != UNKNOWN:
            # Subscribers that lack the previous counts never get them.
            self._delivery_stats.conflated += len(self.subscribers) - self._reached
        self._reached = 0
        self.version = version
        self.overtaken = True
        if version <= self.highest:
            # The store went back, perhaps to the version that some subscribers have.
            self._reached = sum(self.delivered(one) == version for one in self.subscribers)
        self.highest = max(self.highest, version)
        self.counts = counts
        self._frames = {}

    def adopt(self, site: Site) -> None:
        """The configuration of the site has changed: the next frame has its present kinds."""
        self.site = site
        self._frames = {}

    def deliver_latest(self, subscriber: Subscriber) -> None:
        """Send one subscriber the latest counts, unless it has them or has left."""
        row = self.subscribers.get(subscriber)
        if row is None or row.delivered(subscriber) == self.version:
            return
        if self._deliver_one(subscriber):
            row.note(subscriber, self.version)
            self._count(1)
        else:
            subscriber.mark_stale(self)

    def sweep(self, *, alone: bool) -> bool:
        """Send the latest counts to the next row; ``True`` when that was the last.

        ``alone``: no other item is being swept.
        """
        if self._swept == 0:
            self._compact()
            self.overtaken = False
        at = self._swept
        # Before the row, so that a row that fails is skipped the next time.
        self._swept += 1
        # A subscriber that joins in the meantime gets the latest counts as its snapshot.
        if at < len(self._rows):
            self._deliver_row(self._rows[at], alone=alone)
        if self._swept < len(self._rows):
            return False
        self._swept = 0
        return True

    def _deliver_row(self, row: Row, *, alone: bool) -> None:
        """The innermost loop of the whole server: for each subscriber little more than one system call."""
        behind = row.behind(self.version)
        left = behind
        # A version below the highest means that the store went back: then the frames differ.
        if behind and self.version == self.highest:
            transport = row.transport
            left = transport.broadcast(self.frame(transport.codec), behind, alone)
        refused = {one: row.delivered(one) for one in left if not self._deliver_one(one)}
        if len(refused) < len(behind):
            self._count(len(behind) - len(refused))
        row.version = self.version
        row.others = refused
        for subscriber in refused:
            subscriber.mark_stale(self)

    def _deliver_one(self, subscriber: Subscriber) -> bool:
        """Send one subscriber the latest counts. Returns whether it accepted them."""
        try:
            reset = self.delivered(subscriber) > self.version
            return subscriber.deliver(self.frame(subscriber.transport.codec, reset))
        except Exception:
            _log.exception("update delivery failed")
            return True

    def _row(self, transport: Transport) -> Row:
        """The row that a new subscriber of this transport joins."""
        row = self._filling.get(transport)
        if row is None or len(row.members) >= ROW:
            if self._swept == 0:
                self._compact()
            row = self._filling[transport] = Row(transport, self.version)
            self._rows.append(row)
        return row

    def _compact(self) -> None:
        """Fill the rows again when most of them are nearly empty. Not during a sweep."""
        if len(self._rows) <= 2 * (len(self.subscribers) // ROW + max(1, len(self._filling))):
            return
        before, self._rows, self._filling = self.subscribers, [], {}
        self.subscribers = {}
        for subscriber, old in before.items():
            row = self.subscribers[subscriber] = self._row(subscriber.transport)
            row.members.append(subscriber)
            row.note(subscriber, old.delivered(subscriber))

    def _count(self, delivered: int) -> None:
        """So many more subscribers have this version."""
        delivery_stats = self._delivery_stats
        self._reached += delivered
        delivery_stats.sent += delivered
        # A version that the store went back to was committed long ago, and is not late.
        age = delivery_stats.age(self.version) if self.version == self.highest else None
        if age is not None:
            delivery_stats.lag.add(age, delivered)

    def _message(self, reset: bool) -> Counts:
        counts = {kind: self.counts.get(kind, 0) for kind in self.site.kinds}
        return Counts(self.item, self.version, counts, True if reset else UNSET)
