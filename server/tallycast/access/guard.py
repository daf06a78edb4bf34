"""Who may come in, and how much they may do.

Owns the checks on sites, origins, tokens and sizes, for sockets and HTTP alike. Must not know sockets, HTTP,
the hub or the ledger; the secret, the clock, key sets and revocations are handed in.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from secrets import token_bytes
from typing import Protocol

from tallycast.access.token_log import TokenLog
from tallycast.contract.errors import Forbidden, Refusal, TooManyItems, Unauthorized, Unavailable, UnknownSite
from tallycast.domain import tokens
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity, Key, KeySet, NotOurs, WrongClaim

KEYS_RETRY_AFTER = 30.0
# Hex digits that stand for an admin key.
FINGERPRINT = 12


class Keys(Protocol):
    """The key sets of sites."""

    def known(self, key_set: KeySet) -> Sequence[Key]:
        """Its keys, as far as they are known."""

    def refresh(self, key_sets: Sequence[KeySet], done: Callable[[bool], None]) -> None:
        """Fetch them again, if it is time; then tell whether they are known."""


class Guard:
    """The checks that need no look at the store. ``clock`` gives seconds since 1970.

    ``sites`` are the present ones, by name; set it to change them all at once. ``revoked`` tells when
    (seconds since 1970) the tokens of a visitor of a site were last revoked.
    """

    def __init__(
        self,
        sites: Mapping[str, Site],
        secret: bytes,
        clock: Callable[[], float] = time.time,
        *,
        keys: Keys | None = None,
        revoked: Callable[[str, str], float | None] = lambda site, visitor: None,
    ) -> None:
        self.sites = sites
        self._secret = secret
        self._clock = clock
        self._keys = keys
        self._revoked = revoked
        self._log = TokenLog(clock)

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

    def identify(self, site: Site, token: str, done: Callable[[Identity | Refusal], None]) -> None:
        """Find out who the token speaks for.

        ``done`` is called exactly once: at once, or when a key set of the site's has been fetched. A refusal
        is ``Unauthorized`` (it does not hold), ``Forbidden`` (it is an anonymous visitor's, and the site has
        none) or ``Unavailable`` (its keys cannot be fetched).
        """
        try:
            done(self._judge(site, token))
        except NotOurs as refusal:
            self._fetch_for(site, token, refusal, done)
        except Refusal as refusal:
            done(refusal)

    def _judge(self, site: Site, token: str) -> Identity:
        now = self._clock()
        try:
            identity = tokens.verify_anonymous(token, site.name, self._secret, now)
        except NotOurs:
            identity = self._judge_publishers(site, token, now)
        else:
            _allow_anonymous(site)
        revoked = self._revoked(site.name, identity.visitor)
        if revoked is not None and identity.issued <= revoked:
            if not identity.issued:
                self._log.refused(site, "iat", "missing", "one, after the user's tokens were revoked")
            raise Unauthorized("the token was revoked")
        return identity

    def _judge_publishers(self, site: Site, token: str, now: float) -> Identity:
        try:
            return tokens.verify(token, site.name, self._present_keys(site), now)
        except WrongClaim as wrong:
            self._log.refused(site, wrong.claim, wrong.found, wrong.expected)
            raise

    def _unsigned(self, site: Site, refusal: NotOurs) -> NotOurs:
        """Log that a token is signed by none of the site's keys; the refusal."""
        keys = [
            # Without its query, which may hold a secret.
            f"{key.algorithm} {key.url.partition('?')[0]}" if isinstance(key, KeySet) else key.algorithm
            for key in site.keys
        ]
        self._log.refused(site, "signature", "by no key of the site's", ", ".join(keys) or "no token")
        return refusal

    def _judge_again(self, site: Site, token: str, known: bool) -> Identity | Refusal:
        try:
            return self._judge(site, token)
        except NotOurs as refusal:
            if known:
                return self._unsigned(site, refusal)
            return Unavailable("the site's keys cannot be fetched right now", retry_after=KEYS_RETRY_AFTER)
        except Refusal as refusal:
            return refusal

    def _present_keys(self, site: Site) -> Iterator[tuple[Key, KeySet | None]]:
        for key in site.keys:
            if isinstance(key, Key):
                yield key, None
            elif self._keys is not None:
                for one in self._keys.known(key):
                    yield one, key

    def _fetch_for(
        self, site: Site, token: str, refusal: NotOurs, done: Callable[[Identity | Refusal], None]
    ) -> None:
        """Fetch the key sets that the token may be from, and judge it again; else it is refused."""
        now = self._clock()
        worth: list[KeySet] = []
        wrong: WrongClaim | None = None
        for key in site.keys:
            try:
                if isinstance(key, KeySet) and tokens.may_be_from(key, token, site.name, now):
                    worth.append(key)
            except WrongClaim as other:
                wrong = other
            except Unauthorized:
                pass
        if self._keys is not None and worth:
            self._keys.refresh(worth, lambda known: done(self._judge_again(site, token, known)))
        elif wrong is not None:
            self._log.refused(site, wrong.claim, wrong.found, wrong.expected)
            done(refusal)
        else:
            done(self._unsigned(site, refusal))

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
        return self._signed(self.stranger(site, token), site)

    def stranger(self, site: Site, token: str) -> str:
        """The anonymous visitor of a token that holds, or did not long ago.

        Raises:
            Unauthorized: the token never held, or expired too long ago.
        """
        now = self._clock()
        return tokens.verify_anonymous(
            token, site.name, self._secret, now, expired_for=tokens.RENEWABLE
        ).visitor

    def administrator(self, site: Site, key: str) -> str:
        """Whose admin key it is: the beginning of its SHA-256, as it stands in the file of sites.

        Raises:
            Unauthorized: it is not one of the site's.
        """
        given = sha256(key.encode(errors="replace")).digest()
        # However much of one is right, and of whichever, it takes as long.
        found = [known for known in site.admin_keys if compare_digest(known, given)]
        if not found:
            raise Unauthorized("this is not an admin key of the site's")
        return f"sha256:{given.hex()[:FINGERPRINT]}"

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
