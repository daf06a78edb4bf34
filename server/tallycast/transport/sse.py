"""Counts as server-sent events, for pages that cannot have a socket.

Owns the life of one stream: its snapshots, its updates, its beats and its end. Must not know the engine, nor
what the items are.

A stream is pulled, never pushed into. An update only marks its item; when the connection has room, the latest
of every marked item goes out as one chunk. So what a stream can cost is bounded by the items it watches,
however slow its reader is and however fast they change. The transport's high-water mark is zero, so "has
room" means that everything before has been handed to the kernel.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.codec import EVENTS
from tallycast.contract.messages import Beat, Bye
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.fanout.topic import NO_FD, UNKNOWN, Topic
from tallycast.services.services import Rooms
from tallycast.transport.http.protocol import TRANSPORT
from tallycast.transport.websocket.protocol import BEAT_AFTER, STALL_AFTER

# Streams end when the drain says so, not all at once.
AppStatus.enable_automatic_graceful_drain = False

_BEAT = EVENTS.frame(Beat())


class Stream:
    """What one reader is to be sent, as an asynchronous iterator of chunks of events. The hub's subscriber.

    ``drained`` waits until there is room for more. ``sent_at`` is when the last chunk was handed over.
    """

    wire = EVENTS.index
    # Never written to at once: it is pulled.
    fd = NO_FD
    watches_many = False

    def __init__(self, rooms: Rooms, slot: ConnectionSlot, client: Client) -> None:
        self._rooms = rooms
        self._slot = slot
        self._client = client
        self._settled = False
        self._topics: list[Topic] = []
        # Ordered: who waits longest goes first.
        self._marked: dict[Topic, None] = {}
        # The chunk that is being put together, and only then.
        self._chunk: list[bytes] | None = None
        self._news = asyncio.Event()
        self._shown = self._beat_due = self._leaving = False
        self._farewell: float | None = None
        self.sent_at = rooms.timers.now
        self.drained: Callable[[], Awaitable[None]]
        self.site: str

    async def open(self, site: Site, items: Sequence[str]) -> None:
        """Watch the items, and know their counts.

        Raises:
            RateLimited: too many come from there.
            Unavailable: too many are here, or their counts cannot be read. None is watched then.
        """
        crowded = self._rooms.admission.assign(self._slot, self._client)
        self._settled = True
        if crowded is not None:
            self.close()
            raise crowded
        self.site = site.name
        self._topics = [self._rooms.hub.subscribe(site, item) for item in items]
        # As for a socket: what is known here is good enough while updates come in.
        trusted = self._rooms.ready()
        wanted = [topic for topic in self._topics if topic.version == UNKNOWN or not trusted]
        floors = [topic.version for topic in wanted]
        try:
            states = await self._rooms.states(site, [topic.item for topic in wanted], None) if wanted else []
        except BaseException:
            self.close()
            raise
        for topic, floor, state in zip(wanted, floors, states, strict=True):
            self._rooms.hub.reconcile(topic.channel, state.version, state.counts, floor)

    def close(self) -> None:
        """Watch nothing any more, and take no place."""
        if self._settled:
            self._settled = False
            self._rooms.admission.release(self._slot, self._client)
        topics, self._topics = self._topics, []
        for topic in topics:
            self._rooms.hub.unsubscribe(topic, self)

    def bye(self, retry_after: float) -> None:
        """The server is draining: what is said last, because a stream's reader has nothing to finish."""
        self._farewell = retry_after

    def leave(self) -> None:
        """Say what there is to say, the farewell last, and end."""
        self._leaving = True
        self._news.set()

    def beat_if_silent(self, now: float) -> None:
        """Say that the connection lives when nothing else was said for a while."""
        if now - self.sent_at >= BEAT_AFTER:
            self._beat_due = True
            self._news.set()

    # The hub's subscriber

    def deliver(self, frame: bytes) -> bool:
        """Take an update while a chunk is being put together; at any other time it is only marked."""
        if self._chunk is None:
            return False
        self._chunk.append(frame)
        return True

    def overflow(self, rest: bytes) -> None:
        """Nothing was written to it, so there is no rest."""

    def mark_stale(self, topic: Topic) -> None:
        """Mark the topic."""
        self._marked[topic] = None
        self._news.set()

    # The iterator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk, put together when there is room for it and not before."""
        while True:
            await self.drained()
            chunk = self._latest() if self._shown else self._snapshots()
            if chunk:
                self.sent_at = self._rooms.timers.now
                return chunk
            if self._leaving:
                raise StopAsyncIteration
            await self._news.wait()
            self._news.clear()

    def _snapshots(self) -> bytes:
        """Every item as it is now. Updates are delivered from here on."""
        self._shown = True
        for topic in self._topics:
            topic.attach(self)
        return b"".join(topic.frame(self.wire) for topic in self._topics)

    def _latest(self) -> bytes:
        """The latest of every marked item, and what else there is to say."""
        marked, self._marked = self._marked, {}
        chunk = self._chunk = []
        for topic in marked:
            topic.deliver_latest(self)
        self._chunk = None
        if self._leaving and (pause := self._farewell) is not None:
            self._farewell = None
            # A plain EventSource knows no `bye`, but waits as long as `retry` says before it comes back.
            chunk.append(b"retry: %d\n" % (1000 * pause) + EVENTS.frame(Bye(pause)))
        elif self._beat_due and not chunk:
            chunk.append(_BEAT)
        self._beat_due = False
        return b"".join(chunk)


class StreamResponse(EventSourceResponse):
    """The answer that carries a stream, and the watch over whoever reads it."""

    def __init__(self, rooms: Rooms, stream: Stream) -> None:
        # The contract has beats of its own. What a proxy compresses it keeps back.
        super().__init__(stream, ping=0, headers={"Cache-Control": "no-store, no-transform"})
        del self.headers["Connection"]  # The HTTP layer knows whether the connection is kept.
        self._rooms = rooms
        self._stream = stream
        self._transport: asyncio.Transport
        # How much waited at the last visit, and since when it has not become less.
        self._left = 0
        self._since = rooms.timers.now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until the reader goes, stalls, or the server drains."""
        if scope["method"] == "HEAD":
            self._stream.close()
            await super().__call__(scope, receive, send)
            return

        async def drained() -> None:
            # An ASGI server makes a sender wait for room before it takes more, even if that is nothing.
            await send({"type": "http.response.body", "body": b"", "more_body": True})

        self._stream.drained = drained
        self._transport = scope[TRANSPORT]
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=0)
        slot = self._rooms.timers.join(self)
        self._rooms.stats.open[self._stream.wire] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._rooms.stats.open[self._stream.wire] -= 1
            self._rooms.timers.leave(slot, self)
            self._stream.close()
            if self.active:
                # It did not come to its end: nobody takes what still waits, so it must not be waited for.
                self._transport.abort()

    def on_tick(self, now: float) -> None:
        """About a second has passed: drop a reader who takes nothing, or whose site is gone; beat."""
        left = self._transport.get_write_buffer_size()
        if left == 0 or left < self._left or self._stream.sent_at > self._since:
            self._since = now
        self._left = left
        if now - self._since > STALL_AFTER or self._stream.site not in self._rooms.guard.sites:
            self._transport.abort()
        else:
            self._stream.beat_if_silent(now)

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        self._stream.bye(retry_after)

    def leave(self) -> None:
        """End the stream."""
        self._stream.leave()

    def abort(self) -> None:
        """End at once, whatever still waits."""
        self._transport.abort()
