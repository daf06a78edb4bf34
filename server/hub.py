"""Who watches what, and the fan-out of updates to them.

Owns, for each watched item, the latest counts and the ready-made frames, the subscribers, and the sweeps that
bring them the latest. ``publish`` is a plain function: updates carry versions, lower or equal ones are
dropped, and every subscriber gets the same bytes. Must not know where updates come from, who a subscriber is,
or how it writes.

Conflation: a sweep goes over an item's subscribers in slices, so that the loop stays responsive, and brings
each the counts that are the latest when its turn comes. What is published meanwhile overtakes inside the
sweep; who had been reached before is brought it by the next one. An item rests after a sweep for as long as
the sweep took, other items' slices included, so that all of them together take no more than about half of the
loop. An item that has rested is swept at once.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog
from msgspec import UNSET

from server.measures import TIMES, Histogram
from server.protocol.codec import WIRES
from server.protocol.messages import Counts
from server.rules.sites import Site

# An item nobody watches is followed for this long (s), so that a page's reload costs the engine nothing.
LINGER = 10.0
UNKNOWN = -1
NO_DESCRIPTOR = -1
# One go at the sweeps takes about this long (s); the clock is looked at after so many subscribers.
SLICE = 0.001
STRIDE = 64
# The loop goes round so often from one go to the next: what takes several turns of it, as a reaction does on
# its way, need not wait for the sweeps in each of them.
TURNS = 4
# A shorter sweep is not rested from: it costs less than a timer does.
RESTLESS = 0.0005

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


class Hub:
    """Maps channels to topics, and sweeps them.

    ``follow`` and ``leave`` start and end the supply of updates on a channel. ``later`` calls a function
    after a delay (s), like ``loop.call_later``. ``spread`` writes to many subscribers at once.
    ``age`` is as for ``Deliveries``, which ``deliveries`` are.
    """

    def __init__(
        self,
        name: Callable[[str, str], bytes],
        follow: Callable[[bytes], None],
        leave: Callable[[bytes], None],
        later: Callable[[float, Callable[[], None]], object],
        spread: Spread = nobody,
        clock: Callable[[], float] = time.monotonic,
        age: Callable[[int], float | None] = lambda version: None,
    ) -> None:
        self.deliveries = Deliveries(age)
        self._name = name
        self._follow = follow
        self._leave = leave
        self._later = later
        self._spread = spread
        self._clock = clock
        self._queue: deque[Topic] = deque()
        self._sweeping = False
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
            topic = self._topics[channel] = Topic(site, item, channel, self.deliveries)
            self._follow(channel)
        elif topic.holders == 0:
            del self._idle[channel]
        topic.holders += 1
        return topic

    def release(self, topic: Topic, subscriber: Subscriber) -> None:
        """The subscriber holds the topic no more, and gets no more of it."""
        topic.detach(subscriber)
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

    def adopt(self, sites: Mapping[str, Site]) -> None:
        """The sites were read again."""
        for topic in self._topics.values():
            if topic.site.name in sites:
                topic.adopt(sites[topic.site.name])

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
            self._fan_out(topic, version, counts)

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
            self._fan_out(topic, version, counts)
        else:
            self.publish(channel, version, counts)

    def _fan_out(self, topic: Topic, version: int, counts: Mapping[str, int]) -> None:
        topic.set(version, counts)
        if not topic.dirty and topic.subscribers:
            topic.dirty = True
            self._plan(topic)

    def _plan(self, topic: Topic) -> None:
        """Sweep the topic as soon as it has rested."""
        rest = topic.ready_at - self._clock()
        if rest > 0:
            self._later(rest, lambda: self._enqueue(topic))
        else:
            self._enqueue(topic)

    def _enqueue(self, topic: Topic) -> None:
        topic.began = self._clock()
        self._queue.append(topic)
        if not self._sweeping:
            self._sweeping = True
            # Not now, but in this turn of the loop: what else arrives in it is swept together with this.
            self._later(0, self._run)

    def _run(self) -> None:
        """Sweep for one slice of time, every topic of the queue in turn."""
        until = self._clock() + SLICE
        alone = len(self._queue) == 1
        while self._queue:
            topic = self._queue.popleft()
            if topic.sweep(STRIDE, self._spread, alone=alone):
                self._swept(topic)
            else:
                self._queue.append(topic)
            if self._clock() >= until:
                break
        self._sweeping = bool(self._queue)
        if self._sweeping:
            self._run_in(TURNS)

    def _run_in(self, turns: int) -> None:
        """Sweep on when the loop has gone round so often."""
        self._later(0, self._run if turns == 1 else partial(self._run_in, turns - 1))

    def _swept(self, topic: Topic) -> None:
        now = topic.swept_at = self._clock()
        took = now - topic.began
        topic.ready_at = now + took if took > RESTLESS else now
        topic.dirty = topic.overtaken
        if topic.dirty:
            self._plan(topic)


class Person(Protocol):
    """A connection of a known visitor."""

    def hear(self, item: str, version: int, reaction: str | None, origin: int) -> None:
        """What the visitor holds on an item changed."""

    def retired(self) -> None:
        """The visitor has become an account, and is no more."""

    def revoked(self, at: float) -> None:
        """What the visitor was issued until then (seconds since 1970) holds no more."""


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

    def retire(self, channel: bytes) -> None:
        """Tell the visitor's connections here that it is no more."""
        for person in tuple(self._present.get(channel, ())):
            person.retired()

    def revoke(self, channel: bytes, at: float) -> None:
        """Tell the visitor's connections here that what it was issued until then holds no more."""
        for person in tuple(self._present.get(channel, ())):
            person.revoked(at)
