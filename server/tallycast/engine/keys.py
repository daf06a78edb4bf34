"""The names of one deployment in the engine: its keys, its channels, and the digests of visitors.

Owns every such name; no other module writes ``tc:``. Does not depend on how the engine is reached.

Keys begin with the deployment's prefix (empty by default, see ``config.key_prefix``) and ``tc:``:

    tc:{site:item}       hash    "" -> the item's state, and member -> its kind: see layout.lua
    tc:{site:item}g.b    hash    member -> its kind: bucket b of the item in its generation g
    tc:{@site:member}    zset    the visitor's index: item -> time of the last reaction (µs); a superset of
                                 the items on which the visitor holds a reaction
                         string  of a retired visitor instead, the member of its account: a tombstone, which
                                 makes adding an item to the index fail, and so prevents reactions
    …:taken              zset    of a retired visitor, the items whose reactions are still to be moved
    tc:merges            zset    MessagePack [site, visitor, account] of an unfinished merge -> when it was
                                 last worked on (s since 1970)
    tc:auditor           string  the lease of the worker that audits, or that all was audited; it expires
    tc:layout            string  the version of this layout
    tc:secret            string  the secret that signs anonymous visitors' tokens
    tc:revoked           stream  site, member: the visitors whose tokens were revoked; its ids are when
    tc:audit             stream  the actions of administrators, in fields named ``who`` (the actor), ``what``
                                 (the action), ``site``, ``item``, ``member``, ``more``; its ids are when
    tc:nowhere…          nothing, ever: keys for scripts that need one

Channels also end in ``@`` and the number of the database, because pub/sub knows no databases: what is
published on one is received on all. Keys do without, so that data can be copied into another database.

    tc:{site:item}@0       MessagePack [version, {kind: count}], and true after a reset
    tc:me:site:member@0    MessagePack [item, version, kind or "", connection id]; empty when the visitor is
                           retired
    tc:pulse:…@0           a worker's heartbeat to itself

An item's channel has the hash tag of its key, and so its slot on a cluster. A visitor's index has a slot of
its own. Site names have neither a colon nor an @, and of all keys that begin with ``tc:{`` only those of
buckets end in a digit, so names are unambiguous whatever an item id contains.
"""

import re
from hashlib import blake2b
from typing import NamedTuple

# Bytes of a member.
MEMBER = 16
# Incremented when data that was written before could be misread.
LAYOUT_VERSION = b"4"


class Name(NamedTuple):
    """The parts of the key of an item or of a bucket; an item's own key has no generation."""

    site: str
    item: str
    generation: int | None
    bucket: int


class Namespace:
    """Makes the names of the deployment with this key prefix on this database.

    ``root`` begins every name. ``channel_suffix`` makes an item's key its channel. The channels of items
    begin with ``items``, those of visitors with ``visitors``.
    """

    def __init__(self, prefix: str = "", database: int = 0) -> None:
        root = f"{prefix}tc:"
        head = root.encode()
        self.secret = f"{root}secret"
        self.layout = f"{root}layout"
        self.merges = head + b"merges"
        self.revoked = head + b"revoked"
        self.auditor = head + b"auditor"
        self.trail = head + b"audit"
        self.items = head + b"{"
        self.visitors = head + b"me:"
        self.channel_suffix = f"@{database}".encode()
        self.root = root
        self._indexes = head + b"{@"
        self._heartbeats = head + b"pulse:"
        self._nowhere = head + b"nowhere"
        self._item_end = f"}}@{database}"
        self._item = re.compile(re.escape(root) + r"\{([^@:][^:]*):(.+)\}(?:([0-9]+)\.([0-9]+))?", re.DOTALL)

    def item_key(self, site: str, item: str) -> bytes:
        """The key of an item."""
        return f"{self.root}{{{site}:{item}}}".encode()

    def item_channel(self, site: str, item: str) -> bytes:
        """The channel on which an item's counts are published."""
        return f"{self.root}{{{site}:{item}{self._item_end}".encode()

    def bucket_key(self, site: str, item: str, generation: int, bucket: int) -> bytes:
        """The key of a bucket of an item's members; that of bucket 0 is the item's own."""
        key = self.item_key(site, item)
        return key + f"{generation}.{bucket}".encode() if bucket else key

    def item_pattern(self, site: str | None = None) -> str:
        """A glob pattern of the keys of a site's items and their buckets, or of every site's."""
        return f"{self.root}{{*" if site is None else f"{self.root}{{{site}:*"

    def parse(self, key: bytes) -> Name | None:
        """The parts of the key of an item or a bucket; ``None`` for any other key."""
        try:
            found = self._item.fullmatch(key.decode())
        except UnicodeDecodeError:
            return None
        if found is None:
            return None
        site, item, generation, bucket = found.groups()
        return Name(site, item, None if generation is None else int(generation), int(bucket or 0))

    def index_key(self, site: str, member: bytes) -> bytes:
        """The key of a visitor's index."""
        return self._indexes + site.encode() + b":" + member + b"}"

    def taken_key(self, site: str, member: bytes) -> bytes:
        """The key of a retired visitor's items whose reactions are still to be moved."""
        return self.index_key(site, member) + b":taken"

    def visitor_channels(self, site: str) -> bytes:
        """The prefix of the channels of a site's visitors; the member and ``channel_suffix`` follow."""
        return self.visitors + site.encode() + b":"

    def visitor_channel(self, site: str, member: bytes) -> bytes:
        """The channel on which changes are published to a visitor's other tabs and devices."""
        return self.visitor_channels(site) + member + self.channel_suffix

    def heartbeat_channel(self, name: str) -> bytes:
        """The channel of a heartbeat."""
        return self._heartbeats + name.encode() + self.channel_suffix

    def nowhere_key(self, number: int = 0) -> bytes:
        """A key that nothing is ever stored under."""
        return self._nowhere + b".%d" % number


def member(visitor: str) -> bytes:
    """The digest of a visitor id, 16 bytes: BLAKE2b (RFC 7693), so that no two visitors share one."""
    return blake2b(visitor.encode(), digest_size=MEMBER).digest()
