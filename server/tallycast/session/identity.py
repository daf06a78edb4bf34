"""The identity of a connection: one ``auth``, from the token to the visitor.

Owns the sign-in, the merge that may be part of it, and the notifications of the visitor's changes. Does not
depend on which items are watched, or in what order messages take effect.
"""

from collections.abc import Callable
from secrets import randbits

from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.fanout.visitors import VisitorListener
from tallycast.services.author import Author
from tallycast.session.ports import Accounts

Done = Callable[[Refusal | None], None]

_UNKNOWN = Author(b"", b"")


class Visitor:
    """A visitor on one connection; ``listener`` is notified of its changes elsewhere.

    ``author`` stands for it in the services, once it is identified.
    """

    __slots__ = ("_accounts", "_identity", "_listener", "_signed_out", "_site", "author")

    def __init__(self, accounts: Accounts, site: Site, listener: VisitorListener) -> None:
        self._accounts = accounts
        self._site = site
        self._listener = listener
        self._identity: Identity | None = None
        self._signed_out = False
        self.author = _UNKNOWN

    def sign_in(self, token: str, merge: str | None, done: Done) -> None:
        """Identify the visitor of a token, and merge the anonymous visitor of another one into it.

        ``done`` is called at most once, with the refusal if there is one; never after ``sign_out``, as long
        as the visitor was not identified.
        """

        def identified(answer: Identity | Refusal) -> None:
            if self._signed_out:
                return
            if isinstance(answer, Refusal):
                done(answer)
                return
            try:
                anonymous = None if merge is None else self._accounts.anonymous(self._site, answer, merge)
            except Refusal as refusal:
                done(refusal)
                return
            self._identity = answer
            self.author = self._accounts.subscribe(self._site, answer.visitor, randbits(53), self._listener)
            if anonymous is None:
                done(None)
            else:
                self._accounts.merge(self._site, anonymous, self.author, done)

        self._accounts.identify(self._site, token, identified)

    def sign_out(self) -> None:
        """The connection has another identity, or is over."""
        if self._identity is not None and not self._signed_out:
            self._accounts.unsubscribe(self.author, self._listener)
        self._signed_out = True

    @property
    def id(self) -> str:
        """The visitor's id, once it is identified."""
        assert self._identity is not None
        return self._identity.visitor

    @property
    def anonymous(self) -> bool:
        """Whether the visitor is identified, and anonymous."""
        return self._identity is not None and self._identity.anonymous

    def expired(self, grace: float) -> bool:
        """Whether its token expired more than ``grace`` seconds ago."""
        return self._identity is not None and self._accounts.expired(self._identity, grace)

    def accepted_by(self, site: Site) -> bool:
        """Whether the site, as it is configured now, would accept its token."""
        return self._identity is None or self._accounts.accepts(site, self._identity)

    def issued_by(self, at: float) -> bool:
        """Whether its token was issued no later than this (s since 1970)."""
        return self._identity is not None and self._identity.issued <= at
