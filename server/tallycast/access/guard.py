"""The guard: checks sites, origins, tokens and sizes, for every transport alike.

Owns authentication and authorisation. Does not depend on sockets, HTTP, the hub or the ledger; the secret,
the clock, key sets and revocations are arguments.
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
from tallycast.domain.tokens import Identity, InvalidClaim, Key, KeySet, UnknownSigner

KEYS_RETRY_AFTER = 30.0  # seconds
# Hex digits of the SHA-256 of an admin key that identify it.
FINGERPRINT = 12


class Keys(Protocol):
    """The key sets of sites."""

    def known(self, key_set: KeySet) -> Sequence[Key]:
        """Its keys that are in the cache."""

    def refresh(self, key_sets: Sequence[KeySet], done: Callable[[bool], None]) -> None:
        """Fetch them again, if due, then call ``done`` with whether all are in the cache."""


class Guard:
    """The checks that need no engine.

    Args:
        sites: The sites by name. Set the attribute to replace them all at once.
        secret: What tokens of anonymous visitors are signed with.
        clock: Seconds since 1970.
        keys: The key sets of publishers.
        revoked: When (seconds since 1970) the tokens of a site's visitor were last revoked.
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
        """The site with a name.

        Raises:
            UnknownSite: there is none.
        """
        site = self.sites.get(name)
        if site is None:
            raise UnknownSite("no such site")
        return site

    def check_origin(self, site: Site, origin: str | None) -> None:
        """Accept an Origin header (None: the request has none).

        Raises:
            Forbidden: the site does not allow this origin.
        """
        if not site.allows(origin):
            raise Forbidden("this origin is not one of the site's")

    def check_items(self, site: Site, items: Sequence[str]) -> list[str]:
        """The item ids of a message, without duplicates, in order.

        Raises:
            BadItem: the site has no such items.
            TooManyItems: there are more than allowed in a message.
        """
        if len(items) > site.limits.items_a_message:
            raise TooManyItems(f"at most {site.limits.items_a_message} items a message")
        unique = list(dict.fromkeys(items))
        for item in unique:
            site.check_item(item)
        return unique

    def check_watched(self, site: Site, watched: int) -> None:
        """Accept the number of items that a connection watches.

        Raises:
            TooManyItems: it is more than allowed.
        """
        if watched > site.limits.items_a_connection:
            raise TooManyItems(f"at most {site.limits.items_a_connection} items a connection")

    def identify(self, site: Site, token: str, done: Callable[[Identity | Refusal], None]) -> None:
        """Verify a token.

        ``done`` is called exactly once: at once, or when a key set of the site has been fetched. A refusal is
        ``Unauthorized`` (invalid), ``Forbidden`` (of an anonymous visitor, and the site has none) or
        ``Unavailable`` (its keys cannot be fetched).
        """
        try:
            done(self._verify(site, token))
        except UnknownSigner as refusal:
            self._fetch_for(site, token, refusal, done)
        except Refusal as refusal:
            done(refusal)

    def _verify(self, site: Site, token: str) -> Identity:
        now = self._clock()
        try:
            identity = tokens.verify_anonymous(token, site.name, self._secret, now)
        except UnknownSigner:
            identity = self._verify_publishers(site, token, now)
        else:
            _allow_anonymous(site)
        revoked = self._revoked(site.name, identity.visitor)
        if revoked is not None and identity.issued <= revoked:
            if not identity.issued:
                self._log.refused(site, "iat", "missing", "one, after the user's tokens were revoked")
            raise Unauthorized("the token was revoked")
        return identity

    def _verify_publishers(self, site: Site, token: str, now: float) -> Identity:
        try:
            return tokens.verify(token, site.name, self._cached_keys(site), now)
        except InvalidClaim as error:
            self._log.refused(site, error.claim, error.found, error.expected)
            raise

    def _unsigned(self, site: Site, refusal: UnknownSigner) -> UnknownSigner:
        """Log that a token is signed by none of the site's keys; returns the refusal."""
        keys = [
            # The query may hold a secret.
            f"{key.algorithm} {key.url.partition('?')[0]}" if isinstance(key, KeySet) else key.algorithm
            for key in site.keys
        ]
        self._log.refused(site, "signature", "by no key of the site's", ", ".join(keys) or "no token")
        return refusal

    def _verify_again(self, site: Site, token: str, fetched: bool) -> Identity | Refusal:
        try:
            return self._verify(site, token)
        except UnknownSigner as refusal:
            if fetched:
                return self._unsigned(site, refusal)
            return Unavailable("the site's keys cannot be fetched right now", retry_after=KEYS_RETRY_AFTER)
        except Refusal as refusal:
            return refusal

    def _cached_keys(self, site: Site) -> Iterator[tuple[Key, KeySet | None]]:
        for key in site.keys:
            if isinstance(key, Key):
                yield key, None
            elif self._keys is not None:
                for one in self._keys.known(key):
                    yield one, key

    def _fetch_for(
        self, site: Site, token: str, refusal: UnknownSigner, done: Callable[[Identity | Refusal], None]
    ) -> None:
        """Fetch the key sets that may hold the token's key, and verify it again; otherwise refuse it."""
        now = self._clock()
        candidates: list[KeySet] = []
        invalid: InvalidClaim | None = None
        for key in site.keys:
            try:
                if isinstance(key, KeySet) and tokens.may_match(key, token, site.name, now):
                    candidates.append(key)
            except InvalidClaim as error:
                invalid = error
            except Unauthorized:
                pass
        if self._keys is not None and candidates:
            self._keys.refresh(candidates, lambda fetched: done(self._verify_again(site, token, fetched)))
        elif invalid is not None:
            self._log.refused(site, invalid.claim, invalid.found, invalid.expected)
            done(refusal)
        else:
            done(self._unsigned(site, refusal))

    def new_visitor(self, site: Site) -> tuple[str, str, int]:
        """Create an anonymous visitor: id, token, and when the token expires (seconds since 1970).

        Raises:
            Forbidden: the site has no anonymous visitors.
        """
        _allow_anonymous(site)
        return self._signed(tokens.anonymous_id(token_bytes(16)), site)

    def renew(self, site: Site, token: str) -> tuple[str, str, int]:
        """A new token for an anonymous visitor: id, token, and when it expires (seconds since 1970).

        Raises:
            Forbidden: the site has no anonymous visitors.
            Unauthorized: the token is invalid, or expired too long ago.
        """
        _allow_anonymous(site)
        return self._signed(self.anonymous_visitor(site, token), site)

    def anonymous_visitor(self, site: Site, token: str) -> str:
        """The anonymous visitor of a token that is valid, or expired recently.

        Raises:
            Unauthorized: the token is invalid, or expired too long ago.
        """
        now = self._clock()
        return tokens.verify_anonymous(
            token, site.name, self._secret, now, expired_for=tokens.RENEWABLE
        ).visitor

    def administrator(self, site: Site, key: str) -> str:
        """The name of an administrator: the beginning of the SHA-256 of the admin key, as in the sites file.

        Raises:
            Unauthorized: it is not an admin key of the site.
        """
        digest = sha256(key.encode(errors="replace")).digest()
        # Takes the same time for every key, right or wrong.
        found = [known for known in site.admin_keys if compare_digest(known, digest)]
        if not found:
            raise Unauthorized("this is not an admin key of the site's")
        return f"sha256:{digest.hex()[:FINGERPRINT]}"

    def expired(self, identity: Identity, grace: float) -> bool:
        """Whether the identity's token expired more than ``grace`` seconds ago."""
        return self._clock() > identity.expires + grace

    def accepts(self, site: Site, identity: Identity) -> bool:
        """Whether the current site still accepts the key of an identity's token."""
        return site.anonymous if identity.key is None else identity.key in site.keys

    def _signed(self, visitor: str, site: Site) -> tuple[str, str, int]:
        token, expires = tokens.sign(visitor, site.name, self._secret, int(self._clock()))
        return visitor, token, expires


def _allow_anonymous(site: Site) -> None:
    if not site.anonymous:
        raise Forbidden("this site has no anonymous visitors: a token of the publisher's is needed")
