"""The HTTP response that carries an event stream, and its liveness.

Owns the slot of the connection, and the deadline of a stalled reader. Does not depend on what the events are.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from tallycast.access.admission import ConnectionSlot
from tallycast.contract.codec import EVENTS
from tallycast.contract.errors import Refusal
from tallycast.domain.addresses import Client
from tallycast.domain.sites import Site
from tallycast.transport.http.protocol import TRANSPORT
from tallycast.transport.liveness import STALL_AFTER
from tallycast.transport.registry import Registry, Transport
from tallycast.transport.sse.stream import Stream, Subscriptions
from tallycast.transport.timer_wheel import Drainable, TimerWheel

# Streams end when the drain says so, not all at once.
AppStatus.enable_automatic_graceful_drain = False


class ConnectionAdmission(Protocol):
    """Counts connections; see ``access.admission.Admission``."""

    def assign(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        """Count a connection for the client of its stream; why it must not stay, if so."""

    def release(self, slot: ConnectionSlot, client: Client) -> None:
        """Undo ``assign``."""


def register(registry: Registry) -> Transport:
    """Register the transport."""
    return registry.register("sse", EVENTS)


class EventStreams:
    """Opens event streams.

    Args:
        transport: the registered transport.
        subscriptions: opens their subscriptions.
        admission: counts connections.
        timers: the timer of all long-lived connections.
    """

    def __init__(
        self,
        transport: Transport,
        subscriptions: Subscriptions,
        admission: ConnectionAdmission,
        timers: TimerWheel[Drainable],
    ) -> None:
        self.transport = transport
        self.timers = timers
        self._subscriptions = subscriptions
        self._admission = admission

    async def open(
        self, slot: ConnectionSlot, client: Client, site: Site, items: Sequence[str]
    ) -> "StreamResponse":
        """A stream of the counts of items, over a counted connection.

        Raises:
            RateLimited: too many connections from the client's address.
            Unavailable: too many connections, or the counts cannot be read.
        """
        over_limit = self._admission.assign(slot, client)
        stream = Stream(self.transport, self._subscriptions, self.timers, site, items)
        response = StreamResponse(self, stream, lambda: self._admission.release(slot, client))
        try:
            if over_limit is not None:
                raise over_limit
            await stream.open()
        except BaseException:
            response.close()
            raise
        return response


class StreamResponse(EventSourceResponse):
    """The response that carries a stream. ``release`` is called once, when the connection is free again."""

    def __init__(self, shared: EventStreams, stream: Stream, release: Callable[[], None]) -> None:
        # The chunks follow with the call, which knows how to wait for room.
        # The contract has beats of its own. Proxies that compress keep events back.
        super().__init__(iter(()), ping=0, headers={"Cache-Control": "no-store, no-transform"})
        del self.headers["Connection"]  # The HTTP layer knows whether the connection is kept.
        self._shared = shared
        self._stream = stream
        self._release: Callable[[], None] | None = release
        self._tcp: asyncio.Transport
        # The bytes that waited at the last tick, and since when they have not become fewer.
        self._unsent_at_tick = 0
        self._since = shared.timers.now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until the reader leaves or stalls, or the server drains."""
        if scope["method"] == "HEAD":
            self.close()
            await super().__call__(scope, receive, send)
            return

        async def drained() -> None:
            # An ASGI server waits for room before it accepts bytes, even if there are none.
            await send({"type": "http.response.body", "body": b"", "more_body": True})

        self.body_iterator = self._stream.chunks(drained)
        self._tcp = scope[TRANSPORT]
        if not self._tcp.is_closing():
            self._tcp.set_write_buffer_limits(high=0)
        slot = self._shared.timers.add(self)
        self._shared.transport.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._shared.transport.open -= 1
            self._shared.timers.remove(slot, self)
            self.close()
            if self.active:
                # The stream has not ended by itself: the reader does not take the bytes that wait.
                self._tcp.abort()

    def close(self) -> None:
        """End the subscription, and release the connection."""
        release, self._release = self._release, None
        if release is not None:
            release()
        self._stream.close()

    def on_tick(self, now: float) -> None:
        """About a second has passed: drop a stalled reader, or one of a site that is not served; beat."""
        unsent = self._tcp.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent_at_tick or self._stream.sent_at > self._since:
            self._since = now
        self._unsent_at_tick = unsent
        if now - self._since > STALL_AFTER or not self._stream.served:
            self._tcp.abort()
        else:
            self._stream.beat_if_silent(now)

    def bye(self, retry_after: float) -> None:
        """The server is draining."""
        self._stream.bye(retry_after)

    def close_gracefully(self) -> None:
        """End the stream."""
        self._stream.close_gracefully()

    def abort(self) -> None:
        """End at once, without the bytes that wait."""
        self._tcp.abort()
