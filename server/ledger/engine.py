"""The link to the engine: connections, scripts, the engine's clock.

Owns every call to ``redis.asyncio`` but the feed's own connection. Turns every failure of the link or the
engine into ``Unavailable``. Must not know what the scripts do.

Retries are off: redis-py repeats a command whose reply was lost, and a lost reply means that the outcome is
unknown.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgpack
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as LinkTimeout

from server.errors import OutcomeUnknown, Unavailable
from server.ledger import keys
from server.ledger.clock import DEADLINE, MARGIN, Clock
from server.ledger.condition import Condition
from server.ledger.scripts import Script
from server.ledger.store import FAILURES, Word

CONNECT_TIMEOUT = 1.0
# Who waits for an answer waits this much longer (s) than it may take effect.
ANSWER_GRACE = 0.25
REPLY_TIMEOUT = DEADLINE + ANSWER_GRACE
# How long (ms) replicas have to confirm, within the time that who waits has anyway.
REPLICA_WITHIN = 1000
KEEP_TIME_EVERY = 5.0


class Engine:
    """One process's link to the engine at ``url`` (``redis://``, ``rediss://`` or ``unix://``).

    ``replicas`` of it must confirm each write that is timed.
    """

    address = ""
    sharded = False

    def __init__(self, url: str, replicas: int = 0) -> None:
        self.condition = Condition()
        self._clock = Clock()
        self._replicas = replicas
        self._pool = pool(url, REPLY_TIMEOUT)
        # With a timeout redis-py sends through asyncio.wait_for, which may swallow a cancellation on Python
        # 3.11. The feed has a heartbeat instead.
        self._patient = pool(url, None)
        self._client = Redis(connection_pool=self._pool)

    async def run(self, script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        """See ``Store``."""
        began = time.monotonic()
        try:
            try:
                reply = await self._client.evalsha(script.sha, len(names), *names, *arguments)
            except NoScriptError:
                reply = await self._client.eval(script.text, len(names), *names, *arguments)
        except FAILURES as error:
            raise self._failed(error) from error
        self.condition.answered(began)
        return bytes(reply)

    async def command(self, *words: Word) -> Any:
        """See ``Store``."""
        began = time.monotonic()
        try:
            reply = await self._client.execute_command(*words)
        except FAILURES as error:
            raise self._failed(error) from error
        self.condition.answered(began)
        return reply

    async def deadline(self) -> int:
        """Engine time (µs) after which nobody waits for what is sent now."""
        if not self._clock.known:
            await self._read_clock()
        return self._clock.deadline(time.monotonic() + DEADLINE)

    async def timed(self, script: Script, names: Sequence[bytes], *arguments: Word) -> Any:
        """See ``Store``."""
        reply = await self._once(script, names, *arguments)
        if len(reply) == 1:
            # Nothing took effect. The engine's clock may have been set; it is known anew now.
            reply = await self._once(script, names, *arguments)
        if len(reply) == 1:
            raise Unavailable("the engine came to it too late", retry_after=1.0)
        self.condition.wrote(True)
        self.condition.drifted(reply[3] if len(reply) > 3 else ())
        return reply[1]

    async def _once(self, script: Script, names: Sequence[bytes], *arguments: Word) -> Any:
        # Without an engine this fails already, at once, and nothing was sent.
        deadline = await self.deadline()
        sent = time.monotonic()
        try:
            run = self._run_confirmed if self._replicas else self.run
            reply = msgpack.unpackb(await run(script, names, deadline, *arguments))
        except OutcomeUnknown:
            # It may lie in the buffer of an engine that stands still. "Unavailable" is not said, and nothing
            # else is sent that it could overtake, before the engine would refuse it.
            await asyncio.sleep(sent + DEADLINE + MARGIN - time.monotonic())
            raise
        self.tick(reply[0])
        return reply

    async def _run_confirmed(self, script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        """As ``run``, and wait for replicas, on the same connection: WAIT is about what came on it."""
        began = time.monotonic()
        wait = ("WAIT", self._replicas, REPLICA_WITHIN)
        given = (len(names), *names, *arguments)
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command("EVALSHA", script.sha, *given)
                pipe.execute_command(*wait)
                reply, confirmed = await pipe.execute(raise_on_error=False)
                if isinstance(reply, NoScriptError):
                    pipe.execute_command("EVAL", script.text, *given)
                    pipe.execute_command(*wait)
                    reply, confirmed = await pipe.execute(raise_on_error=False)
        except FAILURES as error:
            raise self._failed(error) from error
        for answer in (reply, confirmed):
            if isinstance(answer, Exception):
                raise self._failed(answer) from answer
        if confirmed < self._replicas:
            raise self.condition.refused(f"confirmed by {confirmed} of {self._replicas} replicas in time")
        self.condition.answered(began)
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
        return [keys.NOWHERE]

    def groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """See ``Store``: all."""
        return [list(range(len(names)))]

    async def settle(self) -> None:
        """See ``Store``: nothing is ever half written."""

    async def raw(self, *words: Word) -> Any:
        """See ``Store``."""
        return await self._client.execute_command(*words)

    async def publish(self, channel: bytes) -> None:
        """Publish nothing.

        Raises:
            Unavailable: as for ``run``.
        """
        await self.command("PUBLISH", channel, b"")

    async def keep_time(self) -> None:
        """See ``Store``."""
        while True:
            try:
                await self._read_clock()
            except Unavailable:
                pass  # who needs it next asks again
            await asyncio.sleep(KEEP_TIME_EVERY)

    def tick(self, now: int) -> None:
        """Learn the engine's time (µs) from a reply that has just arrived."""
        self._clock.tick(now)

    def age(self, version: int) -> float | None:
        """See ``Store``."""
        return self._clock.age(version)

    async def find(self) -> None:
        """See ``Store``: there is only one."""

    def primaries(self) -> "Sequence[Engine]":
        """See ``Store``: itself."""
        return (self,)

    async def probe(self) -> None:
        """See ``Store``."""
        await self._client.publish(keys.PULSE_PREFIX + b"start", b"")

    def connection(self) -> AbstractConnection:
        """A connection outside the pool, for the feed. Not yet connected."""
        connection: AbstractConnection = self._patient.make_connection()
        return connection

    async def close(self) -> None:
        """See ``Store``."""
        await self._client.aclose()
        await self._pool.disconnect()
        await self._patient.disconnect()

    async def _read_clock(self) -> None:
        seconds, micros = await self.command("TIME")
        self.tick(int(seconds) * 1_000_000 + int(micros))

    def _failed(self, error: Exception) -> Unavailable:
        reason = str(error) or type(error).__name__
        if isinstance(error, LinkError | LinkTimeout | OSError | RuntimeError):
            # Whatever answers next may have another clock.
            self._clock.forget()
            return self.condition.lost(reason)
        return self.condition.refused(reason)


def pool(url: str, timeout: float | None) -> ConnectionPool:
    return ConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=timeout,
        max_connections=64,
    )
