"""The slot map of a cluster: which node owns which slot.

Owns the map, and the links to the nodes. Does not depend on what is sent to them.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from redis.crc import key_slot

from tallycast.engine.cluster.node import LostError, Node, NotSentError
from tallycast.engine.connection_pool import Pool
from tallycast.engine.failover import ChangeSignal

SLOTS = 16384
REPLY_TIMEOUT = 1.0
# The least time (s) between two reads of the map.
REFRESH_INTERVAL = 0.1

_log = structlog.get_logger("engine")


class Slots:
    """The map as it was last read, or corrected by a redirection.

    ``moved`` fires when slots have other owners.

    Args:
        url: names a node to begin with.
        pool: makes the connections to the node at a URL.
    """

    def __init__(self, url: str, pool: Callable[[str], Pool]) -> None:
        self.moved = ChangeSignal()
        # The nodes that own slots.
        self.primaries: list[Node] = []
        self._url = urlsplit(url)
        self._pool = pool
        self._owners: list[Node | None] = [None] * SLOTS
        self._nodes: dict[str, Node] = {}
        self._seed = f"{self._url.hostname}:{self._url.port or 6379}"
        self._reading: asyncio.Task[None] | None = None
        self._read_at = -REFRESH_INTERVAL

    @property
    def seed(self) -> Node:
        """The node that the URL names."""
        return self.node(self._seed)

    def owner(self, slot: int) -> Node | None:
        """The node that owns a slot, as far as is known."""
        return self._owners[slot]

    def first_owned(self, node: Node, names: Iterable[bytes]) -> bytes:
        """The first of these names in a slot of a primary."""
        assert node in self.primaries
        return next(name for name in names if self._owners[key_slot(name)] is node)

    def node(self, address: str) -> Node:
        """The node at ``host:port``."""
        if address not in self._nodes:
            host, _, port = address.rpartition(":")
            user, at, _ = self._url.netloc.rpartition("@")
            netloc = f"{user}{at}[{host}]:{port}" if ":" in host else f"{user}{at}{host}:{port}"
            url = urlunsplit(self._url._replace(netloc=netloc))
            self._nodes[address] = Node(address, self._pool(url))
        return self._nodes[address]

    def correct(self, slot: int, address: str) -> None:
        """Learn a slot's owner from a redirection. Other slots are likely to have moved, too."""
        node = self.node(address)
        if self._owners[slot] is not node:
            self._owners[slot] = node
            self._changed()
        self.refresh()

    def refresh(self) -> None:
        """Read the map again soon."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def read(self) -> None:
        """Read the map; returns when it was read, or could not be."""
        self.refresh()
        assert self._reading is not None
        await asyncio.shield(self._reading)

    async def close(self) -> None:
        """Close all links."""
        if self._reading is not None:
            self._reading.cancel()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._read_at + REFRESH_INTERVAL - loop.time())
            known = [node.address for node in self.primaries]
            random.shuffle(known)
            # A node that cannot serve may be cut off from the others, and take itself for a primary.
            known.sort(key=lambda address: self._nodes[address].failing)
            # A node that just became a replica knows as much as others; the seed may have a new address.
            for address in (*known, *(self._nodes.keys() - set(known)), self._seed):
                try:
                    (reply,) = await self.node(address).call(("CLUSTER", "SLOTS"), within=REPLY_TIMEOUT)
                except (NotSentError, LostError):
                    continue
                if isinstance(reply, list) and reply:
                    self._replace(reply, self.node(address))
                    return
        finally:
            self._read_at = loop.time()
            self._reading = None

    def _replace(self, reply: list[list[Any]], source: Node) -> None:
        """Replace the map by the reply to CLUSTER SLOTS that ``source`` gave."""
        owners: list[Node | None] = [None] * SLOTS
        for start, end, (host, port, _, *more), *_ in reply:
            address = source.resolve((host or b"").decode(), port)
            if address is None:
                # It has no name, where names are preferred; the rest of its metadata follows, in pairs.
                metadata = more[0] if more else []
                host = dict(zip(metadata[::2], metadata[1::2], strict=True)).get(b"ip", b"")
                address = source.resolve(host.decode(), port)
                assert address is not None
            owners[start : end + 1] = [self.node(address)] * (end - start + 1)
        if owners != self._owners:
            self._owners = owners
            self._changed()

    def _changed(self) -> None:
        before = {node.address for node in self.primaries}
        self.primaries = list(dict.fromkeys(node for node in self._owners if node is not None))
        now = {node.address for node in self.primaries}
        if now != before:
            _log.info("cluster primaries changed", nodes=sorted(now))
        self.moved.fire()
