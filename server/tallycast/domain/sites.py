"""Sites and their origins.

Owns the origin rule (RFC 6454): scheme, host and port are compared exactly, with two patterns. ``*`` matches
every origin with a scheme and a host, ``https://*.example.com`` one level of subdomains. ``null``, which
sandboxed frames and local files send, is an origin like any other and must be listed. Does not depend on how
sites are configured.
"""

import re
from dataclasses import dataclass, field

from tallycast.contract.errors import BadItem
from tallycast.contract.items import check_item
from tallycast.domain.limits import Limits
from tallycast.domain.patterns import ItemPattern
from tallycast.domain.tokens import Key, KeySet

ANY = "*"
DEFAULT_SITE = "default"
DEFAULT_KINDS = ("like", "dislike")
MAX_KINDS = 12
SITE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.ASCII | re.IGNORECASE)
_SUBDOMAIN = re.compile(r"([a-z][a-z0-9+.-]*://)[a-z0-9_-]+(\.[^/?#@\s]+)", re.ASCII)

_ALLOW_DIGESTS = (
    ": an id over 256 bytes is sent as its digest; to allow those, append |sha256:[0-9a-f]{64} to `items`"
)


# Compared by identity: a reloaded site is another one, and sites are keys on a hot path.
@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A site of a publisher.

    Attributes:
        kinds: Kinds of reactions, in the order shown.
        origins: Origins of its pages.
        keys: Keys that its own visitors' tokens are signed with.
        anonymous: Whether this server issues tokens to visitors without one.
        items: Pattern that item ids must match, if any.
        admin_keys: SHA-256 digests of the admin keys.
    """

    name: str = DEFAULT_SITE
    kinds: tuple[str, ...] = DEFAULT_KINDS
    origins: frozenset[str] = frozenset({ANY})
    keys: tuple[Key | KeySet, ...] = ()
    anonymous: bool = True
    items: ItemPattern | None = None
    admin_keys: frozenset[bytes] = field(default=frozenset(), repr=False)
    limits: Limits = Limits()

    def allows(self, origin: str | None) -> bool:
        """Whether requests with this Origin header are allowed; None: without one."""
        if origin is None:
            return True
        if ANY in self.origins and _ORIGIN.fullmatch(origin):
            return True
        if "*" in origin:
            return False  # No browser sends it; it must not match a pattern by being equal to it.
        if origin in self.origins:
            return True
        parts = _SUBDOMAIN.fullmatch(origin)
        return parts is not None and f"{parts[1]}*{parts[2]}" in self.origins

    def check_item(self, item: object) -> str:
        """Return ``item`` when it is an id of this site's items.

        Raises:
            BadItem: it is not.
        """
        item = check_item(item)
        if self.items is not None and not self.items.matches(item):
            hint = _ALLOW_DIGESTS if item.startswith("sha256:") else ""
            raise BadItem(f"this site has no such items{hint}", item=item)
        return item
