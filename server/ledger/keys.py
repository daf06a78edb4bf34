"""Names in the engine: keys, channels, members.

    tc:{site:item}:s     string  what was published of the item last
    tc:{site:item}:m     hash    member -> reaction kind
    tc:{site:item}       channel MessagePack {"version": int, "counts": {kind: int}}
    tc:me:site:member    channel MessagePack {"item", "version", "reaction", "origin"}
    tc:{me:site:member}  zset    item -> when it was last reacted to (µs); a superset of what is held
    tc:secret            string  the secret that signs anonymous visitors' tokens
    tc:pulse:…           channel a worker's heartbeat to itself

State, members and channel of an item share a hash tag, so one script may touch all three on a cluster. A
visitor's index lies in a slot of its own. Site names have no colon, so names are unambiguous whatever an item
id holds.
"""

from hashlib import blake2b

SECRET = "tc:secret"  # noqa: S105  the name of the key, not the secret
PERSON_PREFIX = b"tc:me:"
PULSE_PREFIX = b"tc:pulse:"


def item_channel(site: str, item: str) -> bytes:
    """The channel of an item; ``:s`` and ``:m`` after it name its state and its members."""
    return f"tc:{{{site}:{item}}}".encode()


def member(visitor: str) -> bytes:
    """16 bytes that stand for a visitor: BLAKE2b (RFC 7693), so that two visitors never share one."""
    return blake2b(visitor.encode(), digest_size=16).digest()


def person_channel(site: str, who: bytes) -> bytes:
    """The channel on which a visitor's other tabs and devices hear of a change."""
    return PERSON_PREFIX + site.encode() + b":" + who


def index_key(site: str, who: bytes) -> bytes:
    """The key of a visitor's index of items."""
    return b"tc:{me:" + site.encode() + b":" + who + b"}"
