"""How an item is stored, for those who read it outside of a script. ``layout.lua`` is the other half.

Must not know where the bytes come from.
"""

from typing import NamedTuple

import msgpack

from server.ledger import keys

# Rises when data that was written before could be misread.
VERSION = b"2"


class Stored(NamedTuple):
    """An item's state. ``counts`` has every kind that was ever held, in the order of their numbers."""

    version: int
    frozen: bool
    generation: int
    buckets: int
    counts: dict[str, int]

    def bucket_keys(self, site: str, item: str) -> list[bytes]:
        """Where its members are; the first holds the state, too, under the empty field."""
        numbers = range(1, self.buckets)
        return [
            keys.item_key(site, item),
            *(keys.bucket_key(site, item, self.generation, number) for number in numbers),
        ]


UNTOUCHED = Stored(0, False, 0, 1, {})


def unpack(stored: bytes | None) -> Stored:
    """A state, from what is stored of it."""
    if not stored:
        return UNTOUCHED
    version, frozen, generation, buckets, *pairs = msgpack.unpackb(stored)
    return Stored(version, bool(frozen), generation, buckets, dict(zip(pairs[::2], pairs[1::2], strict=True)))
