"""The link to the engine: connections, scripts, the engine's clock.

Owns every call to ``redis.asyncio`` but the feed's own connection. Turns every failure of the link or the
engine into ``Unavailable``. Must not know what the scripts do.

Retries are off: redis-py repeats a command whose reply was lost, and a lost reply means that the outcome is
unknown.
"""

import asyncio
import time
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from secrets import token_bytes
from typing import Any

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import TimeoutError as LinkTimeout

from server.errors import EngineError, OutcomeUnknown, Unavailable
from server.ledger import keys, layout
from server.measures import SHORT_TIMES, Histogram

CONNECT_TIMEOUT = 1.0
# A batch may take effect until its deadline; who waits for it waits a little longer, never less.
DEADLINE = 2.0
REPLY_TIMEOUT = DEADLINE + 0.25
RETRY_AFTER = 2.0
COMPLAIN_EVERY = 10.0
# While it loads its data an engine answers some commands: it is only back when this (s) has passed.
SETTLED = 1.0
KEEP_TIME_EVERY = 5.0

# uvloop says RuntimeError where a connection was closed under a write.
FAILURES = (RedisError, OSError, RuntimeError)

_log = structlog.get_logger("engine")


class Script:
    """A Lua script in a file of its own beside this module, with the files it needs ``before`` it."""

    def __init__(self, name: str, *before: str) -> None:
        first, *parts = (Path(__file__).with_name(part).read_text() for part in (name, *before))
        shebang, script = first.split("\n", 1)
        self.text = "\n".join((shebang, *parts, script))
        # SHA-1 is how EVALSHA names a script; nothing rests on its strength.
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Engine:
    """One process's link to the engine at ``url`` (``redis://``, ``rediss://`` or ``unix://``)."""

    def __init__(self, url: str) -> None:
        self._pool = _pool(url, REPLY_TIMEOUT)
        # With a timeout redis-py sends through asyncio.wait_for, which may swallow a cancellation on Python
        # 3.11. The feed has a heartbeat instead.
        self._patient = _pool(url, None)
        self._client = Redis(connection_pool=self._pool)
        self.round_trips = Histogram(SHORT_TIMES)
        self.failures = 0
        self._clock: float | None = None
        self._down = False
        self._announced = False
        self._complained = -COMPLAIN_EVERY

    async def run(self, script: Script, names: Sequence[bytes], *arguments: bytes | str | int) -> bytes:
        """Run a script; its reply. Loads it when the engine does not have it, which means that nothing ran.

        Raises:
            Unavailable: no reply in time, or an engine that cannot serve. It may have taken effect.
        """
        began = time.monotonic()
        try:
            try:
                reply = await self._client.evalsha(script.sha, len(names), *names, *arguments)
            except NoScriptError:
                reply = await self._client.eval(script.text, len(names), *names, *arguments)
        except FAILURES as error:
            raise self._failed(error) from error
        self._answered(began)
        return bytes(reply)

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one command.

        Raises:
            Unavailable: as for ``run``.
        """
        began = time.monotonic()
        try:
            reply = await self._client.execute_command(*words)
        except FAILURES as error:
            raise self._failed(error) from error
        self._answered(began)
        return reply

    async def deadline(self) -> int:
        """Engine time (µs) after which nobody waits for what is sent now.

        The engine's clock is known from its last reply: it was read before that reply arrived, so the
        estimate is never ahead of it, and the deadline never late.
        """
        if self._clock is None:
            await self._read_clock()
        assert self._clock is not None
        return int(self._clock + (time.monotonic() + DEADLINE) * 1e6)

    async def keep_time(self) -> None:
        """Look at the engine's clock now and then, for when nothing else does; until cancelled."""
        while True:
            await asyncio.sleep(KEEP_TIME_EVERY)
            try:
                await self._read_clock()
            except Unavailable:
                pass  # who needs it next asks again

    def tick(self, now: int) -> None:
        """Learn the engine's time (µs) from a reply that has just arrived."""
        self._clock = now - time.monotonic() * 1e6

    def age(self, version: int) -> float | None:
        """How long ago (s) a version was committed, by the engine's clock; ``None``: it is not known."""
        if self._clock is None:
            return None
        return max(0.0, (self._clock - version) / 1e6 + time.monotonic())

    async def claim(self) -> None:
        """Make sure that this version can read what is stored.

        Raises:
            EngineError: another version wrote it.
            RedisError, OSError: it does not answer.
        """
        # Whoever made the secret had noted the layout before.
        if not await self._client.exists(keys.SECRET):
            await self._client.set(keys.LAYOUT, layout.VERSION, nx=True)
        found: Any = await self._client.get(keys.LAYOUT)
        if found != layout.VERSION:
            other = (found or b"1").decode(errors="replace")
            raise EngineError(
                f"the engine holds data of another version of Tallycast, in layout {other} instead of "
                f"{layout.VERSION.decode()}: use that version, or start with an empty folder or database"
            )

    async def secret(self) -> bytes:
        """The secret that signs anonymous visitors' tokens: made once, shared by all workers and nodes."""
        await self._client.set(keys.SECRET, token_bytes(32), nx=True)
        secret = await self._client.get(keys.SECRET)
        assert isinstance(secret, bytes)
        return secret

    async def check(self) -> str:
        """The engine's name and version, once it has loaded its data.

        Raises:
            EngineError: it is too old.
            RedisError, OSError: it does not answer, or not yet.
        """
        # INFO is answered while the data is being loaded; PING is not.
        await self._client.ping()
        info = await self._client.info("server")
        name, version = "Valkey", info.get("valkey_version")
        if version is None:
            name, version = "Redis", str(info["redis_version"])
        # Scripts here declare their flags, which Redis knows since 7.0; every Valkey does.
        if int(str(info["redis_version"]).split(".")[0]) < 7:
            raise EngineError(f"{name} {version} is too old: Redis 7.0, or Valkey 8, or newer is needed")
        return f"{name} {version}"

    async def probe(self) -> None:
        """Publish something that nobody hears.

        Raises:
            RedisError, OSError: it may not, or cannot.
        """
        await self._client.publish(keys.PULSE_PREFIX + b"start", b"")

    def connection(self) -> AbstractConnection:
        """A connection outside the pool, for the feed. Not yet connected."""
        connection: AbstractConnection = self._patient.make_connection()
        return connection

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._client.aclose()
        await self._pool.disconnect()
        await self._patient.disconnect()

    async def _read_clock(self) -> None:
        seconds, micros = await self.command("TIME")
        self.tick(int(seconds) * 1_000_000 + int(micros))

    def _failed(self, error: Exception) -> Unavailable:
        self.failures += 1
        reason = str(error) or type(error).__name__
        if isinstance(error, LinkError | LinkTimeout | OSError | RuntimeError):
            # Whatever answers next may have another clock.
            self._clock = None
            if not self._down and time.monotonic() - self._complained >= COMPLAIN_EVERY:
                self._announced = True
                self._complained = time.monotonic()
                _log.warning("engine unavailable", error=reason)
            self._down = True
            return OutcomeUnknown("the engine did not confirm in time", retry_after=RETRY_AFTER)
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            # It answers, but refuses: out of memory, read-only, a script that is not ours.
            self._complained = time.monotonic()
            _log.error("engine refuses", error=reason)
        return Unavailable("the engine refuses", retry_after=RETRY_AFTER)

    def _answered(self, began: float) -> None:
        self.round_trips.add(time.monotonic() - began)
        self._down = False
        if self._announced and time.monotonic() - self._complained >= SETTLED:
            self._announced = False
            _log.info("engine available again")


async def wait_until_ready(engine: Engine, patience: float) -> bytes:
    """Wait until the engine serves; the secret that it keeps for all workers.

    ``patience`` (s) is for one that does not answer. One that loads its data gets as long as it needs, one
    that refuses us none.

    Raises:
        EngineError: it does not serve.
    """
    limit = time.monotonic() + patience
    told = False
    while True:
        try:
            version = await engine.check()
            # An access list may allow every command and no channel.
            await engine.probe()
            await engine.claim()
            secret = await engine.secret()
        except FAILURES as error:
            # While it connects, redis-py wraps what went wrong.
            origin = error.__cause__ or error
            if isinstance(origin, AuthenticationError | ResponseError):
                raise EngineError(f"the engine refuses: {origin}") from None
            reason = str(origin) or type(origin).__name__
            if isinstance(origin, BusyLoadingError):
                reason, limit = "it is loading its data", time.monotonic() + patience
        else:
            if told:
                _log.info("the engine is ready", version=version)
            return secret
        if time.monotonic() > limit:
            raise EngineError(f"the engine does not answer: {reason}")
        if not told:
            told = True
            _log.warning("waiting for the engine", reason=reason)
        await asyncio.sleep(0.1)


def _pool(url: str, timeout: float | None) -> ConnectionPool:
    return ConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=timeout,
        max_connections=64,
    )
