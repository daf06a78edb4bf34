"""The stored form of an item, for code that reads it outside of a script.

Owns the decoding, of which ``layout.lua`` is the other half, and the folder of the scripts. Does not depend
on how the bytes are read.
"""

from importlib import resources
from typing import NamedTuple

import msgpack

LUA = resources.files("tallycast.ledger") / "lua"


class Stored(NamedTuple):
    """An item's state.

    ``counts`` are those of its members, for every kind that ever had a reaction or was imported, in the order
    of their numbers. ``bases`` are the counts that it started from, for the same kinds.
    """

    version: int
    frozen: bool
    generation: int
    buckets: int
    counts: dict[str, int]
    bases: dict[str, int]

    def shown(self, kind: str) -> int:
        """The count that is shown."""
        return self.counts.get(kind, 0) + self.bases.get(kind, 0)


def bucket_of(member: bytes, buckets: int) -> int:
    """The bucket of a member, where there are so many buckets."""
    bits = (buckets - 1).bit_length()
    bucket = int.from_bytes(member[:3]) % (1 << bits)
    return bucket if bucket < buckets else bucket - (1 << bits - 1)


UNTOUCHED = Stored(0, False, 0, 1, {}, {})


def unpack(stored: bytes | None) -> Stored:
    """Decode a state as it is stored."""
    if not stored:
        return UNTOUCHED
    unpacker = msgpack.Unpacker()
    unpacker.feed(stored)
    version, frozen, generation, buckets, bases, *pairs = unpacker
    if isinstance(frozen, list):
        frozen = frozen[0]  # the rest is for the scripts: the item is being counted
    kinds, shown = pairs[::2], pairs[1::2]
    # A kind that was added after the bases has none.
    below = [*(bases or ()), *[0] * len(kinds)][: len(kinds)]
    return Stored(
        version,
        bool(frozen),
        generation,
        buckets,
        {kind: count - base for kind, count, base in zip(kinds, shown, below, strict=True)},
        dict(zip(kinds, below, strict=True)),
    )
