"""Admission: how many connections, requests and new visitors one worker accepts, by client address.

Owns the counts and rate limits that no single connection and no site could keep. Does not depend on sockets
or HTTP; the clock is an argument.

Limits are generous because many people may share an address, in an office for example. For the same reason,
requests refused for their site or origin have budgets of their own: a page that is not listed must not use up
the budget of a listed page in another browser.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tallycast.contract.errors import RateLimited, Refusal, Unavailable
from tallycast.domain.addresses import Client, network, prefix
from tallycast.domain.limits import WRONG_KEY_COST, Caps
from tallycast.domain.rates import Buckets, Rate

RETRY_AFTER = 5.0  # seconds


class ConnectionSlot(NamedTuple):
    """An accepted connection, as it is counted.

    Attributes:
        owner: The client that it counts for; None: a trusted proxy, whose requests are of any client.
        refusal: Why no session may stay on it, if so.
        counted: False above the hard limits, where there is no capacity even to refuse it politely.
    """

    owner: Client | None
    refusal: Refusal | None
    counted: bool


class Admission:
    """The admission of one worker. ``clock`` is monotonic, in seconds.

    An address is counted as its ``prefix``. Clients on this machine have none and are not counted.

    Every connection is counted from when it is accepted (``add_connection``) until it ends
    (``remove_connection``). One of a trusted proxy counts for no address until it carries a WebSocket or a
    stream, which belongs to one client (``assign``).
    """

    def __init__(self, caps: Caps, clock: Callable[[], float]) -> None:
        self._caps = caps
        self._clock = clock
        self._connections = 0
        self._at_address: Counter[str] = Counter()
        self._arrivals: Buckets[str] = Buckets(group=network)
        self._requests: Buckets[str] = Buckets(group=network)
        self._pages: Buckets[str] = Buckets(group=network)
        self._refused_upgrades: Buckets[str] = Buckets(group=network)
        self._refused_requests: Buckets[str] = Buckets(group=network)
        self._visitors: Buckets[str] = Buckets(group=network)

    def add_connection(self, owner: Client | None) -> ConnectionSlot:
        """Count an accepted connection until ``remove_connection``, even if it is refused."""
        address = _prefix(owner)
        try:
            if self._connections >= self._caps.hard:
                raise _overloaded()
            self._count(address)
        except Unavailable as refusal:
            return ConnectionSlot(owner, refusal, counted=False)
        self._connections += 1
        if self._connections > self._caps.connections:
            return ConnectionSlot(owner, _overloaded(), counted=True)
        if address is not None and self._at_address[address] > self._caps.address_connections:
            return ConnectionSlot(owner, _address_overloaded(), counted=True)
        return ConnectionSlot(owner, None, counted=True)

    def remove_connection(self, owner: Client | None) -> None:
        """A counted connection has ended."""
        self._connections -= 1
        self._discount(_prefix(owner))

    def assign(self, slot: ConnectionSlot, client: Client) -> Refusal | None:
        """Count a connection for the client of a WebSocket or stream; why it must not stay, if so.

        Raises:
            Unavailable: it is above the hard limit of the address; it still counts for its owner.
        """
        before, address = _prefix(slot.owner), prefix(client)
        if address is None:
            return slot.refusal
        refusal = slot.refusal
        if address != before:
            self._count(address)
            self._discount(before)
            if self._at_address[address] > self._caps.address_connections:
                refusal = _address_overloaded()
        if refusal is not None:
            return refusal
        wait = self._arrivals.take(address, self._caps.address_arrivals, self._clock())
        if wait:
            return RateLimited("too many new connections from this address", retry_after=wait)
        return None

    def refuse_upgrade(self, slot: ConnectionSlot, client: Client) -> bool:
        """Count an upgrade that is refused for its site or origin for no address any more.

        Returns whether the budget allows waiting for its closing handshake. Otherwise the connection must be
        closed at once, so that the budget bounds the connections that wait.
        """
        self._discount(_prefix(slot.owner))
        address = prefix(client)
        rate = self._caps.address_arrivals
        return address is None or not self._refused_upgrades.take(address, rate, self._clock())

    def release(self, slot: ConnectionSlot, client: Client) -> None:
        """Undo ``assign``: the connection counts for its owner again."""
        before, address = _prefix(slot.owner), prefix(client)
        if address is not None and address != before:
            if before is not None:
                self._at_address[before] += 1
            self._discount(address)

    def wrong_admin_key(self, client: Client) -> None:
        """Charge a request with a wrong admin key."""
        address = prefix(client)
        if address is not None:
            self._requests.charge(address, self._caps.address_requests, self._clock(), WRONG_KEY_COST)

    def request(self, client: Client) -> None:
        """Admit a request.

        Raises:
            RateLimited: too many came from this address.
        """
        self._spend(client, self._requests, self._caps.address_requests, "requests")

    def page_request(self, client: Client) -> None:
        """Admit a request for a page; any page on the web can make a browser send one.

        Raises:
            RateLimited: too many came from this address.
        """
        self._spend(client, self._pages, self._caps.address_requests, "requests")

    def refused_request(self, client: Client) -> None:
        """Count a request that is refused for its site or origin.

        Raises:
            RateLimited: too many of these came from this address.
        """
        self._spend(client, self._refused_requests, self._caps.address_requests, "refused requests")

    def new_visitor(self, client: Client) -> None:
        """Admit a new anonymous visitor.

        Raises:
            RateLimited: too many were created from this address.
        """
        self._spend(client, self._visitors, self._caps.address_visitors, "new visitors")

    def _spend(self, client: Client, buckets: Buckets[str], rate: Rate, what: str) -> None:
        address = prefix(client)
        if address is None:
            return
        wait = buckets.take(address, rate, self._clock())
        if wait:
            raise RateLimited(f"too many {what} from this address", retry_after=wait)

    def _count(self, address: str | None) -> None:
        if address is not None:
            if self._at_address[address] >= self._caps.address_hard:
                raise Unavailable("too many connections from this address", retry_after=RETRY_AFTER)
            self._at_address[address] += 1

    def _discount(self, address: str | None) -> None:
        if address is not None:
            self._at_address[address] -= 1
            if not self._at_address[address]:
                del self._at_address[address]


def _prefix(owner: Client | None) -> str | None:
    return None if owner is None else prefix(owner)


def _address_overloaded() -> RateLimited:
    return RateLimited("too many connections from this address", retry_after=RETRY_AFTER)


def _overloaded() -> Unavailable:
    return Unavailable("too many connections to this server", retry_after=RETRY_AFTER)
