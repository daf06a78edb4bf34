"""The link to the engine: connections, scripts, the engine's clock.

Owns every call to ``redis.asyncio`` but the feed's own connection. Turns every failure of the link or the
engine into ``Unavailable``. Must not know what the scripts do.

Retries are off: redis-py repeats a command whose reply was lost, and a lost reply means that the outcome is
unknown.

A failover leaves connections to the old engine open. On a sign of one (see ``failover``) they are closed,
each when its command has ended, and the next ones are made by the host name. Nothing is sent again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from weakref import WeakSet

import msgpack
import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as LinkTimeout

from tallycast.contract.errors import OutcomeUnknown, Unavailable
from tallycast.engine.clock import DEADLINE, MARGIN, Clock
from tallycast.engine.failover import Backoff, HostName, is_sign
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script
from tallycast.engine.store import FAILURES, Word

CONNECT_TIMEOUT = 1.0
# Who waits for an answer waits this much longer (s) than it may take effect.
ANSWER_GRACE = 0.25
REPLY_TIMEOUT = DEADLINE + ANSWER_GRACE
# How long (ms) replicas have to confirm, within the time that who waits has anyway.
REPLICA_WITHIN = 1000
KEEP_TIME_EVERY = 5.0

_log = structlog.get_logger("engine")


class Engine:
    """One process's link to the engine at ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    ``replicas`` of it must confirm each write that is timed. ``prefix`` is the deployment's, see ``keys``.
    """

    address = ""
    sharded = False

    def __init__(self, url: str, replicas: int = 0, prefix: str = "") -> None:
        self.health = EngineHealth()
        # Called when connections lead to another engine than before, or may do so.
        self.moved: Callable[[], None] = lambda: None
        self._url = url
        self.replicas = replicas
        self._link = _Link(url)
        # With a timeout redis-py sends through asyncio.wait_for, which may swallow a cancellation on Python
        # 3.11. The feed has a heartbeat instead.
        self._patient = pool(url, None)
        self.namespace = Namespace(prefix, int(self._patient.connection_kwargs.get("db") or 0))
        self._backoff = Backoff()
        self._name = HostName(self._patient.connection_kwargs.get("host"))
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self, script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        """See ``Store``."""
        return await self._run(self._link, script, names, *arguments)

    async def _run(self, link: "_Link", script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        began = time.monotonic()
        try:
            try:
                reply = await link.client.evalsha(script.sha, len(names), *names, *arguments)
            except NoScriptError:
                reply = await link.client.eval(script.text, len(names), *names, *arguments)
        except FAILURES as error:
            raise self._failed(link, error) from error
        self.health.answered(began)
        return bytes(reply)

    async def command(self, *words: Word) -> Any:
        """See ``Store``."""
        return await self._command(self._link, *words)

    async def _command(self, link: "_Link", *words: Word) -> Any:
        began = time.monotonic()
        try:
            reply = await link.client.execute_command(*words)
        except FAILURES as error:
            raise self._failed(link, error) from error
        self.health.answered(began)
        return reply

    async def timed(self, script: Script, names: Sequence[bytes], *arguments: Word) -> Any:
        """See ``Store``."""
        reply = await self._once(script, names, *arguments)
        if len(reply) == 1:
            # Nothing took effect. The engine's clock may have been set; it is known anew now.
            reply = await self._once(script, names, *arguments)
        if len(reply) == 1:
            raise Unavailable("the engine came to it too late", retry_after=1.0)
        self.health.wrote(True)
        self.health.drifted(reply[3] if len(reply) > 3 else ())
        return reply[1]

    async def _once(self, script: Script, names: Sequence[bytes], *arguments: Word) -> Any:
        link = self._link
        # Without an engine this fails already, at once, and nothing was sent.
        deadline = await self.deadline(link)
        if link is not self._link:
            # The deadline must be in the time of the engine that it is sent to.
            return await self._once(script, names, *arguments)
        sent = time.monotonic()
        try:
            run = self._run_confirmed if self.replicas else self._run
            reply = msgpack.unpackb(await run(link, script, names, deadline, *arguments))
        except OutcomeUnknown:
            # It may lie in the buffer of an engine that stands still. "Unavailable" is not said, and nothing
            # else is sent that it could overtake, before the engine would refuse it.
            await asyncio.sleep(sent + DEADLINE + MARGIN - time.monotonic())
            raise
        link.clock.tick(reply[0])
        self._confirmed(link)
        return reply

    async def _run_confirmed(
        self, link: "_Link", script: Script, names: Sequence[bytes], *arguments: Word
    ) -> bytes:
        """As ``run``, and wait for replicas, on the same connection: WAIT is about what came on it."""
        began = time.monotonic()
        wait = ("WAIT", self.replicas, REPLICA_WITHIN)
        given = (len(names), *names, *arguments)
        try:
            async with link.client.pipeline(transaction=False) as pipe:
                pipe.execute_command("EVALSHA", script.sha, *given)
                pipe.execute_command(*wait)
                reply, confirmed = await pipe.execute(raise_on_error=False)
                if isinstance(reply, NoScriptError):
                    pipe.execute_command("EVAL", script.text, *given)
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

    async def names(self, pattern: str, page: int) -> AsyncIterator[list[bytes]]:
        """See ``Store``."""
        cursor = 0
        while True:
            cursor, names = await self.command("SCAN", cursor, "MATCH", pattern, "COUNT", page)
            yield names
            if not cursor:
                return

    async def size(self) -> int:
        """See ``Store``."""
        return int(await self.command("DBSIZE"))

    def everywhere(self) -> list[bytes]:
        """See ``Store``."""
        return [self.namespace.nowhere_key()]

    def groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """See ``Store``: all."""
        return [list(range(len(names)))]

    async def settle(self) -> None:
        """See ``Store``: nothing is ever half written."""

    async def raw(self, *words: Word) -> Any:
        """See ``Store``."""
        return await self._link.client.execute_command(*words)

    async def publish(self, channel: bytes) -> None:
        """Publish nothing.

        Raises:
            Unavailable: as for ``run``.
        """
        await self.command("PUBLISH", channel, b"")

    async def keep_time(self) -> None:
        """See ``Store``. Follows the host name, too."""
        while True:
            try:
                await self._read_clock(self._link)
            except Unavailable:
                pass  # who needs it next asks again
            if await self._name.moved_from(self._link.pool.peers() | self._patient.peers()):
                self._close_connections("the host name leads elsewhere")
                self.moved()
            await asyncio.sleep(KEEP_TIME_EVERY)

    async def deadline(self, link: "_Link | None" = None) -> int:
        """Engine time (µs) after which what is sent now must not take effect."""
        link = link or self._link
        if not link.clock.known:
            await self._read_clock(link)
        return link.clock.deadline(time.monotonic() + DEADLINE)

    def tick(self, now: int) -> None:
        """Learn the engine's time (µs) from a reply that has just arrived."""
        self._link.clock.tick(now)

    def age(self, version: int) -> float | None:
        """See ``Store``."""
        return self._link.clock.age(version)

    async def find(self) -> None:
        """See ``Store``: there is only one."""

    def primaries(self) -> "Sequence[Engine]":
        """See ``Store``: itself."""
        return (self,)

    def connection(self) -> AbstractConnection:
        """A connection outside the pool, for the feed. Not yet connected."""
        connection: AbstractConnection = self._patient.make_connection()
        return connection

    def reconnect(self) -> None:
        """See ``Store``."""
        old, self._link = self._link, _Link(self._url)
        task = asyncio.get_running_loop().create_task(old.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """See ``Store``."""
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._link.close()
        await self._patient.disconnect()

    async def _read_clock(self, link: "_Link") -> None:
        seconds, micros = await self._command(link, "TIME")
        link.clock.tick(int(seconds) * 1_000_000 + int(micros))

    def _close_connections(self, reason: str) -> None:
        _log.warning("connections to the engine closed", reason=reason)
        self.reconnect()

    def _confirmed(self, link: "_Link") -> None:
        """Something was written through a link."""
        if link is self._link and self._backoff.waiting:
            self._backoff.reset()
            # Only now it is certain that the feed finds something better than what it has.
            self.moved()

    def _failed(self, link: "_Link", error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        lost = isinstance(error, LinkError | LinkTimeout | OSError | RuntimeError)
        if lost:
            # Whatever answers next may have another clock.
            link.clock.forget()
        if is_sign(error):
            if link is self._link and self._backoff.due():
                self._close_connections(reason)
            # It was answered, with LOADING for one: nothing took effect.
            return self.health.away(reason) if lost else self.health.refused(reason)
        return self.health.lost(reason) if lost else self.health.refused(reason)


class _Link:
    """Connections to where the name led when they were made, and the clock of the engine there."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.pool = pool(url, REPLY_TIMEOUT)
        self.client = Redis(connection_pool=self.pool)

    async def retire(self) -> None:
        """Close every connection that is idle, and the others when their commands have ended."""
        await self.pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        await self.pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
        await self.pool.disconnect()


class Pool(ConnectionPool):
    """Connections that know where they lead."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self._made: WeakSet[AbstractConnection] = WeakSet()
        super().__init__(*given, **options)

    def make_connection(self) -> AbstractConnection:
        """A connection, not yet connected."""
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        self._made.add(connection)
        return connection

    def peers(self) -> set[str]:
        """The addresses of all that are connected, by TCP."""
        return {peer for connection in self._made if (peer := connection.getpeername())}


def pool(url: str, timeout: float | None) -> Pool:
    """Connections to the engine at ``url``, without retries; ``timeout`` (s) is for its replies."""
    made: Pool = Pool.from_url(
        url,
        protocol=2,
        # No CLIENT SETINFO: an access list need not allow it.
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=timeout,
        max_connections=64,
    )
    return made
