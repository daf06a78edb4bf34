"""How much is enough: the limits of a site's clients, and those of a worker. Numbers, and their defaults.

Must not know who keeps to them.
"""

from dataclasses import dataclass

from tallycast.domain.rates import Rate

# A signature is checked for an ``auth``, which takes as long as so many other messages.
AUTH_COSTS = 10
# An admin key that is none costs as much as so many requests more, so that guessing is slow.
GUESS_COSTS = 50
# All that a visitor holds, listed or taken back, costs as much as so many reactions.
ALL_COSTS = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client of a site may do.

    By connection: the items of a message and of all of them, frames (``messages``) and ids that are shown
    (``ids``). ``reactions`` are by connection, and by visitor. ``new_items``: how fast items come to be that
    nobody had reacted to, on the whole site.
    """

    items_a_message: int = 100
    items_a_connection: int = 5000
    messages: Rate = Rate(50, 500)
    ids: Rate = Rate(100, 10_000)
    reactions: Rate = Rate(10, 20)
    new_items: Rate = Rate(1, 10_000)


@dataclass(frozen=True, slots=True)
class Caps:
    """What a worker takes: open connections, and by address those, new ones, requests and new visitors.

    New ones are sockets and streams: whatever is there to stay. What is refused for its site or origin, and
    pages, have budgets of their own, as large as those of new ones and of requests.
    """

    connections: int = 20_000
    address_connections: int = 500
    address_arrivals: Rate = Rate(1, 30)
    address_requests: Rate = Rate(50, 500)
    address_visitors: Rate = Rate(1, 30)

    @property
    def hard(self) -> int:
        """As many connections are not even told that they are too many, which takes a connection as well."""
        return _more(self.connections)

    @property
    def address_hard(self) -> int:
        """The same for those of one address."""
        return _more(self.address_connections)


def _more(connections: int) -> int:
    return connections + max(1, connections // 10)
