"""The feeds of a cluster: one for each node that has slots, and each channel with the node of its slot.

Owns who follows what where, while slots move. A channel that goes to another node is followed there, and
every confirmation is followed by a read of what is stored, as always. Must not know what is published.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from itertools import count
from secrets import token_hex

from redis.crc import key_slot
from redis.exceptions import MovedError

from tallycast.engine.cluster.node import Node
from tallycast.engine.cluster.store import ClusterEngine
from tallycast.engine.feed import Feed, Listener


@dataclass(slots=True)
class _Place:
    """Where a channel is followed; ``None``: nobody has its slot."""

    slot: int
    node: Node | None = None


class ClusterFeed:
    """As ``Feed``, on a cluster."""

    def __init__(self, engine: ClusterEngine, listener: Listener) -> None:
        self._slots = engine.slots
        self._namespace = engine.namespace
        self._listener = listener
        self._places: dict[bytes, _Place] = {}
        self._feeds: dict[Node, tuple[Feed, asyncio.Task[None]]] = {}
        self._over = asyncio.Event()
        self._slots.moved = self._rearrange

    @property
    def up(self) -> bool:
        """Whether all links are known to work."""
        return bool(self._feeds) and all(feed.up for feed, _ in self._feeds.values())

    def follow(self, channel: bytes) -> None:
        """As ``Feed.follow``."""
        if channel not in self._places:
            place = self._places[channel] = _Place(key_slot(channel))
            self._put(channel, place)

    def leave(self, channel: bytes) -> None:
        """As ``Feed.leave``."""
        place = self._places.pop(channel, None)
        if place is not None and place.node in self._feeds:
            self._feeds[place.node][0].leave(channel)

    async def run(self) -> None:
        """Keep the links up until cancelled, or until one cannot go on."""
        self._rearrange()
        try:
            while True:
                tasks = [task for _, task in self._feeds.values()]
                changed = asyncio.create_task(self._over.wait())
                done, _ = await asyncio.wait([changed, *tasks], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self._over.clear()
                for task in done - {changed}:
                    if not task.cancelled():
                        task.result()
        finally:
            for _, task in self._feeds.values():
                task.cancel()

    def _rearrange(self) -> None:
        """Slots have other nodes: follow what they have there."""
        primaries = set(self._slots.primaries)
        for node in primaries - self._feeds.keys():
            pulse, moved = partial(self._pulse, node), partial(self._moved, node)
            feed = Feed(node, self._listener, self._namespace, pulse, moved)
            node.moved = feed.reconnect
            self._feeds[node] = feed, asyncio.get_running_loop().create_task(feed.run())
        for channel, place in self._places.items():
            self._put(channel, place)
        for node in self._feeds.keys() - primaries:
            self._feeds.pop(node)[1].cancel()
        self._over.set()

    def _put(self, channel: bytes, place: _Place) -> None:
        owner = self._slots.owner(place.slot)
        # One whose feed is about to be made gets it then.
        node = owner if owner in self._feeds else None
        if node is place.node:
            return
        if place.node in self._feeds:
            self._feeds[place.node][0].leave(channel)
        place.node = node
        if node is not None:
            self._feeds[node][0].follow(channel)

    def _moved(self, node: Node, refusal: MovedError | None) -> None:
        address = None if refusal is None else node.named(refusal.host, refusal.port)
        if refusal is None or address is None:
            self._slots.doubt()
        else:
            self._slots.correct(refusal.slot_id, address)

    def _pulse(self, node: Node) -> bytes:
        """A channel for the heartbeat to a node, in one of its slots."""
        token = token_hex(8)
        names = (self._namespace.pulse_channel(f"{token}.{number}") for number in count())
        return self._slots.name(node, names) if node in self._slots.primaries else next(names)
