"""Signs of a failover: a connection stays open, and no longer leads to the engine that serves.

Owns which errors are such signs, the pauses between reconnects, the watch on a host name, and the signal that
connections lead elsewhere. Does not depend on what is sent, nor on how connections are made.
"""

import asyncio
import math
import random
import re
import socket
import time
from collections.abc import Iterable
from ipaddress import ip_address

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
)

# What a call to the engine may raise. uvloop raises RuntimeError where a connection was closed during a
# write.
FAILURES = (RedisError, OSError, RuntimeError)

# Pauses (s) between reconnects; before the first one there is none.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
RESOLVE_TIMEOUT = 2.0

_ERRORS = (ReadOnlyError, BusyLoadingError, MasterDownError, ClusterDownError)
# The same within another error: of a script, of WAIT, of a command that was blocked during the demotion.
_SIGN = re.compile(
    r"(?:^|[\s:'])-?(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|UNBLOCKED) |WAIT cannot be used with replica"
)


def is_sign(error: BaseException) -> bool:
    """Whether an error says that by now another engine may serve at the host name."""
    return isinstance(error, _ERRORS) or _SIGN.search(str(error)) is not None


class ChangeSignal:
    """Wakes up all that wait for the next change."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def next(self) -> asyncio.Event:
        """The event of the next change. Taken before the state is read, it misses none."""
        return self._next

    def fire(self) -> None:
        """Announce a change."""
        event, self._next = self._next, asyncio.Event()
        event.set()


class Backoff:
    """Pauses between reconnects: they grow until a call succeeds."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = -math.inf

    @property
    def waiting(self) -> bool:
        """Whether there was a reconnect, and no success since."""
        return self._pause > 0

    def due(self) -> bool:
        """Whether to reconnect now; if so, the next pause begins."""
        now = time.monotonic()
        if now < self._until:
            return False
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        # Servers that see the same failover must not all reconnect at the same moment.
        self._until = now + self._pause * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
        return True

    def reset(self) -> None:
        """A call succeeded."""
        self._pause, self._until = 0.0, -math.inf


class HostName:
    """The host name of an engine. ``None`` and literal addresses, which never change, are not resolved."""

    def __init__(self, host: str | None) -> None:
        self._host = None if host is None or _is_address(host) else host
        self._missing: set[str] = set()

    async def moved_from(self, peers: Iterable[str]) -> bool:
        """Whether the name, now and at the previous call, did not resolve to one of these addresses.

        A name that cannot be resolved counts as unchanged.
        """
        if self._host is None:
            return False
        connected = set(peers)
        missing = connected - await self._resolve(self._host, connected)
        # One answer is not enough: it may be incomplete.
        moved = not missing.isdisjoint(self._missing)
        self._missing = missing
        return moved

    async def _resolve(self, host: str, fallback: set[str]) -> set[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return fallback
        return {str(address[0]) for *_, address in found}


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
