"""Which node of a cluster has which slot.

Owns the map, and the links to the nodes. Must not know what is sent to them.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from redis.crc import key_slot

from tallycast.engine.cluster.node import LostError, Node, NotSentError
from tallycast.engine.standalone import Pool

SLOTS = 16384
ANSWER_WITHIN = 1.0
# The map is not read again within this time (s), however many ask for it.
FRESH = 0.1

_log = structlog.get_logger("engine")


class Slots:
    """The map as it was last read, or corrected by a node. ``url`` names a node to begin with.

    ``pool`` makes the connections to the node at a URL. ``moved`` is called when slots have other owners.
    """

    def __init__(self, url: str, pool: Callable[[str], Pool]) -> None:
        self._url = urlsplit(url)
        self._pool = pool
        self._owners: list[Node | None] = [None] * SLOTS
        # The nodes that have slots.
        self.primaries: list[Node] = []
        self._nodes: dict[str, Node] = {}
        self._seed = f"{self._url.hostname}:{self._url.port or 6379}"
        self._reading: asyncio.Task[None] | None = None
        self._read_at = -FRESH
        self.moved: Callable[[], None] = lambda: None

    @property
    def first(self) -> Node:
        """The node that was named at the start."""
        return self.node(self._seed)

    def owner(self, slot: int) -> Node | None:
        """The node that has a slot, as far as is known."""
        return self._owners[slot]

    def name(self, node: Node, names: Iterable[bytes]) -> bytes:
        """The first of these names in a slot that a primary has."""
        assert node in self.primaries
        return next(name for name in names if self._owners[key_slot(name)] is node)

    def node(self, address: str) -> Node:
        """The node at ``host:port``."""
        if address not in self._nodes:
            host, _, port = address.rpartition(":")
            user, at, _ = self._url.netloc.rpartition("@")
            place = f"{user}{at}[{host}]:{port}" if ":" in host else f"{user}{at}{host}:{port}"
            url = urlunsplit(self._url._replace(netloc=place))
            self._nodes[address] = Node(address, self._pool(url))
        return self._nodes[address]

    def correct(self, slot: int, address: str) -> None:
        """A node has said who has the slot now. Others are likely to have moved, too."""
        node = self.node(address)
        if self._owners[slot] is not node:
            self._owners[slot] = node
            self._changed()
        self.doubt()

    def doubt(self) -> None:
        """Read the map again soon."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def read(self) -> None:
        """Wait until the map was read again, or could not be."""
        self.doubt()
        assert self._reading is not None
        await asyncio.shield(self._reading)

    async def close(self) -> None:
        """End all links."""
        if self._reading is not None:
            self._reading.cancel()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(self._read_at + FRESH - loop.time())
            known = [node.address for node in self.primaries]
            random.shuffle(known)
            # One that cannot serve may be cut off from the others, and take itself for a primary.
            known.sort(key=lambda address: self._nodes[address].doubted)
            # A node that just became a replica knows as much as others; the first one may have a new address.
            for address in (*known, *(self._nodes.keys() - set(known)), self._seed):
                try:
                    (reply,) = await self.node(address).call(("CLUSTER", "SLOTS"), within=ANSWER_WITHIN)
                except (NotSentError, LostError):
                    continue
                if isinstance(reply, list) and reply:
                    self._take(reply, self.node(address))
                    return
        finally:
            self._read_at = loop.time()
            self._reading = None

    def _take(self, reply: list[list[Any]], asked: Node) -> None:
        owners: list[Node | None] = [None] * SLOTS
        for start, end, (host, port, _, *more), *_ in reply:
            address = asked.named((host or b"").decode(), port)
            if address is None:
                # It has no name, where names are preferred; what else is known of it follows, in pairs.
                others = more[0] if more else []
                host = dict(zip(others[::2], others[1::2], strict=True)).get(b"ip", b"")
                address = asked.named(host.decode(), port)
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
            _log.info("the cluster's primaries", nodes=sorted(now))
        self.moved()
