"""What the ledger needs of an engine, or of a cluster of them; and the start, until one serves.

Owns the interface and what is checked first. Must not know how an engine is reached.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from secrets import token_bytes
from typing import Any, Protocol

import structlog
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, RedisError, ResponseError

from tallycast.contract.errors import EngineError
from tallycast.engine.failover import is_sign
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import LAYOUT_VERSION, Namespace
from tallycast.engine.preflight import facts as preflight
from tallycast.engine.preflight import rights
from tallycast.engine.preflight.facts import Primary
from tallycast.engine.preflight.requirements import demoted, unusable
from tallycast.engine.scripts import Script

# uvloop says RuntimeError where a connection was closed under a write.
FAILURES = (RedisError, OSError, RuntimeError)

# Seconds between two lines about an engine that is waited for.
TELL_EVERY = 20.0

Word = bytes | str | int

_log = structlog.get_logger("engine")


class Store(Protocol):
    """An engine or a cluster of them, to the rest of the ledger."""

    health: EngineHealth
    # The names of all that is kept and published there.
    namespace: Namespace
    # How many replicas must confirm a write.
    replicas: int

    async def run(self, script: Script, names: Sequence[bytes], *arguments: Word) -> bytes:
        """Run a script; its reply. Loads it where it is not known, which means that nothing ran.

        Raises:
            Unavailable: no reply in time, or an engine that cannot serve. It may have taken effect.
        """

    async def timed(self, script: Script, names: Sequence[bytes], *arguments: Word) -> Any:
        """Run a script that must not take effect when nobody waits for it any more; its answer.

        The script's first argument is a deadline in the engine's time (µs). It returns MessagePack: ``[now]``
        when it came too late, else ``[now, answer]``; on a cluster with what is still to be published; then
        the items, if there are any, whose counts cannot be those of their members.

        Raises:
            Unavailable: not confirmed in time. It may have taken effect; it will not do so later.
        """

    async def command(self, *words: Word) -> Any:
        """Run one command.

        Raises:
            Unavailable: as for ``run``.
        """

    def names(self, pattern: str, page: int) -> AsyncIterator[list[bytes]]:
        """The names of all keys that fit, in pages of about so many keys looked at. One may come twice.

        Raises:
            Unavailable: as for ``run``.
        """

    async def size(self) -> int:
        """How many keys there are.

        Raises:
            Unavailable: as for ``run``.
        """

    def everywhere(self) -> list[bytes]:
        """Names of keys that nobody uses, one for each node that has any."""

    def groups(self, names: Sequence[bytes]) -> list[list[int]]:
        """Which of these names may be in one call, by their indexes."""

    async def settle(self) -> None:
        """Wait until reactions that were half written a moment ago are written, or never will be."""

    async def raw(self, *words: Word) -> Any:
        """Run one command at the start, and let its failure be told as it is.

        Raises:
            RedisError, OSError: as redis-py does.
        """

    async def find(self) -> None:
        """Find the nodes of a cluster.

        Raises:
            EngineError: it is no cluster.
            RedisError, OSError: it does not answer, or not yet.
        """

    def primaries(self) -> Sequence[Primary]:
        """The engine, or every primary of a cluster that is known."""

    def age(self, version: int) -> float | None:
        """How long ago (s) a version was committed, by the engine's clock; ``None``: it is not known."""

    def reconnect(self) -> None:
        """Close connections, each when its command has ended, and make the next ones by the host name."""

    async def keep_time(self) -> None:
        """Look at its clock now and then, for when nothing else does; until cancelled."""

    async def close(self) -> None:
        """Close every connection."""


async def identify(store: Store) -> str:
    """The name and version of the engine, or of a primary of a cluster.

    Raises:
        EngineError: one cannot be used: it is too old, or not what the settings say.
        ReadOnlyError: one is a replica, perhaps for the moment.
        RedisError, OSError: one does not answer.
    """
    found = ""
    for primary in store.primaries():
        facts = await preflight.facts(primary)
        if (reason := unusable(facts, in_cluster=primary.sharded)) is not None:
            raise EngineError(f"{primary.address}: {reason}" if primary.address else reason)
        # In a cluster the map says which are primaries, and may be older than a failover, too.
        if (reason := demoted(facts)) is not None:
            raise ReadOnlyError(reason)
        found = f"{facts.product} {facts.version}"
    return found


async def missing_rights(store: Store) -> str:
    """Try all commands that are ever used, with their keys and channels, and without any effect.

    Returns which of them a primary refuses, in words, or an empty text.

    Raises:
        RedisError, OSError: one does not answer, or is loading its data.
    """
    for primary in store.primaries():
        refused = await rights.tried(
            primary.connection(), store.namespace, sharded=primary.sharded, replicas=store.replicas
        )
        if refused:
            at = f"{primary.address}: " if primary.address else ""
            return at + rights.told(refused)
    return ""


async def claim(store: Store) -> None:
    """Make sure that this version can read what is stored.

    Raises:
        EngineError: another version wrote it.
        RedisError, OSError: it does not answer.
    """
    # Whoever made the secret had noted the layout before.
    names = store.namespace
    if not await store.raw("EXISTS", names.secret):
        await store.raw("SET", names.layout, LAYOUT_VERSION, "NX")
    found: Any = await store.raw("GET", names.layout)
    if found != LAYOUT_VERSION:
        other = (found or b"1").decode(errors="replace")
        raise EngineError(
            f"the engine holds data of another version of Tallycast, in layout {other} instead of "
            f"{LAYOUT_VERSION.decode()}: use that version, or start with an empty folder or database"
        )


async def make_secret(store: Store) -> bytes:
    """The secret that signs anonymous visitors' tokens: made once, shared by all workers and servers.

    Written only where there is none, so that a worker can be restarted while the engine takes no writes.

    Raises:
        RedisError, OSError: it does not answer.
    """
    name = store.namespace.secret
    secret = await store.raw("GET", name)
    if secret is None:
        await store.raw("SET", name, token_bytes(32), "NX")
        secret = await store.raw("GET", name)
    assert isinstance(secret, bytes)
    return secret


async def _identify_and_check(engine: Store, *, strict: bool) -> str:
    """As ``identify``; the user's rights are noted, or, where ``strict``, checked."""
    await engine.find()
    try:
        version = await identify(engine)
    except FAILURES:
        # If it is a right to connect that is missing, all that are missing are named together.
        if missing := await missing_rights(engine):
            raise EngineError(missing) from None
        raise
    missing = await missing_rights(engine)
    if missing and strict:
        raise EngineError(missing)
    engine.health.lacks(missing)
    return version


async def wait_until_ready(engine: Store, patience: float, *, strict: bool = True) -> bytes:
    """Wait until the engine serves; the secret that it keeps for all workers.

    ``patience`` (s) is for one that does not answer, or says that another may serve: a failover may be under
    way. One that loads its data gets as long as it needs, one that refuses us none. Where not ``strict``,
    rights that are missing are only noted.

    Raises:
        EngineError: it does not serve.
    """
    limit = time.monotonic() + patience
    told = -math.inf
    while True:
        try:
            version = await _identify_and_check(engine, strict=strict)
            await claim(engine)
            secret = await make_secret(engine)
        except FAILURES as error:
            # While it connects, redis-py wraps what went wrong.
            origin = error.__cause__ or error
            reason = str(origin) or type(origin).__name__
            if isinstance(origin, BusyLoadingError):
                reason, limit = "it is loading its data", time.monotonic() + patience
            elif is_sign(origin):
                # A worker may be started in the middle of a failover.
                engine.reconnect()
            elif isinstance(origin, AuthenticationError | ResponseError):
                raise EngineError(f"the engine refuses: {reason}") from None
        else:
            if told > -math.inf:
                _log.info("the engine is ready", version=version)
            return secret
        if time.monotonic() > limit:
            what = "refuses" if isinstance(origin, ResponseError) else "does not answer"
            raise EngineError(f"the engine {what}: {reason}")
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            _log.warning("waiting for the engine", reason=reason)
        await asyncio.sleep(0.1)
