"""How much one worker takes, and how fast: connections, requests and newcomers by the address they come from.

Owns the counts and the budgets that no single connection and no site could keep, and the budget of a visitor
who comes by several connections. Must not know sockets, HTTP or what anything means; the clock is handed in.

All are budgets and none is "one for each address": an office behind one address is many people. That is also
why what is refused for its site or origin spends budgets of its own: a page that is not listed must not use
up those of the listed page in the next browser.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tallycast.contract.errors import RateLimited, Refusal, Unavailable
from tallycast.domain.addresses import Client, neighbourhood, prefix
from tallycast.domain.limits import GUESS_COSTS, Caps
from tallycast.domain.rates import Buckets, Rate

RETRY_AFTER = 5.0


class ConnectionSlot(NamedTuple):
    """What became of a connection that was accepted.

    ``owner``: who it counts for; ``None`` where it is a trusted proxy's, whose requests are anybody's.
    ``refusal``: why nobody may stay on it, if so. ``counted``: not where there is no room even to turn it
    away.
    """

    owner: Client | None
    refusal: Refusal | None
    counted: bool


class Admission:
    """One worker's. ``clock`` gives seconds and only goes forward.

    An address is counted as its ``prefix``. Who is on this machine itself has none, and is not counted.

    Every connection is counted from the moment that it is accepted (``enter``) until it is over (``leave``).
    A trusted proxy's counts for no address, until a socket or a stream is to stay on it: that is one client's
    (``assign``).
    """

    def __init__(self, caps: Caps, clock: Callable[[], float]) -> None:
        self._caps = caps
        self._clock = clock
        self._connections = 0
        self._at_address: Counter[str] = Counter()
        self._arrivals: Buckets[str] = Buckets(crowd=neighbourhood)
        self._requests: Buckets[str] = Buckets(crowd=neighbourhood)
        self._pages: Buckets[str] = Buckets(crowd=neighbourhood)
        self._refused_upgrades: Buckets[str] = Buckets(crowd=neighbourhood)
        self._refused_requests: Buckets[str] = Buckets(crowd=neighbourhood)
        self._visitors: Buckets[str] = Buckets(crowd=neighbourhood)
        self._reactions: Buckets[bytes] = Buckets()

    def enter(self, owner: Client | None) -> ConnectionSlot:
        """A connection was accepted. It counts until it ``leave``s, also where nobody may stay on it."""
        where = _prefix(owner)
        try:
            if self._connections >= self._caps.hard:
                raise _overloaded()
            self._count(where)
        except Unavailable as no_room:
            return ConnectionSlot(owner, no_room, counted=False)
        self._connections += 1
        if self._connections > self._caps.connections:
            return ConnectionSlot(owner, _overloaded(), counted=True)
        if where is not None and self._at_address[where] > self._caps.address_connections:
            return ConnectionSlot(owner, _crowded_there(), counted=True)
        return ConnectionSlot(owner, None, counted=True)

    def leave(self, owner: Client | None) -> None:
        """A connection that came in is over."""
        self._connections -= 1
        self._discount(_prefix(owner))

    def assign(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        """A connection is to stay, for a client, who owns it from here on; why it must not, if so.

        Raises:
            Unavailable: there is no room even to turn it away; its owner is who it was.
        """
        before, where = _prefix(slot.owner), prefix(client)
        if where is None:
            return slot.refusal
        crowded = slot.refusal
        if where != before:
            self._count(where)
            self._discount(before)
            if self._at_address[where] > self._caps.address_connections:
                crowded = _crowded_there()
        if crowded is not None:
            return crowded
        wait = self._arrivals.take(where, self._caps.address_arrivals, self._clock())
        if wait:
            return RateLimited("too many new connections from this address", retry_after=wait)
        return None

    def turn_away(self, slot: ConnectionSlot, client: Client) -> bool:
        """Release an upgrade that is refused for its site or origin: it counts for no address any more.

        Returns whether there is budget left to wait for its closing handshake. Where there is not, the
        connection must be closed at once, so that those that wait are bounded by this budget.
        """
        self._discount(_prefix(slot.owner))
        where = prefix(client)
        rate = self._caps.address_arrivals
        return where is None or not self._refused_upgrades.take(where, rate, self._clock())

    def release(self, slot: ConnectionSlot, client: Client) -> None:
        """It stays no longer for that client, and is the owner's again."""
        before, where = _prefix(slot.owner), prefix(client)
        if where is not None and where != before:
            if before is not None:
                self._at_address[before] += 1
            self._discount(where)

    def guessed(self, client: Client) -> None:
        """A request had an admin key that is none."""
        where = prefix(client)
        if where is not None:
            self._requests.charge(where, self._caps.address_requests, self._clock(), GUESS_COSTS)

    def request(self, client: Client) -> None:
        """Let a request in.

        Raises:
            RateLimited: too many came from this address.
        """
        self._spend(client, self._requests, self._caps.address_requests, "requests")

    def page_request(self, client: Client) -> None:
        """Let a request for a page in, which any page on the web may make a browser send.

        Raises:
            RateLimited: too many came from this address.
        """
        self._spend(client, self._pages, self._caps.address_requests, "requests")

    def refused_request(self, client: Client) -> None:
        """Count a request that is refused for its site or origin.

        Raises:
            RateLimited: too many such came from this address.
        """
        self._spend(client, self._refused_requests, self._caps.address_requests, "refused requests")

    def newcomer(self, client: Client) -> None:
        """Let a new visitor be made.

        Raises:
            RateLimited: too many were made at this address.
        """
        self._spend(client, self._visitors, self._caps.address_visitors, "new visitors")

    def reaction(self, visitor: bytes, rate: Rate, amount: int = 1) -> None:
        """Let a visitor react, by whatever connection; or do what costs as much as so many reactions.

        Raises:
            RateLimited: too much, too fast.
        """
        wait = self._reactions.take(visitor, rate, self._clock(), min(amount, rate.burst))
        if wait:
            raise RateLimited("too many reactions", retry_after=wait)

    def _spend(self, client: Client, buckets: Buckets[str], rate: Rate, what: str) -> None:
        where = prefix(client)
        if where is None:
            return
        wait = buckets.take(where, rate, self._clock())
        if wait:
            raise RateLimited(f"too many {what} from this address", retry_after=wait)

    def _count(self, where: str | None) -> None:
        if where is not None:
            if self._at_address[where] >= self._caps.address_hard:
                raise Unavailable("too many connections from this address", retry_after=RETRY_AFTER)
            self._at_address[where] += 1

    def _discount(self, where: str | None) -> None:
        if where is not None:
            self._at_address[where] -= 1
            if not self._at_address[where]:
                del self._at_address[where]


def _prefix(owner: Client | None) -> str | None:
    return None if owner is None else prefix(owner)


def _crowded_there() -> RateLimited:
    return RateLimited("too many connections from this address", retry_after=RETRY_AFTER)


def _overloaded() -> Unavailable:
    return Unavailable("too many connections here", retry_after=RETRY_AFTER)
