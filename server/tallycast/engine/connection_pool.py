"""Connections to one engine, or one node of a cluster, and how long each call on them may take.

Owns their options. Retries are off: redis-py repeats a command whose reply was lost, and a lost reply means
that the outcome is unknown. Does not depend on what is sent.
"""

from typing import Any
from weakref import WeakSet

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tallycast.engine.clock import DEADLINE

CONNECT_TIMEOUT = 1.0
# A reply is awaited for this much longer (s) than the commit may take effect.
REPLY_GRACE = 0.25
REPLY_TIMEOUT = DEADLINE + REPLY_GRACE
# How long (ms) replicas have to confirm: within the reply timeout.
REPLICA_TIMEOUT = 1000
MAINTENANCE_INTERVAL = 5.0


class Pool(ConnectionPool):
    """A connection pool that knows the addresses of its peers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._made: WeakSet[AbstractConnection] = WeakSet()
        super().__init__(*arguments, **options)

    def make_connection(self) -> AbstractConnection:
        """A connection, not yet connected."""
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        self._made.add(connection)
        return connection

    def peers(self) -> set[str]:
        """The IP addresses of the engines that connections are open to, by TCP."""
        return {peer for connection in self._made if (peer := connection.getpeername())}


def pool(url: str, timeout: float | None) -> Pool:
    """A pool of connections to the engine at ``url``, without retries; ``timeout`` (s) is for its replies."""
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
