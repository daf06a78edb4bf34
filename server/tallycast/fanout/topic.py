"""One watched item, and the innermost loop of the fan-out.

Owns the item's latest counts, the version that each subscriber has, and the most frequent loop of the whole
server: the write of an update to the subscribers that lack it. Subscribers of one transport get the same
bytes. Does not depend on when a sweep is due, where updates come from, or how a transport writes. The
figures ``fanout`` and ``hot`` of ``make bench`` are why it is written like this.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import UNSET

from tallycast.contract.messages import Counts, ServerMessage
from tallycast.domain.sites import Site
from tallycast.observability.measures import TIMES, Histogram

UNKNOWN = -1
# Subscribers that are sent an update before the clock is read again.
BATCH_SIZE = 64

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


class Batch:
    """Some subscribers of one transport, nearly all of which have the same version.

    So the version of each need not be looked up or noted for every update.
    """

    __slots__ = ("deviating", "members", "transport", "version")

    def __init__(self, transport: Transport, version: int) -> None:
        self.transport = transport
        self.members: list[Subscriber] = []
        self.version = version
        # The members with another version, and which.
        self.deviating: dict[Subscriber, int] = {}

    def version_of(self, subscriber: Subscriber) -> int:
        """The version that a member has."""
        return self.deviating.get(subscriber, self.version)

    def set_version(self, subscriber: Subscriber, version: int) -> None:
        """Record the version that a member has."""
        if version == self.version:
            self.deviating.pop(subscriber, None)
        else:
            self.deviating[subscriber] = version

    def stale(self, version: int) -> Sequence[Subscriber]:
        """The members that have another version than the latest."""
        if self.deviating:
            return [one for one in self.members if self.deviating.get(one, self.version) != version]
        # A copy, because a subscriber may leave during the iteration.
        return list(self.members) if self.version != version else ()


class Topic:
    """One watched item: the latest counts, and the version of them that each subscriber has.

    ``version`` is ``UNKNOWN`` until the store was read.
    """

    __slots__ = (
        "_batches",
        "_current",
        "_delivery_stats",
        "_frames",
        "_open_batches",
        "_position",
        "channel",
        "cooldown_until",
        "counts",
        "dirty",
        "highest_version",
        "idle_since",
        "item",
        "site",
        "subscribers",
        "subscriptions",
        "superseded",
        "sweep_started",
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
        self.idle_since = 0.0
        # The subscribers that get updates, and the batch that each is in.
        self.subscribers: dict[Subscriber, Batch] = {}
        self._batches: list[Batch] = []
        # For each transport the batch that new subscribers join.
        self._open_batches: dict[Transport, Batch] = {}
        # How many of the subscribers are not stale.
        self._current = 0
        # A sweep is due or under way: then ``publish`` only updates the counts.
        self.dirty = False
        self.sweep_started = 0.0
        self.cooldown_until = self.swept_at = 0.0
        self._frames: dict[Codec, bytes] = {}
        # The highest version there ever was: above ``version`` when the store went back.
        self.highest_version = UNKNOWN
        # The next batch of the present sweep.
        self._position = 0
        # Whether newer counts arrived since the last sweep began, so that some subscribers have older ones.
        self.superseded = False

    def frame(self, codec: Codec, reset: bool = False) -> bytes:
        """The latest counts as a whole frame in one wire format; encoded once for all subscribers."""
        if reset:
            return codec.frame(self._message(reset=True))
        frame = self._frames.get(codec)
        if frame is None:
            frame = self._frames[codec] = codec.frame(self._message(reset=False))
        return frame

    def version_of(self, subscriber: Subscriber) -> int:
        """The version that a subscriber has; ``UNKNOWN`` when it has none."""
        batch = self.subscribers.get(subscriber)
        return UNKNOWN if batch is None else batch.version_of(subscriber)

    def attach(self, subscriber: Subscriber) -> int:
        """The subscriber is sent the latest counts right now, and gets updates from here on.

        Returns the version it had before.
        """
        before = self.version_of(subscriber)
        batch = self.subscribers.get(subscriber)
        if batch is None:
            batch = self.subscribers[subscriber] = self._batch_for(subscriber.transport)
            batch.members.append(subscriber)
        batch.set_version(subscriber, self.version)
        self._current += before != self.version
        return before

    def detach(self, subscriber: Subscriber) -> None:
        """The subscriber gets no more updates."""
        batch = self.subscribers.pop(subscriber, None)
        if batch is not None:
            self._current -= batch.version_of(subscriber) == self.version
            batch.members.remove(subscriber)
            batch.deviating.pop(subscriber, None)

    def update(self, version: int, counts: Mapping[str, int]) -> None:
        """Replace the counts."""
        if self.version != UNKNOWN:
            # Subscribers that lack the previous counts never get them.
            self._delivery_stats.conflated += len(self.subscribers) - self._current
        self._current = 0
        self.version = version
        self.superseded = True
        if version <= self.highest_version:
            # The store went back, perhaps to the version that some subscribers have.
            self._current = sum(self.version_of(one) == version for one in self.subscribers)
        self.highest_version = max(self.highest_version, version)
        self.counts = counts
        self._frames = {}

    def update_site(self, site: Site) -> None:
        """The configuration of the site has changed: the next frame has its present kinds."""
        self.site = site
        self._frames = {}

    def deliver_latest(self, subscriber: Subscriber) -> None:
        """Send one subscriber the latest counts, unless it has them or has left."""
        batch = self.subscribers.get(subscriber)
        if batch is None or batch.version_of(subscriber) == self.version:
            return
        if self._deliver_one(subscriber):
            batch.set_version(subscriber, self.version)
            self._record_delivered(1)
        else:
            subscriber.mark_stale(self)

    def sweep(self, *, only_topic: bool) -> bool:
        """Send the latest counts to the next batch; ``True`` when that was the last.

        ``only_topic``: no other item is being swept.
        """
        if self._position == 0:
            self._compact()
            self.superseded = False
        at = self._position
        # Before the delivery, so that a batch that fails is skipped the next time.
        self._position += 1
        # A subscriber that joins in the meantime gets the latest counts as its snapshot.
        if at < len(self._batches):
            self._deliver_batch(self._batches[at], only_topic=only_topic)
        if self._position < len(self._batches):
            return False
        self._position = 0
        return True

    def _deliver_batch(self, batch: Batch, *, only_topic: bool) -> None:
        """The innermost loop of the whole server: for each subscriber little more than one system call."""
        stale = batch.stale(self.version)
        remaining = stale
        # A version below the highest means that the store went back: then the frames differ.
        if stale and self.version == self.highest_version:
            transport = batch.transport
            remaining = transport.broadcast(self.frame(transport.codec), stale, only_topic)
        refused = {one: batch.version_of(one) for one in remaining if not self._deliver_one(one)}
        if len(refused) < len(stale):
            self._record_delivered(len(stale) - len(refused))
        batch.version = self.version
        batch.deviating = refused
        for subscriber in refused:
            subscriber.mark_stale(self)

    def _deliver_one(self, subscriber: Subscriber) -> bool:
        """Send one subscriber the latest counts. Returns whether it accepted them."""
        try:
            reset = self.version_of(subscriber) > self.version
            return subscriber.deliver(self.frame(subscriber.transport.codec, reset))
        except Exception:
            _log.exception("update delivery failed")
            return True

    def _batch_for(self, transport: Transport) -> Batch:
        """The batch that a new subscriber of this transport joins."""
        batch = self._open_batches.get(transport)
        if batch is None or len(batch.members) >= BATCH_SIZE:
            if self._position == 0:
                self._compact()
            batch = self._open_batches[transport] = Batch(transport, self.version)
            self._batches.append(batch)
        return batch

    def _compact(self) -> None:
        """Rebuild the batches when most of them are nearly empty. Not during a sweep."""
        if len(self._batches) <= 2 * (len(self.subscribers) // BATCH_SIZE + max(1, len(self._open_batches))):
            return
        before, self._batches, self._open_batches = self.subscribers, [], {}
        self.subscribers = {}
        for subscriber, old in before.items():
            batch = self.subscribers[subscriber] = self._batch_for(subscriber.transport)
            batch.members.append(subscriber)
            batch.set_version(subscriber, old.version_of(subscriber))

    def _record_delivered(self, delivered: int) -> None:
        """Record that so many subscribers were sent this version."""
        delivery_stats = self._delivery_stats
        self._current += delivered
        delivery_stats.sent += delivered
        # A version that the store went back to was committed long ago, and is not late.
        age = delivery_stats.age(self.version) if self.version == self.highest_version else None
        if age is not None:
            delivery_stats.lag.add(age, delivered)

    def _message(self, reset: bool) -> Counts:
        counts = {kind: self.counts.get(kind, 0) for kind in self.site.kinds}
        return Counts(self.item, self.version, counts, True if reset else UNSET)
