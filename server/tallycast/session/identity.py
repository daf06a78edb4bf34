"""Who a connection speaks for: one ``auth``, from the token to the visitor that came of it.

Owns the signing in, the merge that may be part of it, and the place in ``VisitorChannels``. Must not know
which items are watched, nor in what order messages take effect.
"""

from collections.abc import Callable
from secrets import randbits

from tallycast.contract.errors import Forbidden, Refusal
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.engine.keys import member
from tallycast.fanout.visitors import VisitorListener
from tallycast.ledger.merge import Merge
from tallycast.services.services import Rooms

Done = Callable[[Refusal | None], None]


class Visitor:
    """A visitor on one connection; ``listener`` hears what becomes of it elsewhere.

    ``member`` and ``channel`` stand for it in the ledger, ``origin`` for it on this connection, once it is
    known.
    """

    __slots__ = ("_identity", "_left", "_listener", "_rooms", "_site", "channel", "member", "origin")

    def __init__(self, rooms: Rooms, site: Site, listener: VisitorListener) -> None:
        self._rooms = rooms
        self._site = site
        self._listener = listener
        self._identity: Identity | None = None
        self.channel = b""
        self._left = False
        self.member = b""
        self.origin = 0

    def sign_in(self, token: str, merge: str | None, done: Done) -> None:
        """Find out who the token speaks for, and take over the reactions of whom ``merge`` does.

        ``done`` is called with what stands against it, if anything; at most once, because who has left before
        it was known is told nothing any more.
        """

        def identified(answer: Identity | Refusal) -> None:
            if self._left:
                return
            if isinstance(answer, Refusal):
                done(answer)
                return
            try:
                stranger = None if merge is None else self._stranger(answer, merge)
            except Refusal as refusal:
                done(refusal)
                return
            self._become(answer)
            if stranger is None:
                done(None)
            else:
                self._rooms.merge(Merge(self._site.name, member(stranger), self.member, done))

        self._rooms.guard.identify(self._site, token, identified)

    def leave(self) -> None:
        """The connection speaks for somebody else, or is over."""
        if self._identity is not None and not self._left:
            self._rooms.visitors.leave(self.channel, self._listener)
        self._left = True

    @property
    def id(self) -> str:
        """The visitor's id, once it is known."""
        assert self._identity is not None
        return self._identity.visitor

    @property
    def anonymous(self) -> bool:
        """Whether it is one of this server's own, once it is known."""
        return self._identity is not None and self._identity.anonymous

    def expired(self, grace: float) -> bool:
        """Whether its token ran out more than ``grace`` seconds ago."""
        return self._identity is not None and self._rooms.guard.expired(self._identity, grace)

    def welcome(self, site: Site) -> bool:
        """Whether the site, as it is now, would still take its token."""
        return self._identity is None or self._rooms.guard.accepts(site, self._identity)

    def issued_by(self, at: float) -> bool:
        """Whether its token was issued no later than this (seconds since 1970)."""
        return self._identity is not None and self._identity.issued <= at

    def _stranger(self, identity: Identity, token: str) -> str:
        """The anonymous visitor to be taken over.

        Raises:
            Forbidden: an anonymous visitor takes over nobody.
            Unauthorized: the token is not an anonymous visitor's.
        """
        if identity.anonymous:
            raise Forbidden("only a publisher's token can take over an anonymous visitor's reactions")
        return self._rooms.guard.anonymous_visitor(self._site, token)

    def _become(self, identity: Identity) -> None:
        """Be this visitor from here on."""
        self._identity = identity
        self.origin = randbits(53)
        self.member = member(identity.visitor)
        self.channel = self._rooms.namespace.visitor_channel(self._site.name, self.member)
        self._rooms.visitors.join(self.channel, self._listener)
