"""The interface of the engine, split by its users; implemented by ``standalone`` and ``cluster.store``.

Owns the contract: what each call does, what it raises, and when it may take effect. Does not depend on how an
engine is reached.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection

from tallycast.config.errors import StartError
from tallycast.engine.feed import Feed, FeedListener
from tallycast.engine.health import EngineHealth
from tallycast.engine.keys import Namespace
from tallycast.engine.scripts import Script

Word = bytes | str | int


class EngineError(StartError):
    """The engine cannot be started or used. ``str(error)`` is one line for the operator."""


class Scripts(Protocol):
    """Atomic reads and writes: for the writer and the reader of reactions.

    ``namespace`` makes the names of all keys and channels. Where the store is ``partitioned``, the keys of
    one script must have one slot.
    """

    namespace: Namespace

    @property
    def partitioned(self) -> bool:
        """Whether keys are spread over the nodes of a cluster."""

    def partition(self, keys: Sequence[bytes]) -> list[list[int]]:
        """The indexes of these keys, in groups of which each may be in one script."""

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: Word) -> bytes:
        """Run a script. Loads it where the engine does not know it, in which case nothing ran.

        Raises:
            Unavailable: no reply in time, or the engine cannot serve. It may have taken effect.
        """

    async def commit(
        self, script: Script, keys: Sequence[bytes], *arguments: Word, until: float | None = None
    ) -> Any:
        """Run a script that takes effect before its deadline or never, confirmed by the replicas.

        The script's first argument is the deadline in the engine's time (µs). It returns MessagePack:
        ``[now]`` past the deadline, else ``[now, answer]``; on a cluster followed by what is still to be
        published; then by the keys of items, if any, whose counts cannot be those of their members.

        Args:
            until: the deadline (s, monotonic clock); by default ``clock.DEADLINE`` from now.

        Returns:
            The script's answer.

        Raises:
            Unavailable: not confirmed in time. It may have taken effect; it will not do so later.
        """

    async def await_deadlines(self) -> None:
        """Wait until reactions of which only the first of two scripts ran are complete, or refused."""


class Commands(Protocol):
    """Single commands, and the keyspace: for administration, audits and background work."""

    namespace: Namespace

    async def execute(self, *words: Word) -> Any:
        """Run one command; its first argument is the key.

        Raises:
            Unavailable: as for ``Scripts.run``.
        """

    def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """The keys that match a glob pattern, in pages for which about ``count`` keys are examined.

        A key may be returned twice.

        Raises:
            Unavailable: as for ``Scripts.run``.
        """

    async def size(self) -> int:
        """The number of keys.

        Raises:
            Unavailable: as for ``Scripts.run``.
        """


class Data(Scripts, Commands, Protocol):
    """Scripts and single commands."""


class Primary(Protocol):
    """One engine, or one primary of a cluster; ``address`` is empty where there is only one."""

    @property
    def address(self) -> str:
        """Its host and port."""

    @property
    def sharded(self) -> bool:
        """Whether it is a node of a cluster."""

    def connection(self) -> AbstractConnection:
        """A new connection, not yet connected."""

    async def execute_raw(self, *words: Word) -> Any:
        """Run one command.

        Raises:
            RedisError, OSError: as redis-py does.
        """


class Admin(Protocol):
    """Discovery, settings and rights: for the start and the health checks.

    ``replicas`` is how many must confirm each commit.
    """

    health: EngineHealth
    namespace: Namespace
    replicas: int

    async def discover(self) -> None:
        """Find the nodes of a cluster.

        Raises:
            EngineError: the engine is no cluster.
            RedisError, OSError: it does not answer, or not yet.
        """

    def primaries(self) -> Sequence[Primary]:
        """The engine, or every known primary of a cluster."""

    def probe_keys(self) -> list[bytes]:
        """Keys that nothing is stored under, one on each primary."""

    async def execute_raw(self, *words: Word) -> Any:
        """Run one command; failures are raised as redis-py does.

        Raises:
            RedisError, OSError: as redis-py does.
        """

    def reconnect(self) -> None:
        """Close connections, each when its command has ended; new ones resolve the host name again."""


class Store(Data, Admin, Protocol):
    """A link to an engine or a cluster: all of the above, the engine's time, and the link's own life."""

    def age(self, version: int) -> float | None:
        """How long ago (s) a version (µs since 1970) was committed; ``None`` while the clock is unknown."""

    def feed(self, listener: FeedListener) -> Feed:
        """The feed of what is published; its ``run`` is to be started."""

    async def maintain(self) -> None:
        """Refresh the clock, the host name's address and a cluster's slots now and then, until cancelled."""

    async def close(self) -> None:
        """Close every connection."""
