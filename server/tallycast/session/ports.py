"""What a session needs of others: the connection below it, and the services.

Owns these interfaces. Does not depend on their implementations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tallycast.contract.errors import CloseCode, Refusal
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Identity
from tallycast.fanout.topic import Subscriber
from tallycast.fanout.visitors import VisitorListener
from tallycast.services.author import Author
from tallycast.services.reactions import Committed
from tallycast.services.subscriptions import Done


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


class Subscription(Protocol):
    """The items that a connection watches; see ``services.subscriptions.Subscription``."""

    @property
    def swept_at(self) -> float:
        """When an update of one of the items was last sent (s, monotonic clock)."""

    @property
    def can_catch_up(self) -> bool:
        """Whether a snapshot was postponed, and updates arrive again."""

    def __len__(self) -> int:
        """The number of watched items."""

    def __contains__(self, item: str) -> bool: ...

    def site(self, name: str) -> Site | None:
        """The site of that name, as it is configured now."""

    def check_watch(self, site: Site, items: Sequence[str]) -> list[str]:
        """Check items before they are watched. Returns each once."""

    def watch(
        self, site: Site, items: Sequence[str], since: Mapping[str, int], visitor: str | None, done: Done
    ) -> None:
        """Watch items."""

    def unwatch(self, site: Site, items: Sequence[str]) -> None:
        """Watch items no longer."""

    def snapshot(self, items: Sequence[str], since: Mapping[str, int]) -> list[bytes]:
        """The frames of the latest counts; updates follow."""

    def postpone(self, items: Sequence[str], since: Mapping[str, int]) -> bool:
        """Leave a snapshot until updates arrive again. Returns whether one was not postponed before."""

    def overdue(self) -> tuple[list[str], dict[str, int]]:
        """The items whose snapshot was postponed, and ``since`` for them."""

    def read_all(self, site: Site, visitor: str, done: Done) -> None:
        """Read the stored state of every watched item, with the reactions of a visitor."""

    def close(self) -> None:
        """Watch nothing any longer."""


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

    def subscribe(self, site: Site, visitor: str, connection_id: int, listener: VisitorListener) -> Author:
        """Notify a connection of its visitor's changes."""

    def unsubscribe(self, author: Author, listener: VisitorListener) -> None:
        """Notify it no longer."""
