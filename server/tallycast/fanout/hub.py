"""The watched items, and the fan-out of updates to their subscribers.

Owns the sweeps that send an item's latest counts to its subscribers. ``publish`` is a plain function: updates
carry versions, lower or equal ones are dropped. Does not depend on where updates come from, or on what a
subscriber is.

Conflation: a sweep delivers an item's counts to its subscribers in batches, a slice of time after another, so
that the loop stays responsive. Each batch gets the latest counts at its turn. Subscribers that became stale
during the sweep, because newer counts were published after their batch, are in the next one. After a sweep an
item has a cooldown as long as the sweep took, the slices of other items included, so that all sweeps together
take no more than about half of the loop. An item without a cooldown is swept at once.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from tallycast.domain.sites import Site
from tallycast.fanout.topic import UNKNOWN, DeliveryStats, Subscriber, Topic

# The subscription of the engine to an unwatched item lingers for this long (s), so that a reload of a page
# costs the engine nothing.
LINGER = 10.0
# The length of a slice of time (s), about.
TIME_SLICE = 0.001
# Turns of the loop from one slice to the next: work that takes several turns, like a reaction, need not wait
# for a slice in each of them.
LOOP_TURNS = 4
# No cooldown after a shorter sweep (s): a timer would cost more.
MIN_COOLDOWN = 0.0005

_log = structlog.get_logger("hub")


class Hub:
    """Maps channels to topics, and sweeps them.

    Args:
        name: makes the channel of an item of a site.
        subscribe_channel, unsubscribe_channel: start and end the updates of a channel.
        call_later: calls a function after a delay (s), like ``loop.call_later``.
        clock: monotonic (s).
        age: as for ``DeliveryStats``.
    """

    def __init__(
        self,
        name: Callable[[str, str], bytes],
        subscribe_channel: Callable[[bytes], None],
        unsubscribe_channel: Callable[[bytes], None],
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
        age: Callable[[int], float | None] = lambda version: None,
    ) -> None:
        self.delivery_stats = DeliveryStats(age)
        self._name = name
        self._subscribe_channel = subscribe_channel
        self._unsubscribe_channel = unsubscribe_channel
        self._call_later = call_later
        self._clock = clock
        self._queue: deque[Topic] = deque()
        self._sweeping = False
        self._topics: dict[bytes, Topic] = {}
        self._idle: dict[bytes, Topic] = {}

    def __len__(self) -> int:
        """The number of followed items."""
        return len(self._topics)

    def subscribe(self, site: Site, item: str) -> Topic:
        """The topic of an item, followed until ``unsubscribe`` was called as often."""
        channel = self._name(site.name, item)
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(site, item, channel, self.delivery_stats)
            self._subscribe_channel(channel)
        elif topic.subscriptions == 0:
            del self._idle[channel]
        topic.subscriptions += 1
        return topic

    def unsubscribe(self, topic: Topic, subscriber: Subscriber) -> None:
        """End a subscription to a topic."""
        topic.detach(subscriber)
        topic.subscriptions -= 1
        if topic.subscriptions == 0:
            topic.idle_since = self._clock()
            self._idle[topic.channel] = topic

    def expire_idle(self) -> None:
        """Unsubscribe from the items that were unwatched for a while. Call it about every second."""
        before = self._clock() - LINGER
        # In the order in which they became idle: all after the first one that is too young are, too.
        for channel, topic in list(self._idle.items()):
            if topic.idle_since > before:
                break
            del self._idle[channel], self._topics[channel]
            self._unsubscribe_channel(channel)

    def update_sites(self, sites: Mapping[str, Site]) -> None:
        """The configuration of the sites has changed."""
        for topic in self._topics.values():
            if topic.site.name in sites:
                topic.update_site(sites[topic.site.name])

    def version(self, channel: bytes) -> int:
        """The latest known version on a channel, or ``UNKNOWN``."""
        topic = self._topics.get(channel)
        return UNKNOWN if topic is None else topic.version

    def topics(self, channels: Iterable[bytes]) -> list[Topic]:
        """The topics of these channels, as far as they are followed."""
        return [self._topics[channel] for channel in channels if channel in self._topics]

    def publish(self, channel: bytes, version: int, counts: Mapping[str, int]) -> None:
        """Fan out new counts. Lower or equal versions are dropped."""
        topic = self._topics.get(channel)
        if topic is not None and version > topic.version:
            self._fan_out(topic, version, counts)

    def reconcile(self, channel: bytes, version: int, counts: Mapping[str, int], floor: int) -> None:
        """Publish counts that were read from the store.

        ``floor`` is the version that was known before the read began. A store with a lower one went back in
        time (a restored backup, a failover): its counts are published all the same, as a reset.
        """
        topic = self._topics.get(channel)
        if topic is None:
            return
        if version < floor == topic.version:
            self._fan_out(topic, version, counts)
        else:
            self.publish(channel, version, counts)

    def _fan_out(self, topic: Topic, version: int, counts: Mapping[str, int]) -> None:
        topic.update(version, counts)
        if not topic.dirty and topic.subscribers:
            topic.dirty = True
            self._schedule(topic)

    def _schedule(self, topic: Topic) -> None:
        """Sweep the topic after its cooldown."""
        cooldown = topic.cooldown_until - self._clock()
        if cooldown > 0:
            self._call_later(cooldown, lambda: self._enqueue(topic))
        else:
            self._enqueue(topic)

    def _enqueue(self, topic: Topic) -> None:
        topic.sweep_started = self._clock()
        self._queue.append(topic)
        if not self._sweeping:
            self._sweeping = True
            # Not now, but in this turn of the loop: other updates that arrive in it are swept with this one.
            self._call_later(0, self._run)

    def _run(self) -> None:
        """Sweep for one slice of time, a batch of each topic in turn."""
        until = self._clock() + TIME_SLICE
        only_topic = len(self._queue) == 1
        while self._queue:
            topic = self._queue.popleft()
            if self._sweep_batch(topic, only_topic=only_topic):
                self._finish_sweep(topic)
            else:
                self._queue.append(topic)
            if self._clock() >= until:
                break
        self._sweeping = bool(self._queue)
        if self._sweeping:
            self._run_in(LOOP_TURNS)

    def _sweep_batch(self, topic: Topic, *, only_topic: bool) -> bool:
        """Sweep the topic's next batch; ``True`` when that was the last. A defect costs only that batch."""
        try:
            return topic.sweep(only_topic=only_topic)
        except Exception:
            _log.exception("sweep failed")
            return False

    def _run_in(self, turns: int) -> None:
        """Continue the sweeps after some turns of the loop."""
        self._call_later(0, self._run if turns == 1 else partial(self._run_in, turns - 1))

    def _finish_sweep(self, topic: Topic) -> None:
        now = topic.swept_at = self._clock()
        took = now - topic.sweep_started
        topic.cooldown_until = now + took if took > MIN_COOLDOWN else now
        topic.dirty = topic.superseded
        if topic.dirty:
            self._schedule(topic)
