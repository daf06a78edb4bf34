"""Subscriptions to items: the snapshot, the updates after it, and catching up after an outage.

Owns the items that each subscriber watches. A subscriber is a connection of any transport. Does not depend on
transports, sessions or HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.domain.sites import Site
from tallycast.engine.keys import Namespace
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import UNKNOWN, Subscriber, Topic
from tallycast.ledger.batch import answered
from tallycast.ledger.reader import Query
from tallycast.ledger.reader import State as State

States = dict[str, State]
Done = Callable[[States | Refusal], None]


class Sites(Protocol):
    """The configured sites, and their limits; see ``access.guard.Guard``."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """The present sites, by name."""

    def check_items(self, site: Site, items: Sequence[str]) -> list[str]:
        """Check the items of a message; each once."""

    def check_watched(self, site: Site, watched: int) -> None:
        """Check the number of watched items."""


class Subscriptions:
    """Opens subscriptions, and reads counts.

    Args:
        namespace: makes the names of channels.
        hub: fans out the updates.
        sites: the configured sites, and their limits.
        read: queues a query for the next batch, like the reader's ``submit``.
        live: whether the updates of the engine arrive at present.
    """

    def __init__(
        self,
        namespace: Namespace,
        hub: Hub,
        sites: Sites,
        read: Callable[[Query], None],
        live: Callable[[], bool],
    ) -> None:
        self._namespace = namespace
        self.hub = hub
        self.sites = sites
        self.read = read
        self.live = live

    def open(self, subscriber: Subscriber) -> "Subscription":
        """A subscription of a subscriber, to no item yet."""
        return Subscription(self, subscriber)

    async def counts(self, site: Site, items: Sequence[str]) -> list[State]:
        """The stored state of items; while the engine is away, their last known counts.

        Raises:
            Unavailable: neither is known.
        """
        known = self._known(site, items)
        if known is not None and not self.live():
            return known
        try:
            return await self.states(site, items, None)
        except Unavailable:
            if known is None:
                raise
            return known

    async def states(self, site: Site, items: Sequence[str], visitor: str | None) -> list[State]:
        """The stored state of items, with the reactions of ``visitor``.

        Raises:
            Unauthorized: the visitor is retired.
            Unavailable: not read in time.
        """
        return await answered(lambda done: self.read(Query(site, items, visitor, done)))

    def _known(self, site: Site, items: Sequence[str]) -> list[State] | None:
        """The counts that the hub has of items; ``None`` unless it has all of them."""
        topics = self.hub.topics(self._namespace.item_channel(site.name, item) for item in items)
        if len(topics) < len(items) or any(topic.version == UNKNOWN for topic in topics):
            return None
        return [
            State(topic.version, {kind: topic.counts.get(kind, 0) for kind in site.kinds}, None)
            for topic in topics
        ]


class Subscription:
    """The items that one subscriber watches."""

    __slots__ = ("_overdue", "_shared", "_subscriber", "_topics")

    def __init__(self, shared: Subscriptions, subscriber: Subscriber) -> None:
        self._shared = shared
        self._subscriber = subscriber
        self._topics: dict[str, Topic] = {}
        # Watched items whose snapshot had to be postponed, with the version that the client has of each.
        # Most subscriptions never need it.
        self._overdue: dict[str, int | None] | None = None

    def __len__(self) -> int:
        """The number of watched items."""
        return len(self._topics)

    def __contains__(self, item: str) -> bool:
        return item in self._topics

    def site(self, name: str) -> Site | None:
        """The site of that name, as it is configured now; ``None`` when it is served no longer."""
        return self._shared.sites.sites.get(name)

    def check_watch(self, site: Site, items: Sequence[str]) -> list[str]:
        """Check items before they are watched. Returns each once.

        Raises:
            BadItem: an id is not valid.
            TooManyItems: there are too many in the message, or would be in all.
        """
        sites = self._shared.sites
        unique = sites.check_items(site, items)
        sites.check_watched(site, len(self._topics.keys() | unique))
        return unique

    @property
    def swept_at(self) -> float:
        """When an update was last sent to the watchers of one of the items (s, monotonic clock)."""
        return max((topic.swept_at for topic in self._topics.values()), default=0.0)

    def watch(
        self, site: Site, items: Sequence[str], since: Mapping[str, int], visitor: str | None, done: Done
    ) -> None:
        """Watch items, and make sure that their counts are known; ``snapshot`` sends them.

        Args:
            since: the version that the client has, of the items of which it has one.
            visitor: the visitor whose reactions are read.
            done: called exactly once, with the states that were read, or why they could not be.
        """
        hub, topics = self._shared.hub, self._topics
        for item in items:
            if item not in topics:
                topics[item] = hub.subscribe(site, item)
        # Without a visitor the hub's counts are good enough while updates arrive: what they lack is on its
        # way. To compare with what the client has, the stored version is needed.
        live = self._shared.live()
        stale = [
            topic
            for topic in [topics[item] for item in items]
            if visitor is not None or topic.version == UNKNOWN or topic.item in since or not live
        ]
        if stale:
            self._read(site, stale, visitor, done)
        else:
            done({})

    async def load(self, site: Site, items: Sequence[str]) -> None:
        """Watch items, and wait until their counts are known.

        Raises:
            Unavailable: not read in time.
        """
        _: States = await answered(lambda done: self.watch(site, items, {}, None, done))

    def snapshot(self, items: Sequence[str], since: Mapping[str, int]) -> list[bytes]:
        """The frames that bring the client from ``since`` to the latest counts.

        From here on updates are delivered to the subscriber.
        """
        subscriber = self._subscriber
        codec = subscriber.transport.codec
        frames = []
        for item in items:
            topic, version = self._topics[item], since.get(item)
            shown = max(topic.attach(subscriber), UNKNOWN if version is None else version)
            if version != topic.version:
                frames.append(topic.frame(codec, reset=shown > topic.version))
        if self._overdue is not None:
            self._overdue = {item: at for item, at in self._overdue.items() if item not in items} or None
        return frames

    def postpone(self, items: Sequence[str], since: Mapping[str, int]) -> bool:
        """Leave the snapshot of items for ``overdue``. Returns whether one was not postponed before."""
        overdue = self._overdue or {}
        first = not overdue.keys() >= set(items)
        self._overdue = overdue | {item: since.get(item) for item in items}
        return first

    @property
    def can_catch_up(self) -> bool:
        """Whether a snapshot was postponed, and updates arrive again."""
        return self._overdue is not None and self._shared.live()

    def overdue(self) -> tuple[list[str], dict[str, int]]:
        """The items whose snapshot was postponed, and ``since`` for them."""
        overdue = self._overdue or {}
        return list(overdue), {item: version for item, version in overdue.items() if version is not None}

    def read_all(self, site: Site, visitor: str, done: Done) -> None:
        """Read the stored state of every watched item, with the reactions of ``visitor``.

        ``done`` is called as for ``watch``; with ``Unauthorized`` when the visitor is retired.
        """
        self._read(site, list(self._topics.values()), visitor, done)

    def unwatch(self, site: Site, items: Sequence[str]) -> None:
        """Watch items no longer, as far as they were watched.

        Raises:
            BadItem: an id is not valid; all are watched on.
            TooManyItems: there are too many in the message.
        """
        for item in self._shared.sites.check_items(site, items):
            topic = self._topics.pop(item, None)
            if topic is not None:
                if self._overdue is not None:
                    self._overdue.pop(item, None)
                self._shared.hub.unsubscribe(topic, self._subscriber)

    def close(self) -> None:
        """Watch nothing any longer."""
        self._overdue = None
        for topic in self._topics.values():
            self._shared.hub.unsubscribe(topic, self._subscriber)
        self._topics.clear()

    def _read(self, site: Site, topics: list[Topic], visitor: str | None, done: Done) -> None:
        """Read the stored state of topics, and bring the hub up to date with it."""
        floors = [topic.version for topic in topics]
        hub = self._shared.hub

        def answered(answer: list[State] | Refusal) -> None:
            if isinstance(answer, Refusal):
                done(answer)
                return
            for topic, floor, state in zip(topics, floors, answer, strict=True):
                hub.reconcile(topic.channel, state.version, state.counts, floor)
            done({topic.item: state for topic, state in zip(topics, answer, strict=True)})

        self._shared.read(Query(site, [topic.item for topic in topics], visitor, answered))
