"""One watched item: its latest counts, its ready-made frames, and who was brought which version of them.

Owns the innermost loop of the whole server, the write of an update to those who lack it. Every subscriber
gets the same bytes. Must not know when a sweep is due, where updates come from, who a subscriber is, or how
it writes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
from msgspec import UNSET

from tallycast.contract.codec import WIRES
from tallycast.contract.messages import Counts
from tallycast.domain.sites import Site
from tallycast.observability.measures import TIMES, Histogram

UNKNOWN = -1
NO_FD = -1
# So many subscribers are brought an update before the clock is looked at.
ROW = 64

_log = structlog.get_logger("hub")


class Subscriber(Protocol):
    """A connection that watches items."""

    @property
    def wire(self) -> int:
        """The index of its wire format."""

    @property
    def fd(self) -> int:
        """The descriptor of a socket that a frame may be written to as it is, or ``NO_FD``."""

    @property
    def watches_many(self) -> bool:
        """Whether it watches more than one item."""

    def overflow(self, rest: bytes) -> None:
        """Send the rest of a frame of which the socket took only the beginning."""

    def deliver(self, frame: bytes) -> bool:
        """Write a frame; ``False`` when there is no room, and then ``mark_stale`` follows."""

    def mark_stale(self, topic: "Topic") -> None:
        """Remember the topic, and have it ``deliver_latest`` the latest when there is room."""


class DeliveryStats:
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
Broadcast = Callable[[bytes, Sequence[Subscriber], bool], Sequence[Subscriber]]


def no_broadcast(_: bytes, subscribers: Sequence[Subscriber], __: bool) -> Sequence[Subscriber]:
    """A ``Broadcast`` that leaves everybody to be asked one by one."""
    return subscribers


class Row:
    """Some subscribers of one wire format, of whom nearly all were brought the same version.

    So what each was brought need not be looked up or noted one by one, as often as an update comes.
    """

    __slots__ = ("members", "others", "version", "wire")

    def __init__(self, wire: int, version: int) -> None:
        self.wire = wire
        self.members: list[Subscriber] = []
        self.version = version
        # Who was brought another version, and which.
        self.others: dict[Subscriber, int] = {}

    def delivered(self, subscriber: Subscriber) -> int:
        """The version that a member was brought last."""
        return self.others.get(subscriber, self.version)

    def note(self, subscriber: Subscriber, version: int) -> None:
        """A member was brought a version."""
        if version == self.version:
            self.others.pop(subscriber, None)
        else:
            self.others[subscriber] = version

    def behind(self, version: int) -> Sequence[Subscriber]:
        """The members who were not brought this version last."""
        if self.others:
            return [one for one in self.members if self.others.get(one, self.version) != version]
        # A copy, because somebody may leave while it is gone through.
        return list(self.members) if self.version != version else ()


class Topic:
    """One watched item: the latest counts, and who was brought which version of them.

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
        # Who gets updates, and the row each is in.
        self.subscribers: dict[Subscriber, Row] = {}
        self._rows: list[Row] = []
        # For each wire format the row that newcomers join.
        self._filling: list[Row | None] = [None] * len(WIRES)
        # How many of the subscribers have this version.
        self._reached = 0
        # Waiting for a sweep, being swept, or resting: then ``publish`` has nothing to do but to set the
        # counts.
        self.dirty = False
        self.began = 0.0
        self.ready_at = self.swept_at = 0.0
        self._frames: list[bytes | None] = [None] * len(WIRES)
        # The highest version there ever was: above ``version`` when the store went back.
        self.highest = UNKNOWN
        # The rows that the sweep under way has been to.
        self._swept = 0
        # Whether newer counts came since the last sweep began, so that some were brought older ones.
        self.overtaken = False

    def frame(self, wire: int, reset: bool = False) -> bytes:
        """The latest counts as a whole frame in one wire format; encoded once, whoever asks."""
        if reset:
            return WIRES[wire].frame(self._message(reset=True))
        frame = self._frames[wire]
        if frame is None:
            frame = self._frames[wire] = WIRES[wire].frame(self._message(reset=False))
        return frame

    def delivered(self, subscriber: Subscriber) -> int:
        """The version that a subscriber was brought last; ``UNKNOWN`` when there is none."""
        row = self.subscribers.get(subscriber)
        return UNKNOWN if row is None else row.delivered(subscriber)

    def attach(self, subscriber: Subscriber) -> int:
        """The subscriber is shown the latest right now, and gets updates from here on.

        Gives what ``delivered`` gave before.
        """
        before = self.delivered(subscriber)
        row = self.subscribers.get(subscriber)
        if row is None:
            row = self.subscribers[subscriber] = self._row(subscriber.wire)
            row.members.append(subscriber)
        row.note(subscriber, self.version)
        self._reached += before != self.version
        return before

    def detach(self, subscriber: Subscriber) -> None:
        """The subscriber gets no more updates, if it ever did."""
        row = self.subscribers.pop(subscriber, None)
        if row is not None:
            self._reached -= row.delivered(subscriber) == self.version
            row.members.remove(subscriber)
            row.others.pop(subscriber, None)

    def set(self, version: int, counts: Mapping[str, int]) -> None:
        """Take new counts."""
        if self.version != UNKNOWN:
            # Who was not brought the ones before never will be.
            self._delivery_stats.conflated += len(self.subscribers) - self._reached
        self._reached = 0
        self.version = version
        self.overtaken = True
        if version <= self.highest:
            # The store went back, perhaps to what somebody was brought last.
            self._reached = sum(self.delivered(one) == version for one in self.subscribers)
        self.highest = max(self.highest, version)
        self.counts = counts
        self._frames = [None] * len(WIRES)

    def adopt(self, site: Site) -> None:
        """The site was read again: from the next frame on its kinds are as it says now."""
        self.site = site
        self._frames = [None] * len(WIRES)

    def deliver_latest(self, subscriber: Subscriber) -> None:
        """Bring one subscriber the latest, unless it has it or has left."""
        row = self.subscribers.get(subscriber)
        if row is None or row.delivered(subscriber) == self.version:
            return
        if self._deliver_one(subscriber):
            row.note(subscriber, self.version)
            self._count(1)
        else:
            subscriber.mark_stale(self)

    def sweep(self, broadcast: Broadcast, *, alone: bool) -> bool:
        """Bring the latest to the next row; ``True`` when that was the last.

        ``alone``: no other item is being swept.
        """
        if self._swept == 0:
            self._close_ranks()
            self.overtaken = False
        at = self._swept
        # Before the row, so that one that fails is passed over the next time.
        self._swept += 1
        # Who comes meanwhile is shown the latest anyway, whether the row was swept or is yet to be.
        if at < len(self._rows):
            self._deliver_row(self._rows[at], broadcast, alone=alone)
        if self._swept < len(self._rows):
            return False
        self._swept = 0
        return True

    def _deliver_row(self, row: Row, broadcast: Broadcast, *, alone: bool) -> None:
        """The innermost loop of the whole server: for each subscriber little more than one system call."""
        behind = row.behind(self.version)
        left = behind
        # A version below the highest means that the store went back: not everybody is told the same.
        if behind and self.version == self.highest:
            left = broadcast(self.frame(row.wire), behind, alone)
        refused = {one: row.delivered(one) for one in left if not self._deliver_one(one)}
        if len(refused) < len(behind):
            self._count(len(behind) - len(refused))
        row.version = self.version
        row.others = refused
        for subscriber in refused:
            subscriber.mark_stale(self)

    def _deliver_one(self, subscriber: Subscriber) -> bool:
        """Bring one subscriber the latest; whether it took it."""
        try:
            reset = self.delivered(subscriber) > self.version
            return subscriber.deliver(self.frame(subscriber.wire, reset))
        except Exception:
            _log.exception("an update could not be delivered")
            return True

    def _row(self, wire: int) -> Row:
        """The row that a newcomer of this wire format joins."""
        row = self._filling[wire]
        if row is None or len(row.members) >= ROW:
            if self._swept == 0:
                self._close_ranks()
            row = self._filling[wire] = Row(wire, self.version)
            self._rows.append(row)
        return row

    def _close_ranks(self) -> None:
        """Fill the rows again when most places are empty, because so many have left. Not during a sweep."""
        if len(self._rows) <= 2 * (len(self.subscribers) // ROW + len(WIRES)):
            return
        before, self._rows, self._filling = self.subscribers, [], [None] * len(WIRES)
        self.subscribers = {}
        for subscriber, old in before.items():
            row = self.subscribers[subscriber] = self._row(subscriber.wire)
            row.members.append(subscriber)
            row.note(subscriber, old.delivered(subscriber))

    def _count(self, delivered: int) -> None:
        """So many more have this version."""
        delivery_stats = self._delivery_stats
        self._reached += delivered
        delivery_stats.sent += delivered
        # One that the store went back to was committed long ago, and is not late.
        age = delivery_stats.age(self.version) if self.version == self.highest else None
        if age is not None:
            delivery_stats.lag.add(age, delivered)

    def _message(self, reset: bool) -> Counts:
        counts = {kind: self.counts.get(kind, 0) for kind in self.site.kinds}
        return Counts(self.item, self.version, counts, True if reset else UNSET)
