"""Signs of a failover: a connection that stays open, and no longer leads to the engine that serves.

Owns which answers are such signs, the pauses between reconnects, and the watch on a host name. Does not
depend on what is sent, nor on how connections are made.
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
)

# Pauses (s) between reconnects: the first one comes at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
RESOLVE_WITHIN = 2.0

_ERRORS = (ReadOnlyError, BusyLoadingError, MasterDownError, ClusterDownError)
# The same within another error: of a script, of WAIT, of a command that was blocked during the demotion.
_SIGN = re.compile(
    r"(?:^|[\s:'])-?(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|UNBLOCKED) |WAIT cannot be used with replica"
)


def is_sign(error: BaseException) -> bool:
    """Whether an error says that another engine may serve by now, where the name leads."""
    return isinstance(error, _ERRORS) or _SIGN.search(str(error)) is not None


class Backoff:
    """Pauses between reconnects: they grow until something is confirmed."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = -math.inf

    @property
    def waiting(self) -> bool:
        """Whether there was a reconnect, and nothing confirmed since."""
        return self._pause > 0

    def due(self) -> bool:
        """Whether to reconnect now; if so, the next pause begins."""
        now = time.monotonic()
        if now < self._until:
            return False
        self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
        # Servers that see the same failover reconnect a little apart from one another.
        self._until = now + self._pause * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
        return True

    def reset(self) -> None:
        """Something was confirmed."""
        self._pause, self._until = 0.0, -math.inf


class HostName:
    """The host name of an engine. ``None`` and literal addresses, which never change, are not resolved."""

    def __init__(self, host: str | None) -> None:
        self._host = None if host is None or _is_address(host) else host
        self._missing: set[str] = set()

    async def moved_from(self, peers: Iterable[str]) -> bool:
        """Whether the name, at this look and at the one before, did not lead to one of these addresses.

        A name that cannot be resolved says nothing.
        """
        if self._host is None:
            return False
        connected = set(peers)
        missing = connected - await self._addresses(self._host, connected)
        # One answer is not enough: it may be an incomplete one.
        moved = not missing.isdisjoint(self._missing)
        self._missing = missing
        return moved

    async def _addresses(self, host: str, unknown: set[str]) -> set[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_WITHIN):
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            return unknown
        return {str(address[0]) for *_, address in found}


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
