"""What a session needs of others: the connection below it, and the services.

Owns these interfaces. Does not depend on their implementations.
"""

from collections.abc import Callable
from typing import Protocol

from tallycast.contract.errors import CloseCode, Refusal
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.fanout.topic import Subscriber
from tallycast.fanout.visitors import VisitorListener
from tallycast.services.author import Author
from tallycast.services.reactions import Committed
from tallycast.services.subscriptions import Subscription


class Connection(Subscriber, Protocol):
    """The connection below a session, which is the subscriber of its items."""

    @property
    def blocked(self) -> bool:
        """Whether the peer does not read at present."""

    def write(self, data: bytes) -> None:
        """Send whole frames."""

    def on_watching(self, items: int) -> None:
        """The number of watched items has changed."""

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self, code: CloseCode) -> None:
        """Close the connection."""


class Reactions(Protocol):
    """Sets reactions; see ``services.reactions.Reactions``."""

    def set(
        self,
        site: Site,
        item: str,
        author: Author,
        reaction: str | None,
        done: Callable[[Committed | Refusal], None],
    ) -> None:
        """Set a reaction."""

    def record(self, outcome: object) -> None:
        """Count an outcome."""


class Subscriptions(Protocol):
    """Opens subscriptions; see ``services.subscriptions.Subscriptions``."""

    def open(self, subscriber: Subscriber) -> Subscription:
        """A subscription to no item yet."""


class Accounts(Protocol):
    """Identifies visitors; see ``services.accounts.Accounts``."""

    def identify(self, site: Site, token: str, done: Callable[[Identity | Refusal], None]) -> None:
        """Find the visitor of a token."""

    def expired(self, identity: Identity, grace: float) -> bool:
        """Whether a token has expired."""

    def accepts(self, site: Site, identity: Identity) -> bool:
        """Whether the site would accept a token now."""

    def anonymous(self, site: Site, identity: Identity, token: str) -> str:
        """The anonymous visitor of a token, to be merged into an account."""

    def merge(self, site: Site, visitor: str, into: Author, done: Callable[[Refusal | None], None]) -> None:
        """Merge an anonymous visitor into an account."""

    def join(self, site: Site, visitor: str, origin: int, listener: VisitorListener) -> Author:
        """Notify a connection of its visitor's changes."""

    def leave(self, author: Author, listener: VisitorListener) -> None:
        """Notify it no longer."""
