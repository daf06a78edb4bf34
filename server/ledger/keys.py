"""Names in the engine: keys, channels, members.

    tc:{site:item}       hash    "" -> the item's state, and member -> what it holds: see layout.lua
                         channel MessagePack [version, {kind: count}], and true: nobody holds anything
    tc:{site:item}g.b    hash    member -> what it holds: bucket b of the item in its generation g
    tc:me:site:member    channel MessagePack [item, version, kind or "", origin], or nothing: it is retired
    tc:{@site:member}    zset    item -> when it was last reacted to (µs); a superset of what is held
                         string  of a retired visitor instead, the member it became: a mark, where react.lua
                                 would add an item, and so keeps it from ever holding one again
    …:taken              zset    what of a retired visitor's index is still to be moved
    tc:merges            zset    MessagePack [site, visitor, account] of an unfinished merge -> when somebody
                                 was last at it (s since 1970)
    tc:auditor           string  who audits at present, or that it was done lately; it expires
    tc:layout            string  the version of this layout
    tc:secret            string  the secret that signs anonymous visitors' tokens
    tc:revoked           stream site, member: whose tokens were revoked; its ids are when
    tc:audit             stream who, what, site, item, member, more: what administrators did; its ids are when
    tc:pulse:…           channel a worker's heartbeat to itself
    tc:nowhere…          nothing, ever: a name for a script that needs one

An item's channel has the name of its key, and so its slot on a cluster. A visitor's index lies in a slot of
its own. Site names have neither a colon nor an @, and of all that begins with ``tc:{`` only buckets end in a
digit, so names are unambiguous whatever an item id holds.
"""

import re
from hashlib import blake2b
from typing import NamedTuple

SECRET = "tc:secret"  # noqa: S105  the name of the key, not the secret
MERGES = b"tc:merges"
LAYOUT = "tc:layout"
REVOKED = b"tc:revoked"
AUDITOR = b"tc:auditor"
AUDIT = b"tc:audit"
PERSON_PREFIX = b"tc:me:"
PULSE_PREFIX = b"tc:pulse:"
NOWHERE = b"tc:nowhere"
# Bytes of a member.
MEMBER = 16

_ITEM = re.compile(r"tc:\{([^@:][^:]*):(.+)\}(?:([0-9]+)\.([0-9]+))?", re.DOTALL)


def item_key(site: str, item: str) -> bytes:
    """The key of an item, and the channel on which its counts are published."""
    return f"tc:{{{site}:{item}}}".encode()


def bucket_key(site: str, item: str, generation: int, bucket: int) -> bytes:
    """The key of a bucket of an item's members; bucket 0 is in ``item_key``."""
    return item_key(site, item) + f"{generation}.{bucket}".encode()


class Name(NamedTuple):
    """What an item's key, or that of one of its buckets, says; an item's own has no generation."""

    site: str
    item: str
    generation: int | None
    bucket: int


def parse(key: bytes) -> Name | None:
    """What the key of an item or a bucket says; ``None``: it is neither."""
    try:
        found = _ITEM.fullmatch(key.decode())
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    site, item, generation, bucket = found.groups()
    return Name(site, item, None if generation is None else int(generation), int(bucket or 0))


def member(visitor: str) -> bytes:
    """16 bytes that stand for a visitor: BLAKE2b (RFC 7693), so that two visitors never share one."""
    return blake2b(visitor.encode(), digest_size=MEMBER).digest()


def person_channel(site: str, who: bytes) -> bytes:
    """The channel on which a visitor's other tabs and devices hear of a change."""
    return PERSON_PREFIX + site.encode() + b":" + who


def taken_key(site: str, who: bytes) -> bytes:
    """The key of the items on which a retired visitor's reactions are still to be moved."""
    return index_key(site, who) + b":taken"


def index_key(site: str, who: bytes) -> bytes:
    """The key of a visitor's index of items."""
    return b"tc:{@" + site.encode() + b":" + who + b"}"
