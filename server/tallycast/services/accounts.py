"""Visitors: identified by a token, made and renewed, merged into accounts, exported and erased.

Owns the steps of each. Does not depend on sessions or HTTP.
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from tallycast.contract.errors import Forbidden, Refusal
from tallycast.domain.limits import ALL_REACTIONS_COST
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.engine.keys import Namespace, member
from tallycast.fanout.visitors import VisitorChannels, VisitorListener
from tallycast.ledger.batch import answered
from tallycast.ledger.merge import Merge
from tallycast.ledger.reader import Query, State
from tallycast.services.author import Author, author_of

Page = list[tuple[str, State]]


class Tokens(Protocol):
    """Checks and issues tokens; see ``access.guard.Guard``."""

    def identify(self, site: Site, token: str, done: Callable[[Identity | Refusal], None]) -> None: ...
    def new_visitor(self, site: Site) -> tuple[str, str, int]: ...
    def renew(self, site: Site, token: str) -> tuple[str, str, int]: ...
    def anonymous_visitor(self, site: Site, token: str) -> str: ...
    def expired(self, identity: Identity, grace: float) -> bool: ...
    def accepts(self, site: Site, identity: Identity) -> bool: ...


class VisitorReactions(Protocol):
    """All reactions of a visitor; see ``ledger.visitor_reactions.VisitorReactions``."""

    def pages(self, site: Site, visitor: str) -> AsyncIterator[Page]: ...
    async def erase(self, site: Site, visitor: str) -> int: ...


class Accounts:
    """Identifies, makes, merges, exports and erases visitors.

    Args:
        namespace: makes the names of visitors in the engine.
        tokens: checks and issues tokens.
        channels: the connections of each visitor.
        reactions: all reactions of a visitor.
        read: queues a query for the next batch, like the reader's ``submit``.
        merge: starts a merge, like the merger's ``submit``.
        charge: spends the cost of some reactions from the rate limit of a visitor, or raises ``RateLimited``.
    """

    def __init__(
        self,
        namespace: Namespace,
        tokens: Tokens,
        channels: VisitorChannels,
        reactions: VisitorReactions,
        read: Callable[[Query], None],
        merge: Callable[[Merge], None],
        charge: Callable[[Site, str, int], None],
    ) -> None:
        self._namespace = namespace
        self._tokens = tokens
        self._channels = channels
        self._reactions = reactions
        self._read = read
        self._merge = merge
        self._charge = charge

    # Identity

    def identify(self, site: Site, token: str, done: Callable[[Identity | Refusal], None]) -> None:
        """Find the visitor of a token. ``done`` is called exactly once, perhaps at once.

        A refusal is ``Unauthorized``, ``Forbidden`` or ``Unavailable``, as ``Guard.identify`` explains.
        """
        self._tokens.identify(site, token, done)

    async def identity(self, site: Site, token: str) -> Identity:
        """The visitor of a token.

        Raises:
            Forbidden, Unauthorized, Unavailable: as for ``identify``.
        """
        return await answered(lambda done: self._tokens.identify(site, token, done))

    def expired(self, identity: Identity, grace: float) -> bool:
        """Whether the token of an identity expired more than ``grace`` seconds ago."""
        return self._tokens.expired(identity, grace)

    def accepts(self, site: Site, identity: Identity) -> bool:
        """Whether the site, as it is configured now, would accept the token of an identity."""
        return self._tokens.accepts(site, identity)

    # Anonymous visitors

    def create(self, site: Site) -> tuple[str, str, int]:
        """A new anonymous visitor: id, token, and when the token expires (s since 1970).

        Raises:
            Forbidden: the site has no anonymous visitors.
        """
        return self._tokens.new_visitor(site)

    async def renew(self, site: Site, token: str) -> tuple[str, str, int]:
        """The anonymous visitor of a token, with a new token; as for ``create``.

        Raises:
            Forbidden: the site has no anonymous visitors.
            Unauthorized: the token is not valid or too old, or the visitor is retired.
            Unavailable: not read in time.
        """
        renewed = self._tokens.renew(site, token)
        await self.check_active(site, renewed[0])
        return renewed

    async def check_active(self, site: Site, visitor: str) -> None:
        """Check that a visitor has not become an account.

        Raises:
            Unauthorized: it has.
            Unavailable: not read in time.
        """
        _: list[State] = await answered(lambda done: self._read(Query(site, (), visitor, done)))

    def anonymous(self, site: Site, identity: Identity, token: str) -> str:
        """The anonymous visitor of a token, to be merged into the account of ``identity``.

        Raises:
            Forbidden: ``identity`` is anonymous itself.
            Unauthorized: the token is not an anonymous visitor's.
        """
        if identity.anonymous:
            raise Forbidden("only a publisher's token can take over an anonymous visitor's reactions")
        return self._tokens.anonymous_visitor(site, token)

    def merge(self, site: Site, visitor: str, into: Author, done: Callable[[Refusal | None], None]) -> None:
        """Move the reactions of an anonymous visitor to an account, and retire the visitor.

        ``done`` is called exactly once, with the refusal if there is one.
        """
        self._merge(Merge(site.name, member(visitor), into.member, done))

    # Connections

    def subscribe(self, site: Site, visitor: str, connection_id: int, listener: VisitorListener) -> Author:
        """Notify the connection ``connection_id`` of its visitor's changes."""
        author = author_of(self._namespace, site.name, visitor, connection_id)
        self._channels.subscribe(author.channel, listener)
        return author

    def unsubscribe(self, author: Author, listener: VisitorListener) -> None:
        """Notify the connection no longer."""
        self._channels.unsubscribe(author.channel, listener)

    # A visitor's own data

    def export(self, site: Site, visitor: str) -> AsyncIterator[Page]:
        """Every item on which a visitor holds a reaction, with its state, in pages that may be empty.

        Raises:
            RateLimited: too much, too fast.
            Unauthorized: the visitor is retired; with the first page.
            Unavailable: not read in time; with any page.
        """
        self._charge(site, visitor, ALL_REACTIONS_COST)
        return self._reactions.pages(site, visitor)

    async def erase(self, site: Site, visitor: str) -> int:
        """Clear every reaction of a visitor. Returns the number of reactions.

        Raises:
            RateLimited: too much, too fast.
            Unauthorized: the visitor is retired.
            Unavailable: not confirmed in time; a part is done.
        """
        self._charge(site, visitor, ALL_REACTIONS_COST)
        return await self._reactions.erase(site, visitor)
