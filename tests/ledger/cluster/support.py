"""What holds of a cluster, seen from outside."""

import asyncio

from redis.crc import key_slot
from tallycast.contract.errors import Refusal
from tallycast.engine.keys import member
from tallycast.ledger.merge import Merge, Merger

from tests.ledger.support import SITE, stored
from tests.support.cluster import Cluster, Node
from tests.support.names import NAMES


class RecordingListener:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, int]] = []
        self.personals: list[tuple[bytes, str, str | None]] = []
        self.gone: list[bytes] = []
        self.empty: list[tuple[bytes, int]] = []
        self.rereads: list[bytes] = []

    def on_counts(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        self.changes.append((channel, version))

    def on_reaction(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        self.personals.append((channel, item, reaction))

    def on_emptied(self, channel: bytes, version: int) -> None:
        self.empty.append((channel, version))

    def on_retired(self, channel: bytes) -> None:
        self.gone.append(channel)

    async def reread(self, channels: list[bytes]) -> None:
        self.rereads += channels


def check(ring: Cluster, item: str, counts: dict[str, int]) -> None:
    """Counts are the membership, and every index has at least what is held."""
    state, held = stored(ring.owner(NAMES.item_key(SITE.name, item)).client, SITE.name, item)
    counts = {kind: counts.get(kind, 0) for kind in SITE.kinds}
    assert {kind: state.counts.get(kind, 0) for kind in SITE.kinds} == counts
    assert {kind: list(held.values()).count(kind) for kind in SITE.kinds} == counts
    for visitor in held:
        index = NAMES.index_key(SITE.name, visitor)
        assert ring.owner(index).client.zscore(index, item) is not None


def places(ring: Cluster, item: str) -> tuple[int, Node, Node]:
    """An item's slot, its primary, and another primary."""
    source = ring.owner(NAMES.item_key(SITE.name, item))
    target = next(node for node in ring.primaries if node is not source)
    return key_slot(NAMES.item_key(SITE.name, item)), source, target


def followers(node: Node, channel: bytes) -> int:
    """How many follow a channel at a node."""
    return int(node.client.pubsub_shardnumsub(channel)[0][1])


async def merged(merger: Merger, visitor: str, account: str) -> Refusal | None:
    future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
    merger.submit(Merge(SITE.name, member(visitor), member(account), future.set_result))
    return await future
