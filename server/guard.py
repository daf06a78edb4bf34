"""Who may come in, and how much they may do.

Owns the checks on sites, origins, tokens and sizes, for sockets and HTTP alike. Must not know sockets, HTTP,
the hub or the ledger; the secret and the clock are handed in.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes

from server.errors import Forbidden, TooManyItems, UnknownSite
from server.rules import tokens
from server.rules.sites import Site
from server.rules.tokens import Identity


class Guard:
    """The checks that need no look at the store. ``clock`` gives seconds since 1970.

    ``sites`` are the present ones, by name; set it to change them all at once.
    """

    def __init__(
        self, sites: Mapping[str, Site], secret: bytes, clock: Callable[[], float] = time.time
    ) -> None:
        self.sites = sites
        self._secret = secret
        self._clock = clock

    def site(self, name: str) -> Site:
        """The site of that name.

        Raises:
            UnknownSite: there is none.
        """
        site = self.sites.get(name)
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

    def items(self, site: Site, items: Sequence[str]) -> list[str]:
        """The ids, each once, in order.

        Raises:
            BadItem: one is not an id of the site's items.
            TooManyItems: more than one message may name.
        """
        if len(items) > site.limits.items_a_message:
            raise TooManyItems(f"at most {site.limits.items_a_message} items a message")
        unique = list(dict.fromkeys(items))
        for item in unique:
            site.check_item(item)
        return unique

    def room(self, site: Site, watched: int) -> None:
        """Let a connection watch so many items.

        Raises:
            TooManyItems: that is more than one connection may.
        """
        if watched > site.limits.items_a_connection:
            raise TooManyItems(f"at most {site.limits.items_a_connection} items a connection")

    def identify(self, site: Site, token: str) -> Identity:
        """Who the token speaks for.

        Raises:
            Forbidden: it is an anonymous visitor's, and the site has none.
            Unauthorized: it does not hold.
        """
        _allow_anonymous(site)
        return tokens.verify_anonymous(token, site.name, self._secret, self._clock())

    def newcomer(self, site: Site) -> tuple[str, str, int]:
        """A new anonymous visitor: id, token, and the second the token expires.

        Raises:
            Forbidden: the site has no anonymous visitors.
        """
        _allow_anonymous(site)
        return self._signed(tokens.anonymous_id(token_bytes(16)), site)

    def renew(self, site: Site, token: str) -> tuple[str, str, int]:
        """The same anonymous visitor with a new token.

        Raises:
            Forbidden: the site has no anonymous visitors.
            Unauthorized: the token never held, or expired too long ago.
        """
        _allow_anonymous(site)
        identity = tokens.verify_anonymous(
            token, site.name, self._secret, self._clock(), expired_for=tokens.RENEWABLE
        )
        return self._signed(identity.visitor, site)

    def expired(self, identity: Identity, grace: float) -> bool:
        """Whether the identity's token ran out more than ``grace`` seconds ago."""
        return self._clock() > identity.expires + grace

    def vouches(self, site: Site, identity: Identity) -> bool:
        """Whether the site, as it is now, would still take the token that the identity came with."""
        return site.anonymous if identity.key is None else identity.key in site.keys

    def _signed(self, visitor: str, site: Site) -> tuple[str, str, int]:
        token, expires = tokens.sign(visitor, site.name, self._secret, int(self._clock()))
        return visitor, token, expires


def _allow_anonymous(site: Site) -> None:
    if not site.anonymous:
        raise Forbidden("this site has no anonymous visitors: a token of the publisher's is needed")
