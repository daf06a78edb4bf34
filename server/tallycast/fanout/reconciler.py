"""Between the feed and the hub: what was published is handed on, and what was missed is read from the store.

Owns the reading of stored state for watched items, and the steady comparison of what is shown with what is
stored. Must not know how updates travel, nor who watches.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import structlog

from tallycast.contract.errors import Refusal, Unavailable
from tallycast.engine.keys import Namespace
from tallycast.fanout.hub import Hub
from tallycast.fanout.topic import UNKNOWN, Topic
from tallycast.fanout.visitors import NOBODY, VisitorChannels, VisitorListener
from tallycast.ledger.reader import Query, State

# People who are told something in one turn of the loop.
SLICE = 200
# Items in one query, and queries at a time: reads that people wait for must not wait long behind them.
CHUNK = 100
WAVE = 20
# Every followed item is compared once in this time (s), a share of them at a time.
PERIOD = 25.0
SHARES = 100
# The store is ahead of the feed by the time that a message travels: only what has not come after this long
# (s) was missed.
GRACE = 1.0
COMPLAIN_EVERY = 10.0

# Given a topic, the version that was known of it before the read began, and what is stored.
Take = Callable[[Topic, int, State], None]

_log = structlog.get_logger("relay")


class Relay:
    """Tells the hub and the people what the feed hears."""

    def __init__(self, read: Callable[[Query], None], namespace: Namespace) -> None:
        self._read = read
        self._namespace = namespace
        self.hub: Hub
        self.visitors: VisitorChannels

    def changed(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        """An item has new counts."""
        self.hub.publish(channel, version, counts)

    def emptied(self, channel: bytes, version: int) -> None:
        """As of that version, nobody holds a reaction on an item."""
        for topic in self.hub.known((channel,)):
            channels = self._namespace.visitor_channels(topic.site.name)
            self._tell_all(self.visitors.on(channels), topic.item, version)

    def _tell_all(self, visitors: list[VisitorListener], item: str, version: int) -> None:
        """Tell all these, some in each turn of the loop, so that nobody else waits for long."""
        for listener in visitors[:SLICE]:
            listener.on_reaction(item, version, None, NOBODY)
        if rest := visitors[SLICE:]:
            asyncio.get_running_loop().call_soon(self._tell_all, rest, item, version)

    def personal(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        """A visitor's reaction changed."""
        self.visitors.notify(channel, item, version, reaction, origin)

    def retired(self, channel: bytes) -> None:
        """An anonymous visitor has become an account."""
        self.visitors.retire(channel)

    async def reread(self, channels: Iterable[bytes]) -> None:
        """Read the stored state of these items, because updates may have been missed.

        Raises:
            Unavailable: at least one could not be read.
        """
        await self.compare(channels, self.take)

    def take(self, topic: Topic, floor: int, state: State) -> None:
        """Show what is stored."""
        self.hub.reconcile(topic.channel, state.version, state.counts, floor)

    async def compare(self, channels: Iterable[bytes], take: Take) -> None:
        """Read the stored state of these items, as far as they are followed; ``take`` is given each.

        Raises:
            Unavailable: at least one could not be read.
        """
        chunks = _chunks(self.hub.known(channels))
        while wave := [self._ask(topics, take) for topics in islice(chunks, WAVE)]:
            for refusal in await asyncio.gather(*wave):
                if isinstance(refusal, Unavailable):
                    raise refusal

    def _ask(self, topics: list[Topic], take: Take) -> "asyncio.Future[Refusal | None]":
        floors = [topic.version for topic in topics]
        future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

        def done(answer: list[State] | Refusal) -> None:
            if not future.done():
                future.set_result(answer if isinstance(answer, Refusal) else None)
            if isinstance(answer, list):
                for topic, floor, state in zip(topics, floors, answer, strict=True):
                    take(topic, floor, state)

        self._read(Query(topics[0].site, [topic.item for topic in topics], None, done))
        return future


def _chunks(topics: Iterable[Topic]) -> Iterator[list[Topic]]:
    """Topics of one site each, and not too many."""
    by_site: defaultdict[str, list[Topic]] = defaultdict(list)
    for topic in topics:
        by_site[topic.site.name].append(topic)
    for listed in by_site.values():
        for start in range(0, len(listed), CHUNK):
            yield listed[start : start + CHUNK]


class Reconciler:
    """Compares every followed item with the store once in ``PERIOD``, evenly, and repairs what differs.

    ``repairs`` counts what it repaired: nothing, as long as everything else works.
    """

    def __init__(self, relay: Relay) -> None:
        self.repairs = 0
        self._relay = relay
        self._shares: list[set[bytes]] = [set() for _ in range(SHARES)]
        self._complained = -COMPLAIN_EVERY
        self._told = 0

    def follow(self, channel: bytes) -> None:
        """Compare this item from now on."""
        self._share(channel).add(channel)

    def leave(self, channel: bytes) -> None:
        """Compare it no more."""
        self._share(channel).discard(channel)

    async def run(self) -> None:
        """Compare until cancelled."""
        due = time.monotonic()
        while True:
            for share in self._shares:
                # An engine that was away is not asked for all that was left out.
                due = max(due + PERIOD / SHARES, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                if share:
                    await self._compare(share)

    def _share(self, channel: bytes) -> set[bytes]:
        # An item has its place for good, so that however many come and go, it waits no longer than a period.
        return self._shares[hash(channel) % SHARES]

    async def _compare(self, channels: Iterable[bytes]) -> None:
        ahead: list[tuple[Topic, int, State]] = []

        def take(topic: Topic, floor: int, state: State) -> None:
            if topic.version == UNKNOWN:
                self._relay.take(topic, floor, state)
            elif state.version > topic.version:
                ahead.append((topic, topic.highest, state))
            elif state.version < floor == topic.version:
                self._repair(topic, floor, state)

        try:
            await self._relay.compare(channels, take)
        except Unavailable:
            pass  # it is the next round's
        if ahead:
            asyncio.get_running_loop().call_later(GRACE, self._settle, ahead)

    def _settle(self, ahead: list[tuple[Topic, int, State]]) -> None:
        for topic, then, state in ahead:
            # If it came since, and is shown no more, the store went back, and what was read before is gone.
            if topic.version < state.version and not then < state.version <= topic.highest:
                self._repair(topic, topic.version, state)

    def _repair(self, topic: Topic, floor: int, state: State) -> None:
        self._relay.take(topic, floor, state)
        self.repairs += 1
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            _log.warning("what was shown was not what is stored; repaired", items=self.repairs - self._told)
            self._complained, self._told = time.monotonic(), self.repairs
