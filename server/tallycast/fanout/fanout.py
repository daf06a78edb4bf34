"""Updates from the engine to the connections: published ones, and missed ones, which are read from the store.

Owns the listener of the engine's feed, and what it feeds: the hub, the visitors' connections, the reconciler.
Does not depend on how updates travel, or on what a connection is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.engine.feed import Feed, FeedListener
from tallycast.engine.keys import Namespace
from tallycast.fanout.hub import Hub
from tallycast.fanout.reconciler import Accept, Reconciler
from tallycast.fanout.topic import Topic
from tallycast.fanout.visitors import NO_CONNECTION, VisitorChannels, VisitorListener
from tallycast.ledger.reader import Query, State
from tallycast.observability.measures import Snapshot

# Connections that are notified in one turn of the loop.
NOTIFICATIONS_A_TURN = 200
# Items in one query, and queries at a time: other reads must not wait long behind them.
ITEMS_PER_QUERY = 100
QUERIES_AT_ONCE = 20
EXPIRY_INTERVAL = 1.0


class Fanout:
    """The listener of a feed. All methods that the feed calls are plain functions, except ``reread``.

    Args:
        open_feed: makes the feed for a listener; it is not used before ``feed.run()``.
        read: queues a query for the next batch, like the reader's ``submit``.
        namespace: makes the names of channels.
        call_later: calls a function after a delay (s), like ``loop.call_later``.
        age: how long ago (s) a version was committed, or ``None`` when that is not known.
    """

    def __init__(
        self,
        open_feed: Callable[[FeedListener], Feed],
        read: Callable[[Query], None],
        namespace: Namespace,
        call_later: Callable[[float, Callable[[], None]], object],
        age: Callable[[int], float | None] = lambda version: None,
    ) -> None:
        self._read = read
        self._namespace = namespace
        self.feed = open_feed(self)
        self.reconciler = Reconciler(self.compare, self.accept)
        self.hub = Hub(namespace.item_channel, self._subscribe, self._unsubscribe, call_later, age=age)
        self.visitors = VisitorChannels(self.feed.subscribe, self.feed.unsubscribe)

    def update_sites(self, sites: Mapping[str, Site]) -> None:
        """The configuration of the sites has changed."""
        self.hub.update_sites(sites)

    def revoked(self, site: str, member: bytes, at: float) -> None:
        """The tokens that a visitor was issued until then (s since 1970) were revoked."""
        self.visitors.revoke(self._namespace.visitor_channel(site, member), at)

    async def expire_idle(self) -> None:
        """Unsubscribe from the items that are unwatched, every second, until cancelled."""
        while True:
            await asyncio.sleep(EXPIRY_INTERVAL)
            self.hub.expire_idle()

    def measure(self, found: Snapshot) -> None:
        """Add the measurements of the fan-out."""
        stats = self.hub.delivery_stats
        found.gauge("watched_items", {"": len(self.hub)})
        found.count("updates_sent", {"": stats.sent})
        found.count("updates_conflated", {"": stats.conflated})
        found.count("reconciliation_repairs", {"": self.reconciler.repairs})
        found.histogram("delivery_lag_seconds", stats.lag.bounds, stats.lag.counts, stats.lag.total)

    # The listener of the feed

    def on_counts(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        """An item has new counts."""
        self.hub.publish(channel, version, counts)

    def on_emptied(self, channel: bytes, version: int) -> None:
        """As of that version, no visitor holds a reaction on an item."""
        for topic in self.hub.topics((channel,)):
            channels = self._namespace.visitor_channels(topic.site.name)
            self._notify(self.visitors.of_site(channels), topic.item, version)

    def on_reaction(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        """A visitor's reaction changed."""
        self.visitors.notify(channel, item, version, reaction, connection_id)

    def on_retired(self, channel: bytes) -> None:
        """An anonymous visitor has become an account."""
        self.visitors.retire(channel)

    async def reread(self, channels: Iterable[bytes]) -> None:
        """Read the stored state of these items, because updates may have been missed.

        Raises:
            Unavailable: at least one could not be read.
        """
        await self.compare(channels, self.accept)

    # What the reconciler needs, too

    def accept(self, topic: Topic, floor: int, state: State) -> None:
        """Publish a stored state."""
        self.hub.reconcile(topic.channel, state.version, state.counts, floor)

    async def compare(self, channels: Iterable[bytes], accept: Accept) -> None:
        """Read the stored state of these items, as far as they are followed; ``accept`` is called with each.

        Raises:
            Unavailable: at least one could not be read.
        """
        chunks = _chunks(self.hub.topics(channels))
        while queries := [self._query(topics, accept) for topics in islice(chunks, QUERIES_AT_ONCE)]:
            for refusal in await asyncio.gather(*queries):
                if isinstance(refusal, Unavailable):
                    raise refusal

    def _query(self, topics: list[Topic], accept: Accept) -> "asyncio.Future[Refusal | None]":
        floors = [topic.version for topic in topics]
        future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

        def done(answer: list[State] | Refusal) -> None:
            if not future.done():
                future.set_result(answer if isinstance(answer, Refusal) else None)
            if isinstance(answer, list):
                for topic, floor, state in zip(topics, floors, answer, strict=True):
                    accept(topic, floor, state)

        self._read(Query(topics[0].site, [topic.item for topic in topics], None, done))
        return future

    def _notify(self, listeners: list[VisitorListener], item: str, version: int) -> None:
        """Notify these that their visitors hold nothing on an item, some in each turn of the loop."""
        for listener in listeners[:NOTIFICATIONS_A_TURN]:
            listener.on_reaction(item, version, None, NO_CONNECTION)
        if rest := listeners[NOTIFICATIONS_A_TURN:]:
            asyncio.get_running_loop().call_soon(self._notify, rest, item, version)

    def _subscribe(self, channel: bytes) -> None:
        self.feed.subscribe(channel)
        self.reconciler.add(channel)

    def _unsubscribe(self, channel: bytes) -> None:
        self.feed.unsubscribe(channel)
        self.reconciler.remove(channel)


def _chunks(topics: Iterable[Topic]) -> Iterator[list[Topic]]:
    """Topics of one site each, at most ``ITEMS_PER_QUERY`` of them."""
    by_site: defaultdict[str, list[Topic]] = defaultdict(list)
    for topic in topics:
        by_site[topic.site.name].append(topic)
    for listed in by_site.values():
        for start in range(0, len(listed), ITEMS_PER_QUERY):
            yield listed[start : start + ITEMS_PER_QUERY]
