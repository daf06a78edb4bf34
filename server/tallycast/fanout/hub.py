"""Who watches what, and the fan-out of updates to them.

Owns the watched items, and the sweeps that bring their subscribers the latest. ``publish`` is a plain
function: updates carry versions, lower or equal ones are dropped. Must not know where updates come from, or
what a subscriber is.

Conflation: a sweep goes over an item's subscribers in slices, so that the loop stays responsive, and brings
each the counts that are the latest when its turn comes. What is published meanwhile overtakes inside the
sweep; who had been reached before is brought it by the next one. An item rests after a sweep for as long as
the sweep took, other items' slices included, so that all of them together take no more than about half of the
loop. An item that has rested is swept at once.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from tallycast.domain.sites import Site
from tallycast.fanout.topic import UNKNOWN, Broadcast, DeliveryStats, Subscriber, Topic, no_broadcast

# An item nobody watches is followed for this long (s), so that a page's reload costs the engine nothing.
LINGER = 10.0
# One go at the sweeps takes about this long (s).
SLICE = 0.001
# The loop goes round so often from one go to the next: what takes several turns of it, as a reaction does on
# its way, need not wait for the sweeps in each of them.
TURNS = 4
# A shorter sweep is not rested from: it costs less than a timer does.
RESTLESS = 0.0005

_log = structlog.get_logger("hub")


class Hub:
    """Maps channels to topics, and sweeps them.

    ``follow`` and ``leave`` start and end the supply of updates on a channel. ``later`` calls a function
    after a delay (s), like ``loop.call_later``. ``broadcast`` writes to many subscribers at once.
    ``age`` is as for ``DeliveryStats``, which ``delivery_stats`` are.
    """

    def __init__(
        self,
        name: Callable[[str, str], bytes],
        follow: Callable[[bytes], None],
        leave: Callable[[bytes], None],
        later: Callable[[float, Callable[[], None]], object],
        broadcast: Broadcast = no_broadcast,
        clock: Callable[[], float] = time.monotonic,
        age: Callable[[int], float | None] = lambda version: None,
    ) -> None:
        self.delivery_stats = DeliveryStats(age)
        self._name = name
        self._follow = follow
        self._leave = leave
        self._later = later
        self._spread = broadcast
        self._clock = clock
        self._queue: deque[Topic] = deque()
        self._sweeping = False
        self._topics: dict[bytes, Topic] = {}
        self._idle: dict[bytes, Topic] = {}

    def __len__(self) -> int:
        """How many items are followed."""
        return len(self._topics)

    def subscribe(self, site: Site, item: str) -> Topic:
        """The topic of an item, kept and supplied until it is released as often as it was held."""
        channel = self._name(site.name, item)
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(site, item, channel, self.delivery_stats)
            self._follow(channel)
        elif topic.subscriptions == 0:
            del self._idle[channel]
        topic.subscriptions += 1
        return topic

    def unsubscribe(self, topic: Topic, subscriber: Subscriber) -> None:
        """The subscriber holds the topic no more, and gets no more of it."""
        topic.detach(subscriber)
        topic.subscriptions -= 1
        if topic.subscriptions == 0:
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
            if self._step(topic, alone=alone):
                self._swept(topic)
            else:
                self._queue.append(topic)
            if self._clock() >= until:
                break
        self._sweeping = bool(self._queue)
        if self._sweeping:
            self._run_in(TURNS)

    def _step(self, topic: Topic, *, alone: bool) -> bool:
        """Sweep the topic's next row; ``True`` when that was the last. A defect costs only that row."""
        try:
            return topic.sweep(self._spread, alone=alone)
        except Exception:
            _log.exception("a row could not be swept")
            return False

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
