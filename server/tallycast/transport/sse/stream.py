"""One event stream: its snapshots, its updates, its beats and its end.

Owns the chunks of events, pulled by the response. Does not depend on HTTP, or on what the items are.

A stream is pulled, never written to. An update only marks its item; when the connection has room, the latest
counts of every marked item are sent as one chunk. So the memory of a stream is bounded by the items it
watches, however slow its reader is and however fast they change. The transport's high-water mark is zero, so
"has room" means that all bytes before were handed to the kernel.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from tallycast.contract.codec import EVENTS
from tallycast.contract.messages import Beat, Bye
from tallycast.domain.rates import Clock
from tallycast.domain.sites import Site
from tallycast.fanout.topic import Subscriber, Topic
from tallycast.transport.liveness import BEAT_AFTER
from tallycast.transport.registry import Transport

_BEAT = EVENTS.frame(Beat())


class Subscription(Protocol):
    """The items of a stream; see ``services.subscriptions.Subscription``."""

    def site(self, name: str) -> Site | None:
        """The site of that name, as it is configured now."""

    async def load(self, site: Site, items: Sequence[str]) -> None:
        """Watch items, and wait until their counts are known."""

    def snapshot(self, items: Sequence[str], since: Mapping[str, int]) -> list[bytes]:
        """The frames of the latest counts; updates follow."""

    def close(self) -> None:
        """Watch nothing any longer."""


class Subscriptions(Protocol):
    """Opens subscriptions; see ``services.subscriptions.Subscriptions``."""

    def open(self, subscriber: Subscriber) -> Subscription:
        """A subscription to no item yet."""


class Stream:
    """The chunks of events for one reader. A subscriber of the hub.

    Attributes:
        sent_at: when the last chunk was handed over (s, monotonic clock).
    """

    def __init__(
        self,
        transport: Transport,
        subscriptions: Subscriptions,
        clock: Clock,
        site: Site,
        items: Sequence[str],
    ) -> None:
        self.transport = transport
        self._subscription = subscriptions.open(self)
        self._clock = clock
        self._site = site
        self._items = items
        # Ordered: the topic that waits longest is first.
        self._stale: dict[Topic, None] = {}
        # The chunk that is being joined, and only then.
        self._chunk: list[bytes] | None = None
        self._wake = asyncio.Event()
        self._shown = self._beat_due = self._leaving = False
        self._retry_after: float | None = None
        self.sent_at = clock.now

    @property
    def served(self) -> bool:
        """Whether the site of the items is still served."""
        return self._subscription.site(self._site.name) is not None

    async def open(self) -> None:
        """Watch the items, and wait until their counts are known.

        Raises:
            Unavailable: the counts cannot be read.
        """
        await self._subscription.load(self._site, self._items)

    def close(self) -> None:
        """Watch nothing any longer."""
        self._subscription.close()

    def bye(self, retry_after: float) -> None:
        """The server is draining: sent as the last event, because the reader has nothing to finish."""
        self._retry_after = retry_after

    def close_gracefully(self) -> None:
        """Send the stale items and the bye event, and end."""
        self._leaving = True
        self._wake.set()

    def beat_if_silent(self, now: float) -> None:
        """Send a beat when nothing else was sent for a while."""
        if now - self.sent_at >= BEAT_AFTER:
            self._beat_due = True
            self._wake.set()

    # The subscriber

    def deliver(self, frame: bytes) -> bool:
        """Accept an update while a chunk is being joined; at any other time the item is only marked."""
        if self._chunk is None:
            return False
        self._chunk.append(frame)
        return True

    def mark_stale(self, topic: Topic) -> None:
        """Mark an item."""
        self._stale[topic] = None
        self._wake.set()

    # The chunks

    async def chunks(self, drained: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
        """The chunks, each joined when there is room for it and not before: ``drained`` waits for that."""
        while True:
            await drained()
            chunk = self._latest() if self._shown else self._snapshot()
            if chunk:
                self.sent_at = self._clock.now
                yield chunk
            elif self._leaving:
                return
            else:
                await self._wake.wait()
                self._wake.clear()

    def _snapshot(self) -> bytes:
        self._shown = True
        return b"".join(self._subscription.snapshot(self._items, {}))

    def _latest(self) -> bytes:
        """The latest counts of every marked item, or else what is due."""
        stale, self._stale = self._stale, {}
        chunk = self._chunk = []
        for topic in stale:
            topic.deliver_latest(self)
        self._chunk = None
        if self._leaving and (pause := self._retry_after) is not None:
            self._retry_after = None
            # A plain EventSource does not know `bye`, but waits as long as `retry` says to reconnect.
            chunk.append(b"retry: %d\n" % (1000 * pause) + EVENTS.frame(Bye(pause)))
        elif self._beat_due and not chunk:
            chunk.append(_BEAT)
        self._beat_due = False
        return b"".join(chunk)
