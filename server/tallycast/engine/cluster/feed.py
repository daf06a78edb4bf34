"""The feed of a cluster: a feed for each primary, and each channel at the primary of its slot.

Owns which channel is subscribed to at which node while slots move. A channel whose slot moves is subscribed
to at the new node, and that confirmation, as any, is followed by a read of the stored state. Does not depend
on what is published.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from itertools import count
from secrets import token_hex

from redis.crc import key_slot
from redis.exceptions import MovedError

from tallycast.engine.cluster.node import Node
from tallycast.engine.cluster.slots import Slots
from tallycast.engine.feed import FeedListener, NodeFeed
from tallycast.engine.keys import Namespace


@dataclass(slots=True)
class _Subscription:
    """A channel's slot, and the node where it is subscribed to; ``None`` while no node is known for it."""

    slot: int
    node: Node | None = None


class ClusterFeed:
    """See ``Feed``."""

    def __init__(self, slots: Slots, listener: FeedListener, namespace: Namespace) -> None:
        self._slots = slots
        self._namespace = namespace
        self._listener = listener
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._feeds: dict[Node, tuple[NodeFeed, asyncio.Task[None]]] = {}

    @property
    def up(self) -> bool:
        """See ``Feed``."""
        return bool(self._feeds) and all(feed.up for feed, _ in self._feeds.values())

    def subscribe(self, channel: bytes) -> None:
        """See ``Feed``."""
        if channel not in self._subscriptions:
            subscription = self._subscriptions[channel] = _Subscription(key_slot(channel))
            self._subscribe_at_owner(channel, subscription)

    def unsubscribe(self, channel: bytes) -> None:
        """See ``Feed``."""
        subscription = self._subscriptions.pop(channel, None)
        if subscription is not None and subscription.node in self._feeds:
            self._feeds[subscription.node][0].unsubscribe(channel)

    async def run(self) -> None:
        """See ``Feed``; ends with the error of a node's feed that ends with one."""
        try:
            while True:
                moved = self._slots.moved.next()
                self._rearrange()
                tasks = [task for _, task in self._feeds.values()]
                waiting = asyncio.create_task(moved.wait())
                done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                for task in done - {waiting}:
                    if not task.cancelled():
                        task.result()
        finally:
            for _, task in self._feeds.values():
                task.cancel()

    def _rearrange(self) -> None:
        """Adapt feeds and subscriptions to the present owners of the slots."""
        primaries = set(self._slots.primaries)
        for node in primaries - self._feeds.keys():
            heartbeat_channel, on_moved = partial(self._heartbeat_channel, node), partial(self._moved, node)
            feed = NodeFeed(node, self._listener, self._namespace, heartbeat_channel, on_moved)
            self._feeds[node] = feed, asyncio.get_running_loop().create_task(feed.run())
        for channel, subscription in self._subscriptions.items():
            self._subscribe_at_owner(channel, subscription)
        for node in self._feeds.keys() - primaries:
            self._feeds.pop(node)[1].cancel()

    def _subscribe_at_owner(self, channel: bytes, subscription: _Subscription) -> None:
        owner = self._slots.owner(subscription.slot)
        # A node without a feed gets its channels when its feed is made.
        node = owner if owner in self._feeds else None
        if node is subscription.node:
            return
        if subscription.node in self._feeds:
            self._feeds[subscription.node][0].unsubscribe(channel)
        subscription.node = node
        if node is not None:
            self._feeds[node][0].subscribe(channel)

    def _moved(self, node: Node, redirection: MovedError | None) -> None:
        address = None if redirection is None else node.resolve(redirection.host, redirection.port)
        if redirection is None or address is None:
            self._slots.refresh()
        else:
            self._slots.correct(redirection.slot_id, address)

    def _heartbeat_channel(self, node: Node) -> bytes:
        """A channel for the heartbeat of a node, in one of its slots."""
        token = token_hex(8)
        names = (self._namespace.heartbeat_channel(f"{token}.{number}") for number in count())
        return self._slots.first_owned(node, names) if node in self._slots.primaries else next(names)
