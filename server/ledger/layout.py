"""How an item is stored, for those who read it outside of a script. ``layout.lua`` is the other half.

Must not know where the bytes come from.
"""

from typing import NamedTuple

import msgpack

from server.ledger import keys

# Rises when data that was written before could be misread.
VERSION = b"3"


class Stored(NamedTuple):
    """An item's state.

    ``counts`` are those of its members, and have every kind that was ever held or imported, in the order of
    their numbers. ``bases`` are the counts that it started from, of the same kinds.
    """

    version: int
    frozen: bool
    generation: int
    buckets: int
    counts: dict[str, int]
    bases: dict[str, int]

    def shown(self, kind: str) -> int:
        """The count that everybody sees."""
        return self.counts.get(kind, 0) + self.bases.get(kind, 0)

    def bucket_keys(self, site: str, item: str) -> list[bytes]:
        """Where its members are; the first holds the state, too, under the empty field."""
        numbers = range(1, self.buckets)
        return [
            keys.item_key(site, item),
            *(keys.bucket_key(site, item, self.generation, number) for number in numbers),
        ]


UNTOUCHED = Stored(0, False, 0, 1, {}, {})


def unpack(stored: bytes | None) -> Stored:
    """A state, from what is stored of it."""
    if not stored:
        return UNTOUCHED
    version, frozen, generation, buckets, *more = msgpack.unpackb(stored)
    kinds, counts, bases = more[::3], more[1::3], more[2::3]
    return Stored(
        version,
        bool(frozen),
        generation,
        buckets,
        dict(zip(kinds, counts, strict=True)),
        dict(zip(kinds, bases, strict=True)),
    )
