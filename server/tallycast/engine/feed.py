"""The feed of what the engine publishes: one pub/sub connection, or one for each node of a cluster.

Owns that connection and its set of channels. Every confirmation of a subscription, the first and each one
after a lost connection, is followed by a read of the stored state, because what was published meanwhile is
lost. A heartbeat that the feed publishes to itself through the engine detects a connection that is half open.
Does not depend on what is done with the updates.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterable
from secrets import token_hex
from typing import Any, Protocol

import msgpack
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MovedError

from tallycast.contract.errors import Unavailable
from tallycast.engine.failover import FAILURES, ChangeSignal
from tallycast.engine.keys import Namespace

HEARTBEAT_INTERVAL = 1.5
# A connection through which nothing, not even the heartbeat, came for this long (s) is dead.
SILENCE = 3.0
# Channels of one SUBSCRIBE.
CHUNK = 500
REREAD_PAUSE = 0.5
FIRST_BACKOFF, MAX_BACKOFF = 0.05, 1.0

_log = structlog.get_logger("feed")


class FeedListener(Protocol):
    """What the feed delivers to. Plain functions but ``reread``, called in the order of publication."""

    def on_counts(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        """An item has new counts."""

    def on_emptied(self, channel: bytes, version: int) -> None:
        """As of that version, no visitor holds a reaction on an item."""

    def on_reaction(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        """A visitor's reaction changed, through the connection ``connection_id``."""

    def on_retired(self, channel: bytes) -> None:
        """An anonymous visitor was merged into an account."""

    async def reread(self, channels: list[bytes]) -> None:
        """Read the stored state of these items: updates of them may have been missed.

        Raises:
            Unavailable: it could not be read; the feed calls again.
        """


class Feed(Protocol):
    """Delivers to a listener what is published on the channels that it is subscribed to."""

    @property
    def up(self) -> bool:
        """Whether all connections are known to work: something came through each of them lately."""

    def subscribe(self, channel: bytes) -> None:
        """Subscribe to ``channel``."""

    def unsubscribe(self, channel: bytes) -> None:
        """Unsubscribe from it."""

    async def run(self) -> None:
        """Keep the connections up until cancelled."""


class FeedEngine(Protocol):
    """What the feed uses of an engine or a node. ``relocated`` fires when it is to connect again."""

    relocated: ChangeSignal

    @property
    def sharded(self) -> bool:
        """Whether channels have slots."""

    def connection(self) -> AbstractConnection:
        """A connection of the feed's own, not yet connected."""

    async def publish(self, channel: bytes) -> None:
        """Publish an empty message.

        Raises:
            Unavailable, OSError: it could not be sent.
        """


class NodeFeed:
    """The feed of one engine or node, through one connection.

    Args:
        namespace: makes the names of channels.
        heartbeat_channel: names a channel for the heartbeat of a new connection; by default any.
        on_moved: called when a channel may have another node, with that node's redirection if it sent one.
    """

    def __init__(
        self,
        engine: FeedEngine,
        listener: FeedListener,
        namespace: Namespace,
        heartbeat_channel: Callable[[], bytes] | None = None,
        on_moved: Callable[[MovedError | None], None] = lambda redirection: None,
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._namespace = namespace
        self._heartbeat_channel = heartbeat_channel or (lambda: namespace.heartbeat_channel(token_hex(8)))
        self._on_moved = on_moved
        self._heartbeat = self._heartbeat_channel()
        # The channels to be subscribed to, and those of which this was requested on this connection.
        self._wanted: set[bytes] = {self._heartbeat}
        self._requested: set[bytes] = set()
        # Item channels whose state is to be read.
        self._unread: set[bytes] = set()
        self._wanted_changed = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._received_at = -math.inf
        self._lost = False

    @property
    def up(self) -> bool:
        """See ``Feed``."""
        return time.monotonic() - self._received_at < SILENCE

    def subscribe(self, channel: bytes) -> None:
        """See ``Feed``."""
        self._wanted.add(channel)
        self._wanted_changed.set()

    def unsubscribe(self, channel: bytes) -> None:
        """See ``Feed``."""
        self._wanted.discard(channel)
        self._unread.discard(channel)
        self._wanted_changed.set()

    async def run(self) -> None:
        """See ``Feed``."""
        backoff = FIRST_BACKOFF
        while True:
            began = time.monotonic()
            try:
                await self._run_connection()
            except* Exception as group:
                # Whatever the error, the remedy is a new connection.
                self._received_at = -math.inf
                if time.monotonic() - began > SILENCE:
                    backoff = FIRST_BACKOFF
                self._report(group.exceptions[0])
                self._on_moved(None)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
            backoff = min(2 * backoff, MAX_BACKOFF)

    def _report(self, error: BaseException) -> None:
        if not isinstance(error, (*FAILURES, Unavailable)):
            _log.error("feed failed", exc_info=error)
        elif not self._lost:
            self._lost = True
            _log.warning("feed connection lost", error=str(error) or type(error).__name__)

    async def _run_connection(self) -> None:
        relocated = self._engine.relocated.next()
        connection = self._engine.connection()
        self._requested.clear()
        self._wanted.discard(self._heartbeat)
        self._heartbeat = self._heartbeat_channel()
        self._wanted.add(self._heartbeat)
        self._wanted_changed.set()
        try:
            async with asyncio.timeout(SILENCE):
                await connection.connect()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(connection))
                group.create_task(self._send_subscriptions(connection))
                group.create_task(self._beat())
                group.create_task(self._reread())
                group.create_task(_until(relocated))
        finally:
            await connection.disconnect(nowait=True)

    async def _receive(self, connection: AbstractConnection) -> None:
        running = _running()
        while running():
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except MovedError as redirection:
                self._on_moved(redirection)
                continue
            self._received_at = time.monotonic()
            kind, channel, payload = reply
            if kind in (b"message", b"smessage"):
                self._deliver(channel, payload)
            elif kind in (b"subscribe", b"ssubscribe"):
                if channel in self._wanted and self._is_item(channel):
                    self._unread.add(channel)
                    self._confirmed.set()
            elif channel in self._wanted:
                # Unsubscribed by the engine: another node owns the slot. If not, it is subscribed to again.
                self._requested.discard(channel)
                self._on_moved(None)
                self._wanted_changed.set()

    def _is_item(self, channel: bytes) -> bool:
        return channel.startswith(self._namespace.items)

    def _deliver(self, channel: bytes, payload: bytes) -> None:
        if channel == self._heartbeat:
            return
        is_item = self._is_item(channel)
        if not (is_item or payload):
            self._listener.on_retired(channel)
            return
        try:
            update: Any = msgpack.unpackb(payload)
            if is_item:
                version, counts, *emptied = update
                if not (isinstance(version, int) and isinstance(counts, dict)):
                    raise TypeError("neither a version nor counts")
                self._listener.on_counts(channel, version, counts)
                if emptied:
                    self._listener.on_emptied(channel, version)
            else:
                item, version, reaction, connection_id = update
                self._listener.on_reaction(channel, item, version, reaction or None, connection_id)
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            # Any client of the engine can publish on a channel; the feed survives it.
            # A visitor's channel stays out of the log.
            shown = channel.decode(errors="replace") if is_item else f"{self._namespace.visitors.decode()}…"
            _log.warning("malformed update ignored", channel=shown)

    async def _send_subscriptions(self, connection: AbstractConnection) -> None:
        running = _running()
        while running():
            await self._wanted_changed.wait()
            self._wanted_changed.clear()
            prefix, size = ("S", 1) if self._engine.sharded else ("", CHUNK)
            for command, channels in (
                ("SUBSCRIBE", self._wanted - self._requested),
                ("UNSUBSCRIBE", self._requested - self._wanted),
            ):
                for chunk in _chunks(channels, size):
                    # Recorded before the wait, so that a channel left meanwhile is unsubscribed from.
                    self._requested ^= set(chunk)
                    await connection.send_command(prefix + command, *chunk, check_health=False)

    async def _beat(self) -> None:
        self._received_at = time.monotonic()
        running = _running()
        while running():
            await self._engine.publish(self._heartbeat)
            # Before the pause, too: an engine that is slow to take the heartbeat must not delay this check.
            self._check_silence()
            await asyncio.sleep(HEARTBEAT_INTERVAL)
            if self.up and self._lost:
                self._lost = False
                _log.info("feed connection restored")
            self._check_silence()

    def _check_silence(self) -> None:
        """Raise ``ConnectionError`` if nothing came through for too long."""
        if not self.up:
            raise ConnectionError(f"nothing came through for {SILENCE} s")

    async def _reread(self) -> None:
        running = _running()
        while running():
            await self._confirmed.wait()
            self._confirmed.clear()
            unread, self._unread = self._unread, set()
            try:
                await self._listener.reread(list(unread))
            except Unavailable:
                self._unread |= unread & self._wanted
                await asyncio.sleep(REREAD_PAUSE)
                self._confirmed.set()


async def _until(relocated: asyncio.Event) -> None:
    await relocated.wait()
    raise ConnectionError("connections lead to another engine now")


def _running() -> Callable[[], bool]:
    """A check that the current task was not cancelled, because a library below may swallow a cancellation."""
    task = asyncio.current_task()
    assert task is not None
    return lambda: not task.cancelling()


def _chunks(channels: Iterable[bytes], size: int) -> Iterable[list[bytes]]:
    listed = list(channels)
    return (listed[i : i + size] for i in range(0, len(listed), size))
