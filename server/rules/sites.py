"""What a site is, and which origins belong to it.

Owns the origin rule (RFC 6454): scheme, host and port compared exactly. ``*`` stands for every origin with a
scheme and a host; ``null``, which sandboxed frames and local files send, is an origin like any other and
must be listed.
"""

import re
from dataclasses import dataclass

ANY = "*"
DEFAULT_SITE = "default"
DEFAULT_KINDS = ("like", "dislike")

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Site:
    """A publisher: a name, its reaction kinds in the order they are shown, and its origins."""

    name: str = DEFAULT_SITE
    kinds: tuple[str, ...] = DEFAULT_KINDS
    origins: frozenset[str] = frozenset({ANY})

    def allows(self, origin: str | None) -> bool:
        """Whether a request with this Origin header may come in; ``None`` means it had none."""
        if origin is None:
            return True
        if ANY in self.origins and _ORIGIN.fullmatch(origin):
            return True
        return origin != ANY and origin in self.origins
