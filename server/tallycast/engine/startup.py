"""The start of a link to an engine: waits until it serves, and checks that it can be used.

Owns what is checked first, and the secret that all workers share. Does not depend on how the engine is
reached.
"""

import asyncio
import math
import time
from secrets import token_bytes
from typing import Any

import structlog
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, ResponseError

from tallycast.engine.failover import FAILURES, is_sign
from tallycast.engine.keys import LAYOUT_VERSION
from tallycast.engine.preflight import facts as preflight
from tallycast.engine.preflight.requirements import demoted, unusable
from tallycast.engine.preflight.safety import missing_rights
from tallycast.engine.store import Admin, EngineError

# Seconds between two log lines about an engine that is waited for.
LOG_INTERVAL = 20.0
RETRY_INTERVAL = 0.1

_log = structlog.get_logger("engine")


async def identify(store: Admin) -> str:
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
        # A cluster's slot map says which nodes are primaries, and may be older than a failover, too.
        if (reason := demoted(facts)) is not None:
            raise ReadOnlyError(reason)
        found = f"{facts.product} {facts.version}"
    return found


async def check_layout(store: Admin) -> None:
    """Check that this version can read what is stored; note its layout where nothing is stored yet.

    Raises:
        EngineError: another version wrote it.
        RedisError, OSError: it does not answer.
    """
    # The layout is noted before the secret is made.
    names = store.namespace
    if not await store.execute_raw("EXISTS", names.secret):
        await store.execute_raw("SET", names.layout, LAYOUT_VERSION, "NX")
    found: Any = await store.execute_raw("GET", names.layout)
    if found != LAYOUT_VERSION:
        other = (found or b"1").decode(errors="replace")
        raise EngineError(
            f"the engine holds data of another version of Tallycast, in layout {other} instead of "
            f"{LAYOUT_VERSION.decode()}: use that version, or start with an empty folder or database"
        )


async def make_secret(store: Admin) -> bytes:
    """The secret that signs anonymous visitors' tokens: made once, shared by all workers and servers.

    Written only where there is none, so that a worker can be restarted while the engine accepts no writes.

    Raises:
        RedisError, OSError: it does not answer.
    """
    name = store.namespace.secret
    secret = await store.execute_raw("GET", name)
    if secret is None:
        await store.execute_raw("SET", name, token_bytes(32), "NX")
        secret = await store.execute_raw("GET", name)
    assert isinstance(secret, bytes)
    return secret


async def _identify_and_check(store: Admin, *, strict: bool) -> str:
    """As ``identify``; missing rights are noted in ``health``, or raised where ``strict``."""
    await store.discover()
    try:
        version = await identify(store)
    except FAILURES:
        # Where it is a right to connect that is missing, all missing rights are named together.
        if missing := await missing_rights(store):
            raise EngineError(missing) from None
        raise
    missing = await missing_rights(store)
    if missing and strict:
        raise EngineError(missing)
    store.health.set_missing_rights(missing)
    return version


async def wait_until_ready(store: Admin, patience: float, *, strict: bool = True) -> bytes:
    """Wait until the engine serves.

    Args:
        patience: for how long (s) an engine may not answer, or say that another may serve, as in a failover.
            One that loads its data gets as long as it needs, one that refuses the connection none.
        strict: raise where rights are missing, instead of noting them in ``health``.

    Returns:
        The secret that the engine keeps for all workers.

    Raises:
        EngineError: it does not serve.
    """
    limit = time.monotonic() + patience
    logged_at = -math.inf
    while True:
        try:
            version = await _identify_and_check(store, strict=strict)
            await check_layout(store)
            secret = await make_secret(store)
        except FAILURES as error:
            # While it connects, redis-py wraps the original error.
            cause = error.__cause__ or error
            reason = str(cause) or type(cause).__name__
            if isinstance(cause, BusyLoadingError):
                reason, limit = "it is loading its data", time.monotonic() + patience
            elif is_sign(cause):
                # A worker may be started in the middle of a failover.
                store.reconnect()
            elif isinstance(cause, AuthenticationError | ResponseError):
                raise EngineError(f"the engine refuses: {reason}") from None
        else:
            if logged_at > -math.inf:
                _log.info("engine ready", version=version)
            return secret
        if time.monotonic() > limit:
            what = "refuses" if isinstance(cause, ResponseError) else "does not answer"
            raise EngineError(f"the engine {what}: {reason}")
        if time.monotonic() - logged_at >= LOG_INTERVAL:
            logged_at = time.monotonic()
            _log.warning("waiting for the engine", reason=reason)
        await asyncio.sleep(RETRY_INTERVAL)
