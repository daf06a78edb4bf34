"""The store on one engine: its calls, scripts, the engine's clock.

Owns every call to ``redis.asyncio`` but the feed's connection. Turns every failure of the link or the engine
into ``Unavailable``. Does not depend on what the scripts do.

A failover leaves connections to the old engine open. On a sign of one (see ``failover``) they are closed,
each when its command has ended, and new ones resolve the host name again. Nothing is sent twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgpack
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as LinkTimeout

from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.engine.clock import DEADLINE, MARGIN, ClockOffset
from tallycast.engine.connection_pool import (
    MAINTENANCE_INTERVAL,
    REPLICA_TIMEOUT,
    REPLY_TIMEOUT,
    pool,
)
from tallycast.engine.failover import FAILURES, Backoff, ChangeSignal, HostName, is_sign
from tallycast.engine.feed import FeedListener, NodeFeed
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.store import Word

_log = structlog.get_logger("engine")


class StandaloneStore:
    """One process's link to the engine at ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    ``replicas`` of it must confirm each commit. ``prefix`` is the deployment's, see ``keys``.
    """

    address = ""
    sharded = False
    partitioned = False

    def __init__(self, url: str, replicas: int = 0, prefix: str = "") -> None:
        self.health = EngineHealth()
        self.replicas = replicas
        # Fires when connections lead to another engine than before, or may do so.
        self.relocated = ChangeSignal()
        self._url = url
        self._link = _Link(url)
        # With a timeout redis-py sends through asyncio.wait_for, which may swallow a cancellation on Python
        # 3.11. The feed has a heartbeat instead.
        self._feed_pool = pool(url, None)
        self.namespace = Namespace(prefix, int(self._feed_pool.connection_kwargs.get("db") or 0))
        self._backoff = Backoff()
        self._host_name = HostName(self._feed_pool.connection_kwargs.get("host"))
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: Word) -> bytes:
        """See ``Scripts``."""
        return await self._run(self._link, script, keys, *arguments)

    async def _run(self, link: "_Link", script: Script, keys: Sequence[bytes], *arguments: Word) -> bytes:
        began = time.monotonic()
        try:
            try:
                reply = await link.client.evalsha(script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                reply = await link.client.eval(script.text, len(keys), *keys, *arguments)
        except FAILURES as error:
            raise self._failed(link, error) from error
        self.health.answered(began)
        return bytes(reply)

    async def execute(self, *words: Word) -> Any:
        """See ``Commands``."""
        return await self._execute(self._link, *words)

    async def _execute(self, link: "_Link", *words: Word) -> Any:
        began = time.monotonic()
        try:
            reply = await link.client.execute_command(*words)
        except FAILURES as error:
            raise self._failed(link, error) from error
        self.health.answered(began)
        return reply

    async def commit(
        self, script: Script, keys: Sequence[bytes], *arguments: Word, until: float | None = None
    ) -> Any:
        """See ``Scripts``."""
        reply = await self._commit_once(script, keys, arguments, until)
        if len(reply) == 1:
            # Nothing took effect. The engine's clock may have been set; its offset is up to date now.
            reply = await self._commit_once(script, keys, arguments, until)
        if len(reply) == 1:
            raise Unavailable("the engine ran it past its deadline", retry_after=1.0)
        self.health.record_write(True)
        self.health.drifted(reply[3] if len(reply) > 3 else ())
        return reply[1]

    async def _commit_once(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Word], until: float | None
    ) -> Any:
        link = self._link
        # Without an engine this fails already, at once, and nothing was sent.
        clock = await self.clock_of(link)
        if link is not self._link:
            # The deadline must be in the time of the engine that it is sent to.
            return await self._commit_once(script, keys, arguments, until)
        if until is None:
            until = time.monotonic() + DEADLINE
        try:
            run = self._run_confirmed if self.replicas else self._run
            reply = msgpack.unpackb(await run(link, script, keys, clock.deadline(until), *arguments))
        except OutcomeUnknown:
            # It may lie in the buffer of an engine that is stopped. Nothing is answered, and nothing sent
            # that it could overtake, before the engine would refuse it.
            await asyncio.sleep(until + MARGIN - time.monotonic())
            raise
        clock.update(reply[0])
        self._confirmed(link)
        return reply

    async def _run_confirmed(
        self, link: "_Link", script: Script, keys: Sequence[bytes], *arguments: Word
    ) -> bytes:
        """As ``run``, and wait for replicas, on the same connection: WAIT covers what was sent on it."""
        began = time.monotonic()
        wait = ("WAIT", self.replicas, REPLICA_TIMEOUT)
        rest = (len(keys), *keys, *arguments)
        try:
            async with link.client.pipeline(transaction=False) as pipe:
                pipe.execute_command("EVALSHA", script.sha, *rest)
                pipe.execute_command(*wait)
                reply, confirmed = await pipe.execute(raise_on_error=False)
                if isinstance(reply, NoScriptError):
                    pipe.execute_command("EVAL", script.text, *rest)
                    pipe.execute_command(*wait)
                    reply, confirmed = await pipe.execute(raise_on_error=False)
        except FAILURES as error:
            raise self._failed(link, error) from error
        for answer in (reply, confirmed):
            if isinstance(answer, Exception):
                raise self._failed(link, answer) from answer
        if confirmed < self.replicas:
            raise self.health.refused(f"confirmed by {confirmed} of {self.replicas} replicas in time")
        self.health.answered(began)
        return bytes(reply)

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """See ``Commands``."""
        cursor = 0
        while True:
            cursor, keys = await self.execute("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            yield keys
            if not cursor:
                return

    async def size(self) -> int:
        """See ``Commands``."""
        return int(await self.execute("DBSIZE"))

    def probe_keys(self) -> list[bytes]:
        """See ``Admin``."""
        return [self.namespace.nowhere_key()]

    def partition(self, keys: Sequence[bytes]) -> list[list[int]]:
        """See ``Scripts``: one group."""
        return [list(range(len(keys)))]

    async def await_deadlines(self) -> None:
        """See ``Scripts``: every reaction is one script here."""

    async def execute_raw(self, *words: Word) -> Any:
        """See ``Admin``."""
        return await self._link.client.execute_command(*words)

    async def publish(self, channel: bytes) -> None:
        """Publish an empty message: see ``feed.FeedEngine``.

        Raises:
            Unavailable: as for ``run``.
        """
        await self.execute("PUBLISH", channel, b"")

    async def maintain(self) -> None:
        """See ``Store``."""
        while True:
            try:
                await self._read_clock(self._link)
            except Unavailable:
                pass  # the next commit reads it
            if await self._host_name.moved_from(self._link.pool.peers() | self._feed_pool.peers()):
                self._close_connections("the host name resolves to another address")
                self.relocated.fire()
            await asyncio.sleep(MAINTENANCE_INTERVAL)

    def age(self, version: int) -> float | None:
        """See ``Store``."""
        return self._link.clock.age(version)

    async def discover(self) -> None:
        """See ``Admin``: there is one engine."""

    def primaries(self) -> "Sequence[StandaloneStore]":
        """See ``Admin``: itself."""
        return (self,)

    def feed(self, listener: FeedListener) -> NodeFeed:
        """See ``Store``."""
        return NodeFeed(self, listener, self.namespace)

    def connection(self) -> AbstractConnection:
        """A connection outside the pool, not yet connected: see ``feed.FeedEngine``."""
        connection: AbstractConnection = self._feed_pool.make_connection()
        return connection

    def reconnect(self) -> None:
        """See ``Admin``."""
        old, self._link = self._link, _Link(self._url)
        task = asyncio.get_running_loop().create_task(old.retire())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """See ``Store``."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._link.close()
        await self._feed_pool.disconnect()

    async def clock_of(self, link: "_Link") -> ClockOffset:
        """The clock of a link, read from the engine where it is unknown."""
        if not link.clock.known:
            await self._read_clock(link)
        return link.clock

    async def _read_clock(self, link: "_Link") -> None:
        seconds, micros = await self._execute(link, "TIME")
        link.clock.update(int(seconds) * 1_000_000 + int(micros))

    def _close_connections(self, reason: str) -> None:
        _log.warning("connections to the engine closed", reason=reason)
        self.reconnect()

    def _confirmed(self, link: "_Link") -> None:
        """A commit succeeded on a link."""
        if link is self._link and self._backoff.waiting:
            self._backoff.reset()
            # Only now it is certain that the feed finds a better engine than the one it is connected to.
            self.relocated.fire()

    def _failed(self, link: "_Link", error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        lost = isinstance(error, LinkError | LinkTimeout | OSError | RuntimeError)
        if lost:
            # Another engine, with another clock, may answer next.
            link.clock.forget()
        if is_sign(error):
            if link is self._link and self._backoff.due():
                self._close_connections(reason)
            # It was answered, for instance with LOADING: nothing took effect.
            return self.health.unreachable(reason) if lost else self.health.refused(reason)
        return self.health.lost(reason) if lost else self.health.refused(reason)


class _Link:
    """Connections to where the host name led when they were made, and the clock of the engine there."""

    def __init__(self, url: str) -> None:
        self.clock = ClockOffset()
        self.pool = pool(url, REPLY_TIMEOUT)
        self.client = Redis(connection_pool=self.pool)

    async def retire(self) -> None:
        """Close every idle connection now, and the others when their commands have ended."""
        await self.pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await self.pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
        await self.pool.disconnect()
