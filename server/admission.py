"""How much one worker takes, and how fast: connections, requests and newcomers by the address they come from.

Owns the counts and the budgets that no single connection and no site could keep, and the budget of a visitor
who comes by several connections. Must not know sockets, HTTP or what anything means; the clock is handed in.

All are budgets and none is "one for each address": an office behind one address is many people.
"""

from collections import Counter
from collections.abc import Callable

from server.errors import RateLimited, Refusal, Unavailable
from server.rules.addresses import Client, prefix
from server.rules.limits import Caps
from server.rules.rates import Buckets, Rate

RETRY_AFTER = 5.0


class Admission:
    """One worker's. ``clock`` gives seconds and only goes forward.

    An address is counted as its ``prefix``. Who is on this machine itself has none, and is not counted.
    """

    def __init__(self, caps: Caps, clock: Callable[[], float]) -> None:
        self._caps = caps
        self._clock = clock
        self._connections = 0
        self._at_address: Counter[str] = Counter()
        self._arrivals: Buckets[str] = Buckets()
        self._requests: Buckets[str] = Buckets()
        self._visitors: Buckets[str] = Buckets()
        self._reactions: Buckets[bytes] = Buckets()

    def enter(self, client: Client) -> Refusal | None:
        """A connection comes; why it must be turned away at once, if so.

        It counts until it ``leave``s, also when it is turned away, which takes a moment.

        Raises:
            Unavailable: there is no room even to turn it away; it does not count.
        """
        if self._connections >= self._caps.hard:
            raise _overloaded()
        crowded = self._connections >= self._caps.connections
        self._connections += 1
        where = prefix(client)
        if where is not None:
            self._at_address[where] += 1
            if self._at_address[where] > self._caps.address_connections:
                return RateLimited("too many connections from this address", retry_after=RETRY_AFTER)
            wait = self._arrivals.take(where, self._caps.address_arrivals, self._clock())
            if wait:
                return RateLimited("too many new connections from this address", retry_after=wait)
        return _overloaded() if crowded else None

    def leave(self, client: Client) -> None:
        """A connection that came in is over."""
        self._connections -= 1
        where = prefix(client)
        if where is not None:
            self._at_address[where] -= 1
            if not self._at_address[where]:
                del self._at_address[where]

    def request(self, client: Client) -> None:
        """Let a request in.

        Raises:
            RateLimited: too many came from this address.
        """
        self._spend(client, self._requests, self._caps.address_requests, "requests")

    def newcomer(self, client: Client) -> None:
        """Let a new visitor be made.

        Raises:
            RateLimited: too many were made at this address.
        """
        self._spend(client, self._visitors, self._caps.address_visitors, "new visitors")

    def reaction(self, visitor: bytes, rate: Rate) -> None:
        """Let a visitor react, by whatever connection.

        Raises:
            RateLimited: too much, too fast.
        """
        wait = self._reactions.take(visitor, rate, self._clock())
        if wait:
            raise RateLimited("too many reactions", retry_after=wait)

    def _spend(self, client: Client, buckets: Buckets[str], rate: Rate, what: str) -> None:
        where = prefix(client)
        if where is None:
            return
        wait = buckets.take(where, rate, self._clock())
        if wait:
            raise RateLimited(f"too many {what} from this address", retry_after=wait)


def _overloaded() -> Unavailable:
    return Unavailable("too many connections here", retry_after=RETRY_AFTER)
