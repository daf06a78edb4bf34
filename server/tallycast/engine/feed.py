"""What the engine publishes: one pub/sub connection a process, or one for each node of a cluster.

Owns that connection and the set of channels it follows. Every confirmation of a subscription, the first and
each after a lost link, is followed by a read of the stored state, because what was published meanwhile is
gone. A heartbeat that the feed sends itself through the engine finds a link that is half open. Must not know
who watches.
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
from tallycast.engine.keys import Namespace
from tallycast.engine.store import FAILURES

PULSE = 1.5
# Silence on the link, the heartbeat included, for this long (s) means that it is dead.
SILENCE = 3.0
CHUNK = 500
REREAD_PAUSE = 0.5
MAX_BACKOFF = 1.0

_log = structlog.get_logger("feed")


class Listener(Protocol):
    """Who is told. All methods are plain functions, called in the order things were published."""

    def changed(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        """An item has new counts."""

    def emptied(self, channel: bytes, version: int) -> None:
        """As of that version, nobody holds a reaction on an item."""

    def personal(self, channel: bytes, item: str, version: int, reaction: str | None, origin: int) -> None:
        """A visitor's reaction changed."""

    def retired(self, channel: bytes) -> None:
        """An anonymous visitor has become an account."""

    async def reread(self, channels: list[bytes]) -> None:
        """What was published on these item channels may have been missed: read the stored state.

        Raises:
            Unavailable: it could not be read; the feed asks again.
        """


class Link(Protocol):
    """What the feed needs of an engine or a node."""

    @property
    def sharded(self) -> bool:
        """Whether channels have slots."""

    def connection(self) -> AbstractConnection:
        """A connection of the feed's own. Not yet connected."""

    async def publish(self, channel: bytes) -> None:
        """Publish nothing.

        Raises:
            Unavailable, OSError: it could not.
        """


class Feed:
    """Follows channels of an engine and tells a listener what comes.

    ``namespace`` makes the channels' names. ``pulse`` names one for the heartbeat of a new link, by default
    any. ``moved`` is called when a channel may have another node, with that node's refusal if it said so.
    """

    def __init__(
        self,
        link: Link,
        listener: Listener,
        namespace: Namespace,
        pulse: Callable[[], bytes] | None = None,
        moved: Callable[[MovedError | None], None] = lambda refusal: None,
    ) -> None:
        self._engine = link
        self._listener = listener
        self._namespace = namespace
        self._new_pulse = pulse or (lambda: namespace.pulse_channel(token_hex(8)))
        self._moved = moved
        self._pulse = self._new_pulse()
        self._wanted: set[bytes] = {self._pulse}
        self._sent: set[bytes] = set()
        self._missed: set[bytes] = set()
        self._changed = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._heard = -math.inf
        self._lost = False
        self._leave = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether the link is known to work: something came through it lately."""
        return time.monotonic() - self._heard < SILENCE

    def follow(self, channel: bytes) -> None:
        """Hear what is published on ``channel`` from now on."""
        self._wanted.add(channel)
        self._changed.set()

    def leave(self, channel: bytes) -> None:
        """Hear it no more."""
        self._wanted.discard(channel)
        self._missed.discard(channel)
        self._changed.set()

    def reconnect(self) -> None:
        """Follow everything on a new connection: this one may lead to an engine that was demoted."""
        self._leave.set()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        backoff = 0.05
        while True:
            began = time.monotonic()
            try:
                await self._link()
            except* Exception as group:
                # Whatever it was, the way on is a new link; only what nobody expected is told in full.
                self._heard = -math.inf
                if time.monotonic() - began > SILENCE:
                    backoff = 0.05
                self._report(group.exceptions[0])
                self._moved(None)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
            backoff = min(2 * backoff, MAX_BACKOFF)

    def _report(self, error: BaseException) -> None:
        if not isinstance(error, (*FAILURES, Unavailable)):
            _log.error("feed failed", exc_info=error)
        elif not self._lost:
            self._lost = True
            _log.warning("feed link lost", error=str(error) or type(error).__name__)

    async def _link(self) -> None:
        connection = self._engine.connection()
        self._leave.clear()
        self._sent.clear()
        self._wanted.discard(self._pulse)
        self._pulse = self._new_pulse()
        self._wanted.add(self._pulse)
        self._changed.set()
        try:
            async with asyncio.timeout(SILENCE):
                await connection.connect()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection))
                group.create_task(self._subscribe(connection))
                group.create_task(self._beat())
                group.create_task(self._reread())
                group.create_task(self._until_left())
        finally:
            await connection.disconnect(nowait=True)

    async def _until_left(self) -> None:
        await self._leave.wait()
        raise ConnectionError("connections lead to another engine now")

    async def _read(self, connection: AbstractConnection) -> None:
        wanted = _wanted()
        while wanted():
            try:
                reply = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
            except MovedError as refusal:
                self._moved(refusal)
                continue
            self._heard = time.monotonic()
            kind, channel, payload = reply
            if kind in (b"message", b"smessage"):
                self._hear(channel, payload)
            elif kind in (b"subscribe", b"ssubscribe"):
                if channel in self._wanted and self._is_item(channel):
                    self._missed.add(channel)
                    self._confirmed.set()
            elif channel in self._wanted:
                # Nobody here asked for it: the slot has gone to another node. If not, it is followed again.
                self._sent.discard(channel)
                self._moved(None)
                self._changed.set()

    def _is_item(self, channel: bytes) -> bool:
        return channel.startswith(self._namespace.items)

    def _hear(self, channel: bytes, payload: bytes) -> None:
        if channel == self._pulse:
            return
        is_item = self._is_item(channel)
        if not (is_item or payload):
            self._listener.retired(channel)
            return
        try:
            news: Any = msgpack.unpackb(payload)
            if is_item:
                version, counts, *emptied = news
                if not (isinstance(version, int) and isinstance(counts, dict)):
                    raise TypeError("neither a version nor counts")
                self._listener.changed(channel, version, counts)
                if emptied:
                    self._listener.emptied(channel, version)
            else:
                item, version, reaction, origin = news
                self._listener.personal(channel, item, version, reaction or None, origin)
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            # Anyone with access to the engine can publish on a channel; the feed outlives it.
            # A visitor's channel stays out of the log.
            shown = channel.decode(errors="replace") if is_item else f"{self._namespace.visitors.decode()}…"
            _log.warning("not an update", channel=shown)

    async def _subscribe(self, connection: AbstractConnection) -> None:
        wanted = _wanted()
        while wanted():
            await self._changed.wait()
            self._changed.clear()
            prefix, most = ("S", 1) if self._engine.sharded else ("", CHUNK)
            for word, channels in (
                ("SUBSCRIBE", self._wanted - self._sent),
                ("UNSUBSCRIBE", self._sent - self._wanted),
            ):
                for chunk in _chunks(channels, most):
                    # Recorded before the wait, so that a channel left meanwhile is left again.
                    self._sent ^= set(chunk)
                    await connection.send_command(prefix + word, *chunk, check_health=False)

    async def _beat(self) -> None:
        self._heard = time.monotonic()
        wanted = _wanted()
        while wanted():
            await self._engine.publish(self._pulse)
            # Before the pause, too: an engine that is slow to take it must not make this slow to notice.
            self._insist()
            await asyncio.sleep(PULSE)
            if self.up and self._lost:
                self._lost = False
                _log.info("feed link works again")
            self._insist()

    def _insist(self) -> None:
        """Raise where nothing has come through for too long."""
        if not self.up:
            raise ConnectionError(f"nothing came through for {SILENCE} s")

    async def _reread(self) -> None:
        wanted = _wanted()
        while wanted():
            await self._confirmed.wait()
            self._confirmed.clear()
            missed, self._missed = self._missed, set()
            try:
                await self._listener.reread(list(missed))
            except Unavailable:
                self._missed |= missed & self._wanted
                await asyncio.sleep(REREAD_PAUSE)
                self._confirmed.set()


def _wanted() -> Callable[[], bool]:
    """Tells whether nobody has cancelled this task, because a library below may swallow a cancellation."""
    task = asyncio.current_task()
    assert task is not None
    return lambda: not task.cancelling()


def _chunks(channels: Iterable[bytes], most: int) -> Iterable[list[bytes]]:
    listed = list(channels)
    return (listed[i : i + most] for i in range(0, len(listed), most))
