"""Limits of a site's clients and of a worker, with their defaults.

Does not depend on where they are enforced.
"""

from dataclasses import dataclass

from tallycast.domain.rates import Rate

# An ``auth`` counts as this many messages: verifying a signature takes as long.
AUTH_COST = 10
# A wrong admin key counts as this many further requests, so that guessing is slow.
WRONG_KEY_COST = 50
# Listing or erasing all reactions of a visitor counts as this many reactions.
ALL_REACTIONS_COST = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a site's clients.

    Attributes:
        items_a_message: Item ids per message or request.
        items_a_connection: Watched items per connection.
        messages: Frames per connection.
        ids: Item ids shown per connection.
        reactions: Reactions per connection, and per visitor.
        new_items: Items created by a first reaction, on the whole site.
    """

    items_a_message: int = 100
    items_a_connection: int = 5000
    messages: Rate = Rate(50, 500)
    ids: Rate = Rate(100, 10_000)
    reactions: Rate = Rate(10, 20)
    new_items: Rate = Rate(1, 10_000)


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits of a worker.

    Upgrades and requests that are refused for their site or origin, and pages, have budgets of their own, of
    the same size as ``address_arrivals`` and ``address_requests``.

    Attributes:
        connections: Open connections.
        address_connections: Open connections per address.
        address_arrivals: New WebSockets and event streams per address.
        address_requests: HTTP requests per address.
        address_visitors: New anonymous visitors per address.
    """

    connections: int = 20_000
    address_connections: int = 500
    address_arrivals: Rate = Rate(1, 30)
    address_requests: Rate = Rate(50, 500)
    address_visitors: Rate = Rate(1, 30)

    @property
    def hard(self) -> int:
        """The hard limit of connections, above which they are closed instead of refused with a reason."""
        return _hard(self.connections)

    @property
    def address_hard(self) -> int:
        """The hard limit of connections per address."""
        return _hard(self.address_connections)


def _hard(connections: int) -> int:
    return connections + max(1, connections // 10)
