"""Who may come in, and how much they may do.

Owns the checks on sites, origins, tokens and sizes, for sockets and HTTP alike. Must not know sockets, HTTP,
the hub or the ledger; the secret and the clock are handed in.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes

from server.errors import Forbidden, TooManyItems, UnknownSite
from server.rules import tokens
from server.rules.items import check_item
from server.rules.sites import Site
from server.rules.tokens import Identity

ITEMS_A_MESSAGE = 100
ITEMS_A_CONNECTION = 5000


class Guard:
    """The checks that need no look at the store. ``clock`` gives seconds since 1970."""

    def __init__(
        self, sites: Mapping[str, Site], secret: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self._sites = sites
        self._secret = secret
        self._clock = clock

    def site(self, name: str) -> Site:
        """The site of that name.

        Raises:
            UnknownSite: there is none.
        """
        site = self._sites.get(name)
        if site is None:
            raise UnknownSite("no such site")
        return site

    def origin(self, site: Site, origin: str | None) -> None:
        """Let in a request with this Origin header (``None``: without one).

        Raises:
            Forbidden: the origin is not one of the site's.
        """
        if not site.allows(origin):
            raise Forbidden("this origin is not one of the site's")

    def items(self, items: Sequence[str]) -> list[str]:
        """The ids, each once, in order.

        Raises:
            BadItem: one is not an item id.
            TooManyItems: more than one message may name.
        """
        if len(items) > ITEMS_A_MESSAGE:
            raise TooManyItems(f"at most {ITEMS_A_MESSAGE} items a message")
        unique = list(dict.fromkeys(items))
        for item in unique:
            check_item(item)
        return unique

    def room(self, watched: int) -> None:
        """Let a connection watch so many items.

        Raises:
            TooManyItems: that is more than one connection may.
        """
        if watched > ITEMS_A_CONNECTION:
            raise TooManyItems(f"at most {ITEMS_A_CONNECTION} items a connection")

    def identify(self, site: Site, token: str) -> Identity:
        """Who the token speaks for.

        Raises:
            Unauthorized: it does not hold.
        """
        return tokens.verify(token, site.name, self._secret, self._clock())

    def newcomer(self, site: Site) -> tuple[str, str, int]:
        """A new anonymous visitor: id, token, and the second the token expires."""
        return self._signed(tokens.anonymous_id(token_bytes(16)), site)

    def renew(self, site: Site, token: str) -> tuple[str, str, int]:
        """The same anonymous visitor with a new token.

        Raises:
            Unauthorized: the token never held, or expired too long ago.
        """
        identity = tokens.verify(token, site.name, self._secret, self._clock(), expired_for=tokens.RENEWABLE)
        return self._signed(identity.visitor, site)

    def expired(self, identity: Identity, grace: float) -> bool:
        """Whether the identity's token ran out more than ``grace`` seconds ago."""
        return self._clock() > identity.expires + grace

    def _signed(self, visitor: str, site: Site) -> tuple[str, str, int]:
        token, expires = tokens.sign(visitor, site.name, self._secret, int(self._clock()))
        return visitor, token, expires
